"""Pictures of data and of detections: drawn on images, as plots, sheets and pages."""
