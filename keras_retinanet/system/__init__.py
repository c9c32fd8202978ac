"""What lies beneath: files, locks, memory, workers and replicas, and private names of Keras."""
