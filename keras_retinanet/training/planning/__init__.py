"""A config made for a data set, a machine and a time, each setting with its reason."""
