"""What all pages share: their frame, plots as vector graphics, and pictures inside them."""
