"""Parity: whether an exported model gives the detections of the Keras model it was made from."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector, detect_files
from keras_retinanet.detection.tiled_detector import tiling_in_use, with_tiles
from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.geometry.boxes import pairwise_iou
from keras_retinanet.models.retinanet import RetinaNet

# Pictures for a comparison without the user's images.
_SYNTHETIC_SIZES = ((240, 320), (320, 200))
# Two detections of one class are of one object from this overlap on; NMS leaves no two such.
_PAIR_IOU = 0.5
# Corners as far apart as this, in pixels, are of one box.
_SAME_PLACE = 0.01
# Detections that a format of lower precision has to keep; weaker ones come and go with rounding.
CONFIDENT = 0.3


@dataclass(frozen=True)
class Tolerance:
    """What an export may differ by; what is None is measured and not judged.

    Attributes:
        box: pixels of the original image, largest of all.
        score: of the sigmoid, largest of all.
        num_mismatches: images where a detection of one side has no counterpart on the other.
        agreement: smallest share of the confident detections that have a counterpart.
        ap_drop: AP (0 to 1) that may be lost on the data set given.
    """

    box: float | None = None
    score: float | None = None
    num_mismatches: int | None = None
    agreement: float | None = None
    ap_drop: float | None = None


# Different float32 graphs sum in different orders, and no more.
FLOAT32 = Tolerance(box=0.01, score=1e-5, num_mismatches=0, ap_drop=1e-4)


@dataclass(frozen=True)
class Parity:
    """Differences found between the detections of the Keras model and of an export.

    Attributes:
        num_images: images compared; synthetic ones if `is_synthetic`.
        num_detections: detections of the Keras model on them.
        box: largest difference in pixels of the original image, over detections with counterparts.
        score: the same for the sigmoid.
        num_mismatches: images where a detection of one side has no counterpart (same class,
            overlapping) on the other; what lies at the threshold within the tolerance is excused.
        agreement: share of both sides' detections of at least the score CONFIDENT that have a
            counterpart; 1 where there are none.
        ap, model_ap: COCO AP of the export and of the Keras model; None without a data set.
        trained_ap: that of the Keras model with the resizing that it was trained with, where the
            format's clients stretch images in its place; `model_ap` is stretched, too.
    """

    num_images: int
    num_detections: int
    box: float
    score: float
    num_mismatches: int
    agreement: float
    is_synthetic: bool
    ap: float | None = None
    model_ap: float | None = None
    trained_ap: float | None = None

    def refuse_unless_within(self, tolerance: Tolerance) -> None:
        """Raise WeightsError if the difference is more than the format's rounding."""
        drop = None if self.ap is None or self.model_ap is None else self.model_ap - self.ap
        for value, limit in (
            (self.box, tolerance.box),
            (self.score, tolerance.score),
            (self.num_mismatches, tolerance.num_mismatches),
            (-self.agreement, None if tolerance.agreement is None else -tolerance.agreement),
            (drop, tolerance.ap_drop),
        ):
            # Written so that NaN is refused.
            if limit is not None and value is not None and not value <= limit:
                raise WeightsError(
                    f"the export computes something else, nothing is published: {self}"
                )

    def __str__(self) -> str:
        kind = "synthetic images" if self.is_synthetic else "images"
        text = (
            f"{self.num_detections} detections on {self.num_images} {kind}: largest difference of "
            f"a box {self.box:.2g} px, of a score {self.score:.2g}; "
            f"in {self.num_mismatches} of the images some detection, however weak, is another; "
            f"{100 * self.agreement:.1f} % of the confident ones agree"
        )
        if not self.num_detections:
            text += (
                "; without detections this shows little: compare on images with objects, or with a "
                "lower score threshold"
            )
        if self.ap is not None and self.model_ap is not None:
            text += f"; AP {self.ap:.4f}, of the model {self.model_ap:.4f}"
        if self.trained_ap is not None and self.model_ap is not None:
            text += f"; AP {self.trained_ap:.3f} -> {self.model_ap:.3f} by stretching"
        return text

    def as_json(self) -> dict:
        return dataclasses.asdict(self)


def compare(
    model: RetinaNet,
    exported: Detector,
    image_files: Sequence[str] = (),
    *,
    tolerance: Tolerance = FLOAT32,
) -> Parity:
    """Return the differences between a model's and an export's detections in image files.

    Without files, two pictures of smooth noise are used.

    Raises:
        DataError: a file is not a usable image.
        WeightsError: the export has other classes, or numbers that are not finite.
    """
    if tuple(exported.class_names) != tuple(model.class_names):
        raise WeightsError(
            f"the export's labels are not the model's classes, nothing is published: "
            f"{len(exported.class_names)} labels, {len(model.class_names)} classes"
        )
    cuts = tiling_in_use(exported).size is not None
    reference = _cutting_as(exported, model) if cuts else model
    with _images(image_files) as files:
        heights, widths = _sizes(files)
        expected = dict(detect_files(reference, files, heights, widths, batch_size=1))
        found = dict(detect_files(exported, files, heights, widths, batch_size=1))
    pairs = [
        _Pairs.of(expected[i], found[i], model, tolerance.score or 0.0) for i in range(len(files))
    ]
    confident = sum(p.num_confident for p in pairs)
    return Parity(
        num_images=len(files),
        num_detections=sum(len(d["scores"]) for d in expected.values()),
        box=max(p.box for p in pairs),
        score=max(p.score for p in pairs),
        num_mismatches=sum(not p.is_complete for p in pairs),
        agreement=sum(p.num_agreed for p in pairs) / confident if confident else 1.0,
        is_synthetic=not image_files,
    )


def with_ap(
    parity: Parity,
    model: RetinaNet,
    exported: Detector,
    dataset: DetectionDataset,
    trained: RetinaNet | None = None,
) -> Parity:
    """Return the parity with the AP of both on a data set.

    Args:
        trained: the model with the resizing that it was trained with, where `model` has another.
    """
    sides: dict[str, Detector] = {"ap": exported, "model_ap": _cutting_as(exported, model)}
    if trained is not None:
        sides["trained_ap"] = _cutting_as(exported, trained)
    found = {name: evaluate(each, dataset)[0]["AP"] for name, each in sides.items()}
    return dataclasses.replace(parity, **found)


def _cutting_as(exported: Detector, model: RetinaNet) -> Detector:
    """Return a model's detector, which cuts images into tiles where the export itself does."""
    return with_tiles(KerasDetector(model), tiling_in_use(exported))


@dataclass(frozen=True)
class _Pairs:
    """How the detections of two models in one image go together."""

    box: float
    score: float
    is_complete: bool
    num_confident: int
    num_agreed: int

    @classmethod
    def of(cls, a: Detections, b: Detections, model: RetinaNet, tolerance: float) -> "_Pairs":
        for name in ("boxes", "scores"):
            if not np.isfinite(b[name]).all():
                raise WeightsError(f"the export's {name} are not finite, nothing is published")
        index_a, index_b = _pair(a, b)
        alone_a, alone_b = np.ones(len(a["scores"]), bool), np.ones(len(b["scores"]), bool)
        alone_a[index_a], alone_b[index_b] = False, False

        def excused(alone: np.ndarray, this: Detections, other: Detections) -> bool:
            # What was the last to come in here may be the first to stay out there.
            full = len(other["scores"]) >= model.inference.max_detections
            lowest = other["scores"][-1] if full else model.inference.score_threshold
            return bool((this["scores"][alone] <= lowest + 2 * tolerance).all())

        sure_a, sure_b = a["scores"] >= CONFIDENT, b["scores"] >= CONFIDENT
        return cls(
            box=float(np.abs(a["boxes"][index_a] - b["boxes"][index_b]).max(initial=0.0)),
            score=float(np.abs(a["scores"][index_a] - b["scores"][index_b]).max(initial=0.0)),
            is_complete=excused(alone_a, a, b) and excused(alone_b, b, a),
            num_confident=int(sure_a.sum() + sure_b.sum()),
            num_agreed=int((sure_a & ~alone_a).sum() + (sure_b & ~alone_b).sum()),
        )


def _pair(a: Detections, b: Detections) -> tuple[list[int], list[int]]:
    """Return the indices of the detections that go together, the best scores of `a` first.

    By class and overlap and not by rank, which two scores that differ by rounding exchange.
    """
    if not len(a["scores"]) or not len(b["scores"]):
        return [], []
    iou = np.array(pairwise_iou(np.float32(a["boxes"]), np.float32(b["boxes"])))
    # Boxes without area, which a model may keep, overlap nothing, not even themselves.
    distance = np.abs(a["boxes"][:, None] - b["boxes"][None, :]).max(axis=-1)
    iou[distance <= _SAME_PLACE] = 1.0
    iou[a["classes"][:, None] != b["classes"][None, :]] = 0.0
    index_a, index_b = [], []
    for i in range(len(iou)):
        j = int(iou[i].argmax())
        if iou[i, j] >= _PAIR_IOU:
            iou[:, j] = 0.0
            index_a.append(i)
            index_b.append(j)
    return index_a, index_b


def _sizes(files: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    headers = inspect_images(files)
    for file, header in zip(files, headers, strict=True):
        if header.fault:
            raise DataError(f"{file} cannot be used to verify the export: {header.fault}")
    return np.array([h.height for h in headers]), np.array([h.width for h in headers])


@contextmanager
def _images(image_files: Sequence[str]) -> Iterator[list[str]]:
    if image_files:
        yield list(image_files)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield [_write_noise(Path(folder, f"{h}x{w}.png"), h, w) for h, w in _SYNTHETIC_SIZES]


def _write_noise(path: Path, height: int, width: int) -> str:
    noise = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return str(path)
