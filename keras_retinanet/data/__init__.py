"""Data: readers of annotation formats, checks, augmentation and the tf.data pipelines."""
