"""Searches before a training: the largest batch that fits."""
