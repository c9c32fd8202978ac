"""Videos and cameras: frames in, detections and a video with boxes out, a few frames at a time."""
