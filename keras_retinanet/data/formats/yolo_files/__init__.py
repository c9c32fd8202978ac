"""What YOLO data sets are made of: the data.yaml, and label files that may lie in many places."""
