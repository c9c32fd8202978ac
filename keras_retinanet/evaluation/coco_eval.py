"""COCO's twelve figures and its precisions, by pycocotools' own COCOeval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from keras_retinanet.conventions import MAX_DETECTIONS

IOU_THRESHOLDS: np.ndarray = Params(iouType="bbox").iouThrs
RECALLS: np.ndarray = Params(iouType="bbox").recThrs

# The twelve figures in COCO's order.
COCO_FIGURES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip

# Detections of an image and class that AR1, AR10 and AR100 count; AP counts as many as the last.
_COUNTED = (1, 10)

# Where COCOeval keeps the precisions for objects of any size, at the most detections per image.
_ANY_SIZE, _MOST_DETECTIONS = 0, -1


@dataclass(frozen=True)
class Boxes:
    """Objects or detections of one image.

    Attributes:
        image: its number in the data set.
        boxes: [n, 4] float64 xywh in pixels.
        labels: [n], 0 ... K-1.
    """

    image: int
    boxes: np.ndarray
    labels: np.ndarray

    def annotations(self, **columns: np.ndarray) -> list[dict[str, Any]]:
        """Return one COCO annotation per box, with further values [n] by name."""
        names = ("bbox", "category_id", *columns)
        values = (self.boxes, self.labels, *columns.values())
        rows = zip(*(value.tolist() for value in values), strict=True)
        return [{"image_id": self.image, **dict(zip(names, row))} for row in rows]


@dataclass(frozen=True)
class Objects(Boxes):
    """The objects of an image, with areas [n] in square pixels and is_ignored [n]."""

    areas: np.ndarray
    is_ignored: np.ndarray


@dataclass(frozen=True)
class Found(Boxes):
    """The detections of an image, with scores [n]."""

    scores: np.ndarray


@dataclass(frozen=True)
class ClassMatches:
    """How COCO matched the detections of one class, objects of any size counted.

    Attributes:
        scores, images: [n] of the detections, image by image.
        is_right, is_ignored: [T, n] at IOU_THRESHOLDS; those ignored count neither way.
        num_objects: [N] of the class in each image, regions to ignore left out.
    """

    scores: np.ndarray
    images: np.ndarray
    is_right: np.ndarray
    is_ignored: np.ndarray
    num_objects: np.ndarray


@dataclass(frozen=True)
class CocoSummary:
    """What COCO says of a set of detections.

    Attributes:
        figures: by the names of COCO_FIGURES, AR300 in place of AR100 where 300 detections count;
            None where there is no object to measure it on.
        precisions: [T, R, K] at IOU_THRESHOLDS and RECALLS; -1 for a class without objects.
        matches: of each class.
    """

    figures: dict[str, float | None]
    precisions: np.ndarray
    matches: tuple[ClassMatches, ...]

    def class_ap(self) -> list[float | None]:
        """Return the AP of each class; None for a class without objects."""
        measured = (values[values > -1] for values in np.moveaxis(self.precisions, -1, 0))
        return [float(values.mean()) if values.size else None for values in measured]


def summarize(
    objects: Sequence[Objects],
    found: Sequence[Found],
    *,
    num_images: int,
    num_classes: int,
    max_detections: int = MAX_DETECTIONS,
) -> CocoSummary:
    """Return COCO's figures for the objects and the detections of a data set.

    Of detections with equal scores the first image's comes first, and within an image the first.

    Args:
        max_detections: of an image and class, those that count; COCO counts 100.
    """
    truth = [a for o in objects for a in o.annotations(area=o.areas, iscrowd=o.is_ignored)]
    # A detection's size is that of its box.
    detections = [
        annotation
        for f in found
        for annotation in f.annotations(score=f.scores, area=f.boxes[:, 2] * f.boxes[:, 3])
    ]
    # COCOeval reports its progress by print, and has no switch for that.
    with contextlib.redirect_stdout(io.StringIO()):
        sides = [_coco(annotations, num_images, num_classes) for annotations in (truth, detections)]
        result = COCOeval(*sides, "bbox")
        result.params.maxDets = [*_COUNTED, max_detections]
        result.evaluate()
        result.accumulate()
        result.summarize()
    precisions = result.eval["precision"][..., _ANY_SIZE, _MOST_DETECTIONS]
    measured = precisions[precisions > -1]
    # COCOeval itself gives the AP of 100 detections or none.
    result.stats[0] = measured.mean() if measured.size else -1
    figures = {
        name.replace(f"AR{MAX_DETECTIONS}", f"AR{max_detections}"): (
            None if value == -1 else float(value)
        )
        for name, value in zip(COCO_FIGURES, result.stats, strict=True)
    }
    num_sizes = len(result.params.areaRng)
    matches = []
    for label in range(num_classes):
        first = (label * num_sizes + _ANY_SIZE) * num_images  # class by class, size by size
        matches.append(_class_matches(result.evalImgs[first : first + num_images]))
    return CocoSummary(figures, precisions, tuple(matches))


def _class_matches(images: Sequence[dict[str, Any] | None]) -> ClassMatches:
    """Return COCOeval's matches of one class; images that have nothing of it are None."""
    held = [(i, image) for i, image in enumerate(images) if image is not None]
    num_objects = np.zeros(len(images), np.int64)
    none = np.zeros((len(IOU_THRESHOLDS), 0))
    for i, image in held:
        num_objects[i] = int((np.asarray(image["gtIgnore"]) == 0).sum())
    return ClassMatches(
        scores=np.concatenate([np.zeros(0), *(image["dtScores"] for _, image in held)]),
        images=np.repeat([i for i, _ in held], [len(m["dtScores"]) for _, m in held]).astype(int),
        is_right=np.concatenate([none, *(image["dtMatches"] for _, image in held)], axis=1) > 0,
        is_ignored=np.concatenate([none, *(m["dtIgnore"] for _, m in held)], axis=1) > 0,
        num_objects=num_objects,
    )


def _coco(annotations: list[dict[str, Any]], num_images: int, num_classes: int) -> COCO:
    """Return annotations as a COCO data set whose ids are the numbers of images and classes."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(num_images)],
        "categories": [{"id": label} for label in range(num_classes)],
        # From 1: COCOeval takes 0 for "not matched".
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
