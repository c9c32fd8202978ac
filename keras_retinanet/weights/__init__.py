"""Weights of other projects: files read without running code, and what their names are here."""
