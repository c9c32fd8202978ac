"""From a path to a detector: which runtime a file or folder needs."""

from collections.abc import Callable
from pathlib import Path

from keras_retinanet.detection.detector import Detector
from keras_retinanet.errors import WeightsError
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import fetched, staged

SAVED_MODEL_FILE = "saved_model.pb"


def load_detector(path: str | Path) -> Detector:
    """Return the detector in a model file, or in an export's version folder.

    Files are .keras, .tflite, .onnx and OpenVINO's .xml. Version folders are those that `retinanet
    export` writes, of any format, and those of SavedModels made by it.

    Raises:
        WeightsError: there is no such file, it is damaged, or it is of another kind.
        UserError: the package that runs it is not installed.
        BucketError: it is in a bucket, and cannot be had.
    """
    path = _fetched(path)
    if not path.exists():
        raise WeightsError(f"there is no model file or folder {told(str(path))}")
    if path.is_dir():
        path = _model_in(path)
    kind = "saved_model" if path.is_dir() else path.suffix
    if kind not in RUNTIMES:
        raise WeightsError(
            f"{path} is none of the kinds of model that can be run: {', '.join(RUNTIMES)}"
        )
    return RUNTIMES[kind](path)


def _fetched(place: str | Path) -> Path:
    """Return the local path of a model, with all that belongs to it: of an export, its folder."""
    path = staged(place)
    if path.is_dir() and not ((path / SAVED_MODEL_FILE).is_file() or any(path.glob("model.*"))):
        return path  # of versions, or of something else
    is_alone = path.is_dir() or RUNTIMES.get(path.suffix) is _keras
    fetched(path if is_alone else path.parent)
    return path


def _model_in(folder: Path) -> Path:
    """Return the model in a version folder: the folder itself, if it is a SavedModel."""
    if (folder / SAVED_MODEL_FILE).is_file():
        return folder
    files = [p for p in sorted(folder.iterdir()) if p.suffix in RUNTIMES and p.stem == "model"]
    if len(files) == 1:
        return files[0]
    versions = [path for path in folder.iterdir() if path.name.isdecimal()]
    if versions:
        newest = max(versions, key=lambda path: int(path.name))
        raise WeightsError(f"{folder} holds versions: name one, for example {newest}")
    raise WeightsError(f"{folder} holds no {SAVED_MODEL_FILE} and no file model.* of an export")


def _keras(path: Path) -> Detector:
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.detection.runtimes.keras_model import KerasDetector

    return KerasDetector(load_model(path))


def _saved_model(path: Path) -> Detector:
    from keras_retinanet.detection.runtimes.saved_model_runtime import open_signatures

    return next(iter(open_signatures(path).values()))


def _onnx(path: Path) -> Detector:
    from keras_retinanet.detection.runtimes.onnx_runtime import load_onnx

    return load_onnx(path)


def _openvino(path: Path) -> Detector:
    from keras_retinanet.detection.runtimes.openvino_runtime import load_openvino

    return load_openvino(path)


def _tflite(path: Path) -> Detector:
    from keras_retinanet.detection.runtimes.tflite_runtime import TFLiteDetector

    return TFLiteDetector(path)


# By suffix; each runtime is imported where it is needed.
RUNTIMES: dict[str, Callable[[Path], Detector]] = {
    "saved_model": _saved_model,
    ".keras": _keras,
    ".npz": _keras,  # a checkpoint
    ".tflite": _tflite,
    ".onnx": _onnx,
    ".xml": _openvino,
}
