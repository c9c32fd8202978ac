"""Images with more objects than COCO's figures count detections."""

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset

BEYOND_CAP = f"image with more than {MAX_DETECTIONS} objects: COCO's AP counts no more detections"


def crowded_images(dataset: DetectionDataset) -> np.ndarray:
    """Return the images with more objects than COCO's AP and AR count detections of an image."""
    return np.flatnonzero(dataset.num_objects > MAX_DETECTIONS)


def told_of_crowded_images(dataset: DetectionDataset) -> str | None:
    """Return what the cap of detections does to the figures of a data set, if anything."""
    crowded, counts = crowded_images(dataset), dataset.num_objects
    if not len(crowded):
        return None
    share = np.minimum(counts, MAX_DETECTIONS).sum() / counts.sum()
    return (
        f"{len(crowded)} of {len(dataset)} images have more than {MAX_DETECTIONS} objects (up to "
        f"{counts.max()}): COCO's AP counts {MAX_DETECTIONS} detections an image, with which at "
        f"most {share:.0%} of the objects are found"
    )
