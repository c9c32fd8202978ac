"""Augmentations: functions from an example to an example, a file for each kind.

An example is a dict of tensors: "image" uint8 [H, W, 3], and for its objects "boxes" float32 [n, 4]
in its pixels, "labels" int32 [n], "is_ignored" bool [n] and "visible" float32 [n], the share of
each object that the augmentations before have left to be seen. Other entries pass through.

Randomness comes from a seed [2] alone. A function that cuts objects clips their boxes, lowers their
"visible" and drops those of which nothing is left.
"""
