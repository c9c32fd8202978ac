"""The names of what a TFLite file of `retinanet export` holds, and the files inside it."""

import io
import zipfile

from keras_retinanet.errors import WeightsError

SIGNATURE = "serving_default"
# What the outputs are called in the file's metadata too; MediaPipe knows the first four.
DETECTION_OUTPUTS = ("location", "category", "score", "number of detections")
RAW_OUTPUTS = ("class_scores", "box_deltas")
# In the zip behind the model, beside its labels: `DetectorSettings` as JSON, and, where boxes are
# left encoded, the anchors: float32 [A, 4] xyxy in pixels of the input.
INFERENCE_FILE = "inference.json"
ANCHORS_FILE = "anchors.f32"


def read_file(model: bytes, name: str) -> bytes:
    """Return a file that is part of a TFLite file.

    Raises:
        WeightsError: there is none of the name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, KeyError):
        raise WeightsError(
            f"the TFLite file holds no {name}: it is none that `retinanet export` wrote"
        ) from None
