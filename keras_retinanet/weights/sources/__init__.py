"""One module for each project whose weights can be brought: its names, and how its networks are."""
