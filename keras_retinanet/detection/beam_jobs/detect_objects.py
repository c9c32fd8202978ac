"""Detection as a transform of Beam: addresses of images in, detections and what was passed over
out."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.pvalue import PCollection, TaggedOutput

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.download import download, is_url
from keras_retinanet.data.images.given_images import PASSED_OVER
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.detection.beam_jobs.model_handler import (
    MAX_BATCH,
    SavedModelHandler,
    Served,
    read_served,
)
from keras_retinanet.detection.predict import what_is_wanted
from keras_retinanet.detection.prediction_files import (
    ImagePrediction,
    Wanted,
    finding_as_json,
    image_as_json,
)
from keras_retinanet.detection.runtimes.served import in_pixels
from keras_retinanet.detection.usable_images import converted_header
from keras_retinanet.errors import DataError
from keras_retinanet.system.distribution import DISTRIBUTION

DETECTIONS, PASSED = "detections", "passed_over"
IMAGES_COUNTER, DETECTIONS_COUNTER, PASSED_COUNTER = "images", "detections", "passed_over"

# Address, height and width of an image: what RunInference carries along.
_Key = tuple[str, int, int]


class DetectObjects(beam.PTransform):
    """From addresses of images to what `retinanet predict` finds in them.

    Addresses are files that the workers see, URLs, and those of any file system that Beam knows
    ("gs://..."). The result is a dict of two collections, both of what JSON holds:

    - "detections": {"file", "width", "height", "detections": [{"class", "score", "box"}, ...]},
      box xyxy in pixels of the upright image;
    - "passed_over": {"file", "problem", "action"} of each image that cannot be read.

    Args:
        folder: the version of an exported SavedModel, where each worker finds it.
        min_score, keep_all, classes: as of `predict`.
        max_batch_size: of images; Beam makes batches up to it, larger ones where they are faster.

    Raises:
        WeightsError, ConfigError: the model cannot be used, or has no class of a name.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        min_score: float | None = None,
        keep_all: bool = False,
        classes: Sequence[str] = (),
        max_batch_size: int = MAX_BATCH,
    ) -> None:
        super().__init__()
        settings, first_class = read_served(Path(folder))
        self._handler = SavedModelHandler(folder, max_batch_size=max_batch_size)
        self._to_json = _ToJson(
            settings.class_names,
            first_class,
            what_is_wanted(settings, min_score=min_score, keep_all=keep_all, classes=classes),
        )

    def expand(self, addresses: PCollection) -> Any:
        read = addresses | "Read" >> beam.ParDo(_ReadImage()).with_outputs(PASSED, main=DETECTIONS)
        found = (
            read[DETECTIONS]
            | "Detect" >> RunInference(KeyedModelHandler(self._handler))
            | "Describe" >> beam.ParDo(self._to_json).with_outputs(PASSED, main=DETECTIONS)
        )
        passed = (read[PASSED], found[PASSED]) | "PassedOver" >> beam.Flatten()
        return {DETECTIONS: found[DETECTIONS], PASSED: passed}


class _ReadImage(beam.DoFn):
    """From an address to the bytes of an image that the model's graph can decode."""

    def process(self, address: str) -> Iterator[Any]:
        findings: list[Finding] = []
        with TemporaryDirectory(prefix="retinanet-fetched-") as folder:
            image = _read(address, Path(folder), findings)
        if image is None:
            Metrics.counter(DISTRIBUTION, PASSED_COUNTER).inc()
        for finding in findings:
            yield TaggedOutput(PASSED, finding_as_json(finding))
        if image is not None:
            yield image


def _read(address: str, folder: Path, findings: list[Finding]) -> tuple[_Key, bytes] | None:
    """Return an image's key and the bytes of its file, in a format that exports decode.

    Args:
        folder: for what is fetched, and what has to be converted.
        findings: for what is wrong with it.
    """
    try:
        path = _fetched(address, folder)
    except (DataError, OSError) as error:
        findings.append(Finding(_reason(error), address, PASSED_OVER))
        return None
    header = inspect_image(str(path))
    if header.is_other_kind:
        source, path = path, folder / "converted.png"
        header = converted_header(address, source, path, findings)
    if header.fault is None:
        return (address, header.height, header.width), path.read_bytes()
    findings.append(Finding(header.fault, address, "image skipped"))
    return None


def _fetched(address: str, folder: Path) -> Path:
    """Return the file of an address, which is fetched if it is no file here.

    Raises:
        DataError, OSError: it cannot be had.
    """
    if "://" not in address:
        return Path(address)
    target = folder / f"fetched{Path(address).suffix}"
    if is_url(address):
        download(address, target)
        return target
    try:
        with FileSystems.open(address) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
    except (ValueError, RuntimeError, ImportError) as error:  # of a file system that is not there
        raise DataError(_reason(error)) from error
    return target


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class _ToJson(beam.DoFn):
    """From what is served for an image to what JSON tells of it."""

    def __init__(self, class_names: Sequence[str], first_class: int, wanted: Wanted) -> None:
        super().__init__()
        self._class_names, self._wanted = tuple(class_names), wanted
        self._first_class = first_class

    def process(self, element: tuple[_Key, Served]) -> Iterator[Any]:
        (address, height, width), served = element
        if not served["is_valid"]:
            fault = "image that the export does not decode: it has too many pixels, or is damaged"
            Metrics.counter(DISTRIBUTION, PASSED_COUNTER).inc()
            yield TaggedOutput(PASSED, finding_as_json(Finding(fault, address, PASSED_OVER)))
            return
        found = in_pixels(served, height, width, first_class=self._first_class)
        _, kept = self._wanted.masks(found)
        prediction = ImagePrediction(
            file=address,
            place=Path(address),
            width=width,
            height=height,
            boxes=found["boxes"][kept],
            labels=found["classes"][kept],
            scores=found["scores"][kept],
        )
        Metrics.counter(DISTRIBUTION, IMAGES_COUNTER).inc()
        Metrics.counter(DISTRIBUTION, DETECTIONS_COUNTER).inc(len(prediction.labels))
        yield image_as_json(prediction, self._class_names)
