"""A small data set of drawn objects, to try things with."""
