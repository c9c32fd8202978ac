"""The backbones, one file a family, and the function that builds one by name."""
