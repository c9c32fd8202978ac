"""What runs a model: one module for each runtime, all with the interface of `Detector`."""
