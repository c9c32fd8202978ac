"""One process' share of an evaluation, and the evaluation that all shares make.

Shares are whole batches of the evaluation in one process: an image goes through the network with
the same images beside it, so that its detections are the same to the last bit.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.detector import Detector
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.evaluation.coco_eval import Found
from keras_retinanet.evaluation.evaluate import CocoEvaluator, rounded
from keras_retinanet.evaluation.shards.part_file import (
    SUFFIX,
    UNFINISHED,
    PartHeader,
    different,
    open_part,
    part_path,
    read_header,
    read_part,
)

_MOST_NAMED = 10


@dataclass(frozen=True)
class Shard:
    """A share of the work: number `index`, from 0 on, of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that "3/8" means.

        Raises:
            ConfigError: it means none.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or int(found[1]) >= int(found[2]):
            raise ConfigError(
                f"a shard is its number from 0 on and how many there are, 0/8 to 7/8, not {text!r}"
            )
        return cls(int(found[1]), int(found[2]))


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
    header = PartHeader(
        shard=shard.index,
        count=shard.count,
        model=model,
        data=dataset.fingerprint(),
        class_names=dataset.class_names,
        num_images=len(dataset),
        num_batches=len(batches),
        batch_size=batch_size,
        max_detections=max_detections,
    )
    path = part_path(folder, shard.index, shard.count)
    num_images = 0
    with open_part(path, header) as writer:
        if writer is not None:
            mine = range(shard.index, len(batches), shard.count)
            todo = [batch for batch in mine if batch not in writer.done]
            for batch, rows in _detected(detector, dataset, batches, todo, batch_size):
                writer.add(batch, rows)
                num_images += len(rows)
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
    files = _part_files(paths)
    headers = {path: read_header(path) for path in files}
    first = headers[files[0]]
    for path, header in headers.items():
        if replace(header, shard=first.shard) != first:
            other = different(replace(header, shard=first.shard), first)
            raise DataError(f"{path} and {files[0]} are of two evaluations: {other} differs")
    _refuse_incomplete(headers, first.count)
    dataset = dataset.with_classes(first.class_names)
    if dataset.fingerprint() != first.data:
        raise DataError(
            f"the parts are of other data: {first.data}, and these are {dataset.fingerprint()}"
        )
    found: dict[int, Found] = {}
    for path in files:
        for _, rows in read_part(path):
            for row in rows:
                detections = _found(row)
                if detections.image in found:
                    raise DataError(f"{path} holds image {detections.image} again")
                found[detections.image] = detections
    if found.keys() != set(range(len(dataset))):
        raise DataError(f"the parts hold {len(found)} of {len(dataset)} images: make them again")
    evaluator = CocoEvaluator(dataset, max_detections=first.max_detections)
    for image in sorted(found):
        evaluator.add_found(found[image])
    return evaluator


def _detected(
    detector: Detector,
    dataset: DetectionDataset,
    batches: Sequence[np.ndarray],
    todo: Sequence[int],
    batch_size: int,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield each batch of `todo` with its images' detections as rows."""
    if not todo:
        return
    images = np.concatenate([batches[batch] for batch in todo])
    batch_of = {int(image): batch for batch in todo for image in batches[batch]}
    chosen = dataset.select(images)
    rows: dict[int, list[dict[str, Any]]] = {}
    for index, detections in detector.detect_files(
        chosen.image_paths, chosen.heights, chosen.widths, batch_size=batch_size
    ):
        image = int(images[index])
        batch = batch_of[image]
        rows.setdefault(batch, []).append(_row(rounded(image, detections)))
        if len(rows[batch]) == len(batches[batch]):
            yield batch, rows.pop(batch)


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


def _part_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    unfinished: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        files += sorted(path.glob(f"part-*{SUFFIX}")) if path.is_dir() else [path]
        unfinished += sorted(path.glob(f"part-*{UNFINISHED}")) if path.is_dir() else []
    if unfinished:
        raise DataError(f"{unfinished[0]} is not finished: run its shard again")
    if not files:
        raise DataError(f"{paths[0]} holds no parts: `retinanet evaluate --shard` writes them")
    return list(dict.fromkeys(path.resolve() for path in files))


def _refuse_incomplete(headers: dict[Path, PartHeader], count: int) -> None:
    by_shard: dict[int, Path] = {}
    for path, header in headers.items():
        if header.shard in by_shard:
            raise DataError(f"{path} and {by_shard[header.shard]} are the same part")
        by_shard[header.shard] = path
    missing = [shard for shard in range(count) if shard not in by_shard]
    if missing:
        named = ", ".join(f"{shard}/{count}" for shard in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise DataError(f"{len(missing)} of {count} parts are missing: {named}{more}")
