"""Searches before a training: the learning rate, and the largest batch that fits."""
