"""Readers of what labelling tools write for themselves: labelme, VIA, CVAT, Label Studio, ..."""
