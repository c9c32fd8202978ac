"""The one way of every export: write, pass the gates, measure parity, publish."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import read_manifest
from keras_retinanet.errors import WeightsError
from keras_retinanet.export.converters import one_line_errors
from keras_retinanet.export.exporter import Exporter
from keras_retinanet.export.keras_exporter import KerasExporter
from keras_retinanet.export.onnx_exporter import OnnxExporter
from keras_retinanet.export.openvino.openvino_exporter import OpenVINOExporter
from keras_retinanet.export.publish import MARKS, publish
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.export.torchvision_exporter import TorchvisionExporter
from keras_retinanet.export.verify import Parity, compare, with_ap
from keras_retinanet.export.write_manifest import describe_source, write_manifest
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.system.buckets.outgoing import outgoing
from keras_retinanet.system.silence import silence

# By the name in `retinanet export --format`.
EXPORTERS: dict[str, type[Exporter]] = {
    exporter.format: exporter
    for exporter in (
        SavedModelExporter,
        TFLiteExporter,
        OnnxExporter,
        OpenVINOExporter,
        KerasExporter,
        TorchvisionExporter,
    )
}
# The first way to run an export is compared on all images, the others on these many.
_IMAGES_FOR_OTHERS = 2


def export_model(
    model: RetinaNet,
    folder: str | Path,
    exporter: Exporter,
    *,
    images: Sequence[str] = (),
    dataset: DetectionDataset | None = None,
    model_file: Path | None = None,
) -> tuple[Path, Parity]:
    """Write `folder`/<next version>, verified, and return it with the parity that was measured.

    The version holds the model in the exporter's format, its labels, and manifest.json.

    Args:
        images: image files to compare the detections on; without, two pictures of noise.
        dataset: AP of model and export is measured on it, and what it costs where the format's
            clients stretch images and the model was not trained so.
        model_file: where the model came from, for the manifest.

    Raises:
        WeightsError: weights are not finite or missing, labels are wrong, or the export computes
            something else; nothing is published then.
        DataError: an image or the data set cannot be used.
        BucketError: the folder is in a bucket, and cannot be written.
    """
    folder = outgoing(folder, last=MARKS)
    refuse_broken_weights(model)
    policy = model.input_policy
    model = exporter.as_clients_run_it(model)
    source = describe_source(model_file) if model_file else None
    measured: list[Parity] = []

    def write(place: Path) -> None:
        written = exporter.write(model, place)
        _refuse_lost_weights(place, written.weights_bytes)
        content = {
            "format": exporter.format,
            # Paths and the like as text.
            "settings": json.loads(json.dumps(dataclasses.asdict(exporter), default=str)),
            "class_names": list(model.class_names),
            "contract": written.contract,
            "inference": DetectorSettings.of_model(model).as_json(),
            "weights_bytes": written.weights_bytes,
            "source": source,
        }
        write_manifest(place, content)  # runtimes read it
        parities = _verify(model, exporter, place, images, dataset, policy)
        measured.extend(parities.values())
        parity = {name: parity.as_json() for name, parity in parities.items()}
        write_manifest(place, {**content, "parity": parity})
        read_manifest(place)

    return publish(folder, write), measured[0]


def export_saved_model(
    model: RetinaNet, folder: str | Path, *, verify_images: Sequence[str] = ()
) -> tuple[Path, Parity]:
    """Export as a SavedModel with the default settings; see `export_model`."""
    return export_model(model, folder, SavedModelExporter(), images=verify_images)


def refuse_broken_weights(model: RetinaNet) -> None:
    """Raise WeightsError if a weight is NaN or infinite."""
    for variable in model.variables:
        if not np.isfinite(variable.numpy()).all():
            raise WeightsError(f"the weights {variable.path} hold NaN or infinity: not exported")


def _refuse_lost_weights(folder: Path, weights_bytes: int) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    # Warm-up requests are no part of the model.
    found = sum(path.stat().st_size for path in files if path.parent.name != "assets.extra")
    if found < weights_bytes:
        raise WeightsError(
            f"the export lost weights, nothing is published: its files have {found:,} bytes, the "
            f"weights alone {weights_bytes:,}"
        )


def _verify(
    model: RetinaNet,
    exporter: Exporter,
    folder: Path,
    images: Sequence[str],
    dataset: DetectionDataset | None,
    trained_with: InputPolicy,
) -> dict[str, Parity]:
    """Return the parity of every way to run the export, by its name, if all are good enough."""
    parities: dict[str, Parity] = {}
    tolerance = exporter.tolerance
    with silence("opening the export"), one_line_errors("opening the export"):
        detectors = exporter.detectors(folder)
    for name, detector in detectors.items():
        is_first = not parities
        some = images if is_first else images[:_IMAGES_FOR_OTHERS]
        with one_line_errors(f"running the export ({name})"):
            parity = compare(model, detector, some, tolerance=tolerance)
            if is_first and dataset is not None:
                trained = None
                if model.input_policy != trained_with:
                    trained = copy_for_inference(model, input_policy=vars(trained_with))
                parity = with_ap(parity, model, detector, dataset, trained)
        parity.refuse_unless_within(tolerance)
        parities[name] = parity
    return parities
