"""From a config and two data sets to a run directory with a trained model."""
