"""From a data set to training batches and network inputs: tf.data."""
