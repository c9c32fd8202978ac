"""COCO evaluation: runs a detector over a data set and measures it with pycocotools."""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.boxes import xyxy_to_xywh
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detectors.detector import Detections, Detector
from keras_retinanet.detectors.keras_model import KerasDetector
from keras_retinanet.models.retinanet import RetinaNet

# COCOeval's twelve figures, in its order.
COCO_FIGURES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def evaluate(
    model: RetinaNet | Detector, dataset: DetectionDataset, *, batch_size: int = 8
) -> tuple[dict[str, Any], list[dict]]:
    """Return the COCO metrics of a model on a data set, and its detections as COCO results.

    The data set's classes are matched to the model's by name.

    Raises:
        DataError: the data set has objects of a class that the model does not know.
    """
    dataset = dataset.with_classes(model.class_names)
    evaluator = CocoEvaluator(dataset)
    for image, detections in detect_files(
        model, dataset.image_paths, dataset.heights, dataset.widths, batch_size=batch_size
    ):
        evaluator.add(image, detections)
    return evaluator.metrics(), evaluator.results


def detect_files(
    model: RetinaNet | Detector,
    image_paths: list[str],
    heights: np.ndarray,
    widths: np.ndarray,
    *,
    batch_size: int = 8,
) -> Iterator[tuple[int, Detections]]:
    """Yield (index, detections) of image files of known upright size, in no particular order.

    Detections: "boxes" [n, 4] xyxy in pixels of the upright image, "scores" [n] descending and
    "classes" [n].
    """
    detector = KerasDetector(model) if isinstance(model, RetinaNet) else model
    yield from detector.detect_files(image_paths, heights, widths, batch_size=batch_size)


class CocoEvaluator:
    """Collects detections of a data set and computes COCO's metrics.

    Attributes:
        results: the detections as COCO results, with the data set's own ids.
    """

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset
        self.results: list[dict] = []

    def add(self, image: int, detections: Detections) -> None:
        """Add an image's detections, as `detect_files` yields them."""
        boxes = np.asarray(xyxy_to_xywh(np.asarray(detections["boxes"], np.float64).reshape(-1, 4)))
        for box, score, label in zip(
            boxes, detections["scores"], detections["classes"], strict=True
        ):
            self.results.append(
                {
                    "image_id": self._dataset.image_ids[image],
                    "category_id": self._dataset.category_ids[int(label)],
                    "bbox": [round(float(v), 3) for v in box],
                    "score": round(float(score), 6),
                }
            )

    def metrics(self) -> dict[str, Any]:
        """Return the twelve figures of COCO and "per_class" AP by name.

        A figure is None where the data set has nothing to measure it on: no object of the size, or
        of the class.
        """
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            truth = _ground_truth(self._dataset)
            evaluation = COCOeval(truth, self._found(truth), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        figures = [None if value < 0 else float(value) for value in evaluation.stats]
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
        per_class = {}
        for label, name in enumerate(self._dataset.class_names):
            values = precision[:, :, label]
            values = values[values > -1]
            per_class[name] = float(values.mean()) if values.size else None
        return {**dict(zip(COCO_FIGURES, figures, strict=True)), "per_class": per_class}

    def _found(self, truth: COCO) -> COCO:
        image_index = {image_id: i for i, image_id in enumerate(self._dataset.image_ids)}
        label_of = {c: label for label, c in enumerate(self._dataset.category_ids)}
        entries = [
            {
                **result,
                "id": i + 1,
                "image_id": image_index[result["image_id"]],
                "category_id": label_of[result["category_id"]],
                "area": result["bbox"][2] * result["bbox"][3],
                "iscrowd": 0,
            }
            for i, result in enumerate(self.results)
        ]
        return _coco({**truth.dataset, "annotations": entries})


def _ground_truth(dataset: DetectionDataset) -> COCO:
    """Return the data set for pycocotools, with positions in place of its ids.

    Regions to ignore for ANY_CLASS become a crowd of each class: crowds are no objects, so that no
    figure counts them, and they excuse the detections of their own class alone.
    """
    dataset = dataset.with_a_class_for_every_box()
    boxes = np.asarray(xyxy_to_xywh(dataset.boxes.astype(np.float64)))
    image_of_box = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))
    return _coco(
        {
            "images": [
                {"id": i, "height": int(h), "width": int(w)}
                for i, (h, w) in enumerate(zip(dataset.heights, dataset.widths, strict=True))
            ],
            "categories": [
                {"id": label, "name": name} for label, name in enumerate(dataset.class_names)
            ],
            "annotations": [
                {
                    "id": t + 1,
                    "image_id": int(image_of_box[t]),
                    "category_id": int(dataset.labels[t]),
                    "bbox": boxes[t].tolist(),
                    "area": float(dataset.areas[t]),
                    "iscrowd": int(dataset.is_crowd[t]),
                }
                for t in range(dataset.num_boxes)
            ],
        }
    )


def _coco(content: dict) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def write_evaluation(metrics: dict[str, Any], results: Sequence[dict], folder: Path) -> None:
    """Write metrics.json and detections.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
    (folder / "detections.json").write_text(json.dumps(list(results)))
