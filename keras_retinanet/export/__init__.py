"""Exports: written, verified and published as a whole, or not at all."""
