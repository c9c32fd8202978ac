"""From a config to the parts of a training, once: what is searched or timed is what trains."""
