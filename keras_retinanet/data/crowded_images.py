"""Images with more objects than COCO's figures count detections."""

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset

BEYOND_CAP = f"image with more than {MAX_DETECTIONS} objects: COCO's AP counts no more detections"


def crowded_images(
    dataset: DetectionDataset, *, max_detections: int = MAX_DETECTIONS
) -> np.ndarray:
    """Return the images with more objects than AP and AR count detections of an image."""
    return np.flatnonzero(dataset.num_objects > max_detections)


def told_of_crowded_images(
    dataset: DetectionDataset, *, max_detections: int = MAX_DETECTIONS
) -> str | None:
    """Return what the cap of detections does to the figures of a data set, if anything.

    Args:
        max_detections: those that count; COCO counts 100.
    """
    crowded = crowded_images(dataset, max_detections=max_detections)
    if not len(crowded):
        return None
    counts = dataset.num_objects
    whose, more = "this", ""
    if max_detections == MAX_DETECTIONS:
        whose, more = "COCO's", ": retinanet evaluate --max-detections counts more"
    share = np.minimum(counts, max_detections).sum() / counts.sum()
    return (
        f"{len(crowded)} of {len(dataset)} images have more than {max_detections} objects (up to "
        f"{counts.max()}): {whose} AP counts {max_detections} detections "
        f"an image, with which at most {share:.0%} of the objects are found{more}"
    )
