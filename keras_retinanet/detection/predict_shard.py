"""One process' share of a prediction on images, and the files that all shares make.

Shares are whole batches of the prediction in one process: an image goes through the network with
the same images beside it, so that its detections are the same to the last bit.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.given_images import given_images
from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.predict import (
    PredictionSummary,
    predict_images,
    refuse_nothing,
    sides_of,
    what_is_wanted,
)
from keras_retinanet.detection.prediction_files import (
    ImagePrediction,
    Wanted,
    claim_place,
    remove_files,
    write_predictions,
)
from keras_retinanet.detection.tiled_detector import detector_for
from keras_retinanet.detection.usable_images import Usable, UsableImage, usable_images
from keras_retinanet.errors import ConfigError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.shards.part_file import PartHeader, open_part, part_path
from keras_retinanet.system.shards.part_set import find_parts, rows_of_images
from keras_retinanet.system.shards.shard import Shard
from keras_retinanet.system.shards.whole_batches import by_batch

KIND = "prediction"


@dataclass
class ShardSummary:
    """What `predict_shard` did: its part, how many images were looked at, and the files that no
    shard looks at."""

    part: Path
    num_images: int = 0
    findings: list[Finding] = field(default_factory=list)


def predict_shard(
    model: RetinaNet | Detector,
    images: str | Path | Sequence[str | Path],
    output: Path,
    shard: Shard,
    *,
    model_id: str,
    lines: Iterable[str] = (),
    min_score: float | None = None,
    keep_all: bool = False,
    classes: Sequence[str] = (),
    crops: bool = False,
    batch_size: int = 8,
) -> ShardSummary:
    """Detect objects in a share of the images; write pictures and the share's part into `output`.

    A finished part is not made again, and one that was interrupted is gone on with. The other
    arguments are those of `predict`.

    Args:
        model_id: changes with the model's weights.

    Raises:
        DataError: there is no image; or as `open_part`.
        ConfigError: there is a video; the model has no class of a name; `output` holds something
            else.
    """
    detector = detector_for(model)
    wanted = what_is_wanted(detector, min_score=min_score, keep_all=keep_all, classes=classes)
    given = given_images([images] if isinstance(images, str | Path) else images, lines)
    summary = ShardSummary(part_path(output, shard.index, shard.count), findings=given.findings)
    with TemporaryDirectory(prefix="retinanet-fetched-") as folder:
        usable = usable_images(given, Path(folder))
        _refuse_videos(usable)
        refuse_nothing(usable, images, summary.findings)
        batches = detector.batch_plan(*sides_of(usable.images), batch_size=batch_size)
        work = {
            "model": model_id,
            **_described(usable.images, summary.findings),
            "class_names": list(detector.class_names),
            "num_batches": len(batches),
            "batch_size": batch_size,
            **_options(wanted),
            "crops": crops,
        }

        def detect(chosen: np.ndarray) -> Iterator[tuple[int, ImagePrediction]]:
            mine = [usable.images[i] for i in chosen]
            yield from predict_images(
                detector, mine, output, wanted, crops=crops, batch_size=batch_size
            )

        claim_place(output)
        with open_part(summary.part, PartHeader(KIND, shard.index, shard.count, work)) as writer:
            if writer is not None:
                todo = [batch for batch in shard.of(len(batches)) if batch not in writer.done]
                for batch, found in by_batch(batches, todo, detect):
                    writer.add(batch, [_row(*one) for one in found])
                    summary.num_images += len(found)
                writer.finish()
    return summary


def merge_predictions(
    paths: Sequence[Path], output: Path, *, formats: Sequence[str] = ("json",)
) -> PredictionSummary:
    """Write the files that `predict` in one process writes beside its pictures.

    Args:
        paths: of parts, or of folders of them.
        formats: of `prediction_files.FORMATS`.

    Raises:
        DataError: a part is missing, there twice, unfinished, damaged, or of another prediction.
        ConfigError: `output` holds something else.
    """
    parts = find_parts(paths, KIND)
    work = parts.header.work
    predictions = rows_of_images(parts, work["num_images"], _prediction)
    summary = PredictionSummary(
        num_images=len(predictions),
        num_detections=sum(len(each.scores) for each in predictions),
        findings=[Finding(*finding) for finding in work["passed_over"]],
    )
    claim_place(output)
    remove_files(output)
    write_predictions(predictions, summary.findings, work["class_names"], output, formats)
    return summary


def _refuse_videos(usable: Usable) -> None:
    if usable.videos:
        raise ConfigError(
            f"--shard shares out images alone, and {usable.videos[0].name} is a video or camera: "
            "look at it without --shard"
        )


def _described(images: Sequence[UsableImage], findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what changes with the images, as a part's header holds it."""
    digest = hashlib.sha256()
    for image in images:
        size = image.read_from.stat().st_size
        told = (image.name, image.place.as_posix(), image.header.height, image.header.width, size)
        digest.update(repr(told).encode("utf-8", "surrogatepass"))
    return {
        "images": f"sha256 {digest.hexdigest()[:16]}",
        "num_images": len(images),
        "passed_over": [[f.problem, f.where, f.action] for f in findings],
    }


def _options(wanted: Wanted) -> dict[str, Any]:
    limits = np.asarray(wanted.min_score, np.float64).tolist()
    return {"min_score": limits, "classes": list(wanted.labels), "keep_all": wanted.keep_all}


def _row(image: int, prediction: ImagePrediction) -> dict[str, Any]:
    return {
        "image": image,
        "file": str(prediction.file),
        "place": prediction.place.as_posix(),
        "sides": [prediction.height, prediction.width],
        **{name: getattr(prediction, name).tolist() for name in ("boxes", "labels", "scores")},
    }


def _prediction(row: dict[str, Any]) -> ImagePrediction:
    height, width = row["sides"]
    return ImagePrediction(
        file=row["file"],
        place=Path(row["place"]),
        width=width,
        height=height,
        boxes=np.array(row["boxes"], np.float64).reshape(-1, 4),
        labels=np.array(row["labels"], np.int64),
        scores=np.array(row["scores"], np.float64),
    )
