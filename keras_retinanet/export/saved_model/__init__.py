"""SavedModels for TensorFlow Serving: the exporter, its signatures and warm-up requests."""
