"""One process' share of an evaluation, and the evaluation that all shares make.

Shares are whole batches of the evaluation in one process: an image goes through the network with
the same images beside it, so that its detections are the same to the last bit.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.coco_eval import Found
from keras_retinanet.evaluation.evaluate import CocoEvaluator, rounded
from keras_retinanet.system.shards.part_file import PartHeader, open_part, part_path
from keras_retinanet.system.shards.part_set import find_parts, rows_of_images
from keras_retinanet.system.shards.shard import Shard
from keras_retinanet.system.shards.whole_batches import by_batch

KIND = "evaluation"


def evaluate_shard(
    detector: Detector,
    dataset: DetectionDataset,
    shard: Shard,
    folder: Path,
    *,
    model: str,
    batch_size: int = 8,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[Path, int]:
    """Write a shard's part of an evaluation; return its path and how many images were looked at.

    A finished part is not made again, and one that was interrupted is gone on with.

    Args:
        model: changes with the model's weights.
        max_detections: of an image that count.

    Raises:
        DataError: the data set has a class that the model has not, or as `open_part`.
    """
    dataset = dataset.with_classes(detector.class_names)
    batches = detector.batch_plan(dataset.heights, dataset.widths, batch_size=batch_size)
    work = {
        "model": model,
        "data": dataset.fingerprint(),
        "class_names": list(dataset.class_names),
        "num_images": len(dataset),
        "num_batches": len(batches),
        "batch_size": batch_size,
        "max_detections": max_detections,
    }
    header = PartHeader(KIND, shard.index, shard.count, work)

    def detect(images: np.ndarray) -> Iterator[tuple[int, Detections]]:
        chosen = dataset.select(images)
        yield from detector.detect_files(
            chosen.image_paths, chosen.heights, chosen.widths, batch_size=batch_size
        )

    path = part_path(folder, shard.index, shard.count)
    num_images = 0
    with open_part(path, header) as writer:
        if writer is not None:
            todo = [batch for batch in shard.of(len(batches)) if batch not in writer.done]
            for batch, found in by_batch(batches, todo, detect):
                writer.add(batch, [_row(rounded(*one)) for one in found])
                num_images += len(found)
            writer.finish()
    return path, num_images


def merge_parts(paths: Sequence[Path], dataset: DetectionDataset) -> CocoEvaluator:
    """Return the evaluation whose parts these are.

    Args:
        paths: of parts, or of folders of them.
        dataset: the one that was evaluated.

    Raises:
        DataError: a part is missing, there twice, unfinished, damaged, or of another evaluation,
            model or data set.
    """
    parts = find_parts(paths, KIND)
    work = parts.header.work
    dataset = dataset.with_classes(work["class_names"])
    if dataset.fingerprint() != work["data"]:
        raise DataError(
            f"the parts are of other data: {work['data']}, and these are {dataset.fingerprint()}"
        )
    evaluator = CocoEvaluator(dataset, max_detections=work["max_detections"])
    for found in rows_of_images(parts, len(dataset), _found):
        evaluator.add_found(found)
    return evaluator


def _row(found: Found) -> dict[str, Any]:
    values = {name: getattr(found, name).tolist() for name in ("boxes", "labels", "scores")}
    return {"image": found.image, **values}


def _found(row: dict[str, Any]) -> Found:
    return Found(
        image=row["image"],
        boxes=np.array(row["boxes"], np.float64).reshape(-1, 4),
        labels=np.array(row["labels"], np.int64),
        scores=np.array(row["scores"], np.float64),
    )
