"""What finds objects in image files: one module for each runtime, all with one interface."""
