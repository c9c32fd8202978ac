"""The parts of the COCO reader: the file with its lists, and what values mean."""
