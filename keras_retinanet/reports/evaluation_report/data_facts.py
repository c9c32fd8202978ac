"""What a report says of the images and objects that were measured."""

import numpy as np

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.dataset import DetectionDataset


def data_facts(dataset: DetectionDataset) -> dict[str, str]:
    """Return the statistics of a split by name, in words; regions to ignore are counted apart."""
    counts = dataset.num_objects
    is_object = ~dataset.is_ignored
    sides = np.sqrt(np.maximum(dataset.areas[is_object], 0.0))
    facts = {
        "images": f"{len(dataset)}, of which {int((counts == 0).sum())} without an object",
        "image size": _range(dataset.widths, "px wide") + ", " + _range(dataset.heights, "px high"),
        "objects": f"{int(is_object.sum())} of {len(dataset.class_names)} classes",
        "regions to ignore": str(int(dataset.is_ignored.sum())),
    }
    if is_object.any():
        median = np.median(counts[counts > 0])
        facts["objects in an image"] = f"{median:g} (median), at most {int(counts.max())}"
        low, middle, high = np.percentile(sides, (5, 50, 95))
        facts["object size"] = (
            f"{middle:.0f} px (median of the square roots of their areas); 90 of 100 have "
            f"{low:.0f} to {high:.0f} px"
        )
    return facts


def recall_rows(recall: AnchorRecall | None) -> list[tuple[str, int, float | None]]:
    """Return (size, objects, share with an anchor) of all objects and of each of COCO's sizes."""
    if recall is None:
        return []
    rows = [("all", len(recall.rows), recall.recall)]
    by_size = recall.by_size_class().items()
    return rows + [(name, found["objects"], found["recall"]) for name, found in by_size]


def _range(values: np.ndarray, unit: str) -> str:
    if not len(values):
        return f"no {unit}"
    low, high = int(values.min()), int(values.max())
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
