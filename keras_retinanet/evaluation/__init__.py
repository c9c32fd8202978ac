"""How good detections are: COCO's figures, what they are made of, and how fast a model is."""
