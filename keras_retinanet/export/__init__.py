"""Export of trained models for programs that are not this one, each proven to compute the same."""
