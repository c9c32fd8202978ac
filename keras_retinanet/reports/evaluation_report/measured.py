"""All that the report of an evaluation tells, measured once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.evaluation.analysis.calibration import Calibration, calibration
from keras_retinanet.evaluation.analysis.confusion import confusion_matrix
from keras_retinanet.evaluation.analysis.image_errors import ErrorKind, ImageErrors, find_errors
from keras_retinanet.evaluation.analysis.intervals import ap_interval
from keras_retinanet.evaluation.analysis.lost_ap import LostAP, lost_ap
from keras_retinanet.evaluation.analysis.thresholds import OperatingPoints, operating_points
from keras_retinanet.evaluation.coco_eval import ClassMatches, Found, Objects
from keras_retinanet.evaluation.evaluate import CocoEvaluator

# The score to trust where no detection is right.
FALLBACK_SCORE = 0.5
# COCO's bounds of small and medium objects, in square pixels.
SIZE_BOUNDS = {"small": 32.0**2, "medium": 96.0**2, "large": np.inf}


@dataclass(frozen=True)
class Measured:
    """An evaluation, and what follows from it.

    Attributes:
        dataset: the data set, with the model's classes.
        metrics: COCO's figures and "per_class", as `evaluate` returns them.
        precisions: [T, R, K].
        objects, found: of each image.
        matches: of each class.
        max_detections: of an image, those that count.
    """

    dataset: DetectionDataset
    metrics: dict[str, Any]
    precisions: np.ndarray
    objects: Sequence[Objects]
    found: Sequence[Found]
    matches: Sequence[ClassMatches]
    max_detections: int = MAX_DETECTIONS

    @classmethod
    def of(cls, evaluator: CocoEvaluator) -> "Measured":
        """Return what an evaluator with all detections has measured."""
        return cls(
            dataset=evaluator.dataset,
            metrics=evaluator.metrics(),
            precisions=evaluator.precisions(),
            objects=evaluator.objects,
            found=evaluator.found,
            matches=evaluator.matches,
            max_detections=evaluator.max_detections,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Where AP would lie with other images, 95 times of 100."""
        return ap_interval(self.matches)

    @cached_property
    def found_in(self) -> dict[int, Found]:
        """What was found, by the images' numbers; not of images without a detection."""
        return {found.image: found for found in self.found}

    @cached_property
    def errors(self) -> list[ImageErrors]:
        none = np.zeros(0)
        return [
            find_errors(
                image,
                self.found_in.get(image.image)
                or Found(image.image, none.reshape(0, 4), none.astype(int), none),
                max_detections=self.max_detections,
            )
            for image in self.objects
        ]

    @cached_property
    def lost(self) -> LostAP:
        return lost_ap(self.errors, num_classes=len(self.class_names))

    @cached_property
    def overall(self) -> OperatingPoints:
        """The operating points of all classes together."""
        return operating_points(self.matches)

    @cached_property
    def per_class(self) -> list[OperatingPoints]:
        return [operating_points(matches) for matches in self.matches]

    @cached_property
    def calibration(self) -> Calibration:
        return calibration(self.matches)

    @property
    def best_score(self) -> float:
        """The threshold with the best F1 over all classes."""
        best = self.overall.best
        return FALLBACK_SCORE if best is None else float(self.overall.scores[best])

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts [K + 1, K + 1] at `best_score`."""
        return confusion_matrix(
            self.objects,
            self.found,
            num_classes=len(self.class_names),
            min_score=self.best_score,
        )

    @cached_property
    def num_errors(self) -> dict[ErrorKind, int]:
        """How many errors of each kind there are among the detections of `best_score` or more.

        MISSED are all objects that those do not find.
        """
        counts = dict.fromkeys(ErrorKind, 0)
        for errors in self.errors:
            counted = (errors.scores >= self.best_score) & ~errors.is_excused
            for kind in errors.kinds[counted].tolist():
                counts[ErrorKind(kind)] += 1
        counts[ErrorKind.MISSED] = sum(missed for missed, _ in self.missed_by_size.values())
        return counts

    @cached_property
    def num_objects(self) -> np.ndarray:
        """Objects of each class [K]."""
        return np.array([int(matches.num_objects.sum()) for matches in self.matches])

    @cached_property
    def missed_by_size(self) -> dict[str, tuple[int, int]]:
        """Of the objects of each size: how many no right detection of `best_score` found, of all.

        Sizes are COCO's, in pixels of the image.
        """
        counts = {name: [0, 0] for name in SIZE_BOUNDS}
        for image, errors in zip(self.objects, self.errors, strict=True):
            is_right = (errors.kinds == ErrorKind.RIGHT) & (errors.scores >= self.best_score)
            is_found = np.zeros(len(errors.object_rows), bool)
            is_found[errors.objects[is_right]] = True
            for area, found in zip(image.areas[errors.object_rows], is_found, strict=True):
                count = counts[size_of(float(area))]
                count[0] += not found
                count[1] += 1
        return {name: (missed, total) for name, (missed, total) in counts.items()}


def size_of(area: float) -> str:
    """Return COCO's name of an object's size."""
    return next(name for name, bound in SIZE_BOUNDS.items() if area < bound or bound == np.inf)
