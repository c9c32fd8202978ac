"""Export for OpenVINO: the graph of the whole way from pixels to detections, and its int8."""
