"""Readers of weights files: names and arrays, and nothing of a file is ever run."""
