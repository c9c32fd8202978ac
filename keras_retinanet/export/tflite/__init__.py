"""TFLite files: the exporter, and the steps from network to file."""
