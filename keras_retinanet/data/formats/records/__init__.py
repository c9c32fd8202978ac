"""Data sets in records: TFRecord files and TensorFlow Datasets."""
