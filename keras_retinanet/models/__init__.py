"""The network: backbones, feature pyramid, heads, and RetinaNet, which joins them. Keras only."""
