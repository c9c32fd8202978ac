"""Boxes, anchors and image sizes, and what follows from them: matches and detections."""
