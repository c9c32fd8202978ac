"""COCO evaluation: runs a detector over a data set and measures what it finds."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.tiled_detector import detector_for
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.coco_eval import (
    ClassMatches,
    CocoSummary,
    Found,
    Objects,
    summarize,
)
from keras_retinanet.evaluation.gathered import gathered, on_replicas
from keras_retinanet.geometry.boxes import xyxy_to_xywh
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.system.workers import this_worker

# Decimals of boxes and scores in results: what is measured is what is written.
BOX_DECIMALS, SCORE_DECIMALS = 3, 6


def evaluate(
    model: RetinaNet | Detector,
    dataset: DetectionDataset,
    *,
    batch_size: int = 8,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[dict[str, Any], list[dict]]:
    """Return the COCO metrics of a model on a data set, and its detections as COCO results.

    The data set's classes are matched to the model's by name.

    Args:
        max_detections: of an image and class, those that count, of as many as the model keeps
            (`inference.max_detections`); COCO counts 100.

    Raises:
        DataError: the data set has objects of a class that the model does not know.
    """
    evaluator = DatasetEvaluation(
        model, dataset, batch_size=batch_size, max_detections=max_detections
    ).run()
    return evaluator.metrics(), evaluator.results


class DatasetEvaluation:
    """The evaluation of a model on a data set, made ready once and run as often as one likes.

    All replicas of the model's strategy take part, and with several workers, each of which has to
    call `run`, each takes a share of the images; all end with the detections of all images.

    Args:
        batch_size: images at once, over this process' replicas.
        max_detections: see `evaluate`.

    Raises:
        DataError: the data set has objects of a class that the model does not know.
    """

    def __init__(
        self,
        model: RetinaNet | Detector,
        dataset: DetectionDataset,
        *,
        batch_size: int = 8,
        max_detections: int = MAX_DETECTIONS,
    ) -> None:
        if dataset.windows is not None:
            raise ValueError("tiles are evaluated by cutting whole images: see TiledDetector")
        self.detector: Detector = detector_for(model)
        self.dataset = dataset.with_classes(model.class_names)
        self.batch_size = batch_size
        self.max_detections = max_detections
        worker = this_worker()
        self._replicas = on_replicas(self.detector)
        self._num_workers = 1 if self._replicas is None else worker.count
        self._images: Sequence[int] = range(len(dataset))
        if self._num_workers > 1:
            self._images = self._images[worker.index :: self._num_workers]

    def run(self) -> "CocoEvaluator":
        """Detect objects in all images, and return an evaluator that has them."""
        found = self._detections()
        if self._replicas is not None and self._num_workers > 1:
            found = gathered(
                self._replicas, self._images, dict(found), len(self.dataset), self._num_workers
            )
        evaluator = CocoEvaluator(self.dataset, max_detections=self.max_detections)
        # In the order of the images, whatever that of the network was.
        for image, detections in sorted(found, key=lambda pair: pair[0]):
            evaluator.add(image, detections)
        return evaluator

    def _detections(self) -> Iterator[tuple[int, Detections]]:
        mine = self.dataset.select(self._images) if self._num_workers > 1 else self.dataset
        for index, detections in self.detector.detect_files(
            mine.image_paths, mine.heights, mine.widths, batch_size=self.batch_size
        ):
            yield self._images[index], detections


def rounded(image: int, detections: Detections) -> Found:
    """Return an image's detections, as `detect_files` yields them, as they are written."""
    boxes = np.asarray(detections["boxes"], np.float64).reshape(-1, 4)
    return Found(
        image=image,
        boxes=np.asarray(xyxy_to_xywh(boxes)).round(BOX_DECIMALS),
        labels=np.asarray(detections["classes"], np.int64),
        scores=np.asarray(detections["scores"], np.float64).round(SCORE_DECIMALS),
    )


class CocoEvaluator:
    """Collects detections of a data set and computes COCO's metrics.

    Regions to ignore for ANY_CLASS are a crowd of each class: crowds are no objects, so that no
    figure counts them, and they excuse the detections of their own class alone.
    """

    def __init__(self, dataset: DetectionDataset, *, max_detections: int = MAX_DETECTIONS) -> None:
        self._dataset = dataset
        self.max_detections = max_detections
        self._found: dict[int, Found] = {}
        self._summary: CocoSummary | None = None

    def add(self, image: int, detections: Detections) -> None:
        """Add an image's detections, as `detect_files` yields them; each image once."""
        self.add_found(rounded(image, detections))

    def add_found(self, found: Found) -> None:
        """Add an image's detections as they are written; each image once."""
        self._found[found.image] = found
        self._summary = None

    @classmethod
    def of_results(
        cls,
        dataset: DetectionDataset,
        results: Sequence[dict],
        *,
        max_detections: int = MAX_DETECTIONS,
    ) -> "CocoEvaluator":
        """Return the evaluator whose `results` were written.

        Raises:
            DataError: they are of other images or classes.
        """
        image_of = {image_id: i for i, image_id in enumerate(dataset.image_ids)}
        label_of = {category: label for label, category in enumerate(dataset.category_ids)}
        by_image: dict[int, list[dict]] = {}
        for result in results:
            if result["image_id"] not in image_of or result["category_id"] not in label_of:
                raise DataError(
                    f"the detections are not of this data set: it has no image "
                    f"{result['image_id']!r} or no category {result['category_id']!r}"
                )
            by_image.setdefault(image_of[result["image_id"]], []).append(result)
        evaluator = cls(dataset, max_detections=max_detections)
        for image, rows in by_image.items():
            evaluator._found[image] = Found(
                image=image,
                boxes=np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
                labels=np.array([label_of[row["category_id"]] for row in rows], np.int64),
                scores=np.array([row["score"] for row in rows], np.float64),
            )
        return evaluator

    @property
    def results(self) -> list[dict]:
        """The detections as COCO results, with the data set's own ids."""
        return [
            {
                "image_id": self._dataset.image_ids[image],
                "category_id": self._dataset.category_ids[label],
                "bbox": box,
                "score": score,
            }
            for image, found in self._found.items()
            for box, score, label in zip(
                found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
            )
        ]

    def metrics(self) -> dict[str, Any]:
        """Return the twelve figures of COCO and "per_class" AP by name.

        A figure is None where the data set has nothing to measure it on: no object of the size, or
        of the class.
        """
        summary = self._summarized()
        per_class = dict(zip(self._dataset.class_names, summary.class_ap(), strict=True))
        return {**summary.figures, "per_class": per_class}

    @property
    def dataset(self) -> DetectionDataset:
        """The data set, with the model's classes."""
        return self._dataset

    @property
    def objects(self) -> list[Objects]:
        """The objects of each image; a region for ANY_CLASS is one of every class."""
        return _objects(self._dataset)

    @property
    def found(self) -> list[Found]:
        """The detections of the images that were added."""
        return list(self._found.values())

    @property
    def matches(self) -> tuple[ClassMatches, ...]:
        """How COCO matched the detections of each class."""
        return self._summarized().matches

    def precisions(self) -> np.ndarray:
        """Return the precisions [T, R, K] at COCO's IoU thresholds and recalls; -1: no objects."""
        return self._summarized().precisions

    def detections(self, image: int) -> Detections:
        """Return the detections of an image: "boxes" [n, 4] xyxy, "scores" and "classes"."""
        found = self._found.get(image)
        if found is None:
            none = np.zeros(0, np.int64)
            return {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "classes": none}
        boxes = found.boxes
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return {"boxes": corners, "scores": found.scores, "classes": found.labels}

    def _summarized(self) -> CocoSummary:
        """Return COCO's summary of what was added; matching takes seconds, and is done once."""
        if self._summary is None:
            self._summary = summarize(
                self.objects,
                self.found,
                num_images=len(self._dataset),
                num_classes=len(self._dataset.class_names),
                max_detections=self.max_detections,
            )
        return self._summary


def _objects(dataset: DetectionDataset) -> list[Objects]:
    """Return the objects of each image."""
    dataset = dataset.with_a_class_for_every_box()
    boxes = np.asarray(xyxy_to_xywh(dataset.boxes.astype(np.float64)))
    return [
        Objects(
            image=image,
            boxes=boxes[rows],
            labels=dataset.labels[rows],
            areas=dataset.areas[rows],
            is_ignored=dataset.is_ignored[rows],
        )
        for image, rows in enumerate(map(dataset.rows, range(len(dataset))))
    ]


def write_evaluation(metrics: dict[str, Any], results: Sequence[dict], folder: Path) -> None:
    """Write metrics.json and detections.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
    write_results(results, folder / "detections.json")


def write_results(results: Sequence[dict], path: Path) -> None:
    """Write detections as COCO results, whole or not at all."""
    write_whole(path, json.dumps(list(results)))
