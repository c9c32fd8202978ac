"""The settings: what they mean, where they come from, and reading them from YAML. No TensorFlow."""
