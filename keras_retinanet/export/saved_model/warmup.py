"""Warm-up requests: what TensorFlow Serving runs before a version takes the clients' requests.

A TFRecord of PredictionLog messages. They are encoded here, by Protocol Buffers' wire format, since
the package with the messages (tensorflow-serving-api) is nothing that an export should need.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.detection.runtimes.saved_model_runtime import REQUESTS

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

# In photographs' shape; upright and flat images have other canvases.
WARMUP_SIZES = ((240, 320), (320, 240))

# Field numbers (tensorflow_serving/apis: prediction_log, predict, model .proto).
_LOG_PREDICT = 6
_PREDICT_REQUEST = 1
_REQUEST_MODEL, _REQUEST_INPUTS = 1, 2
_MODEL_SIGNATURE = 3
_MAP_KEY, _MAP_VALUE = 1, 2
_LENGTH_DELIMITED = 2


def write_warmup(folder: Path, signatures: dict[str, Any]) -> None:
    """Write requests with pictures of noise, one of each size, to every signature.

    Args:
        signatures: the contract's, by name.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            ((key, _),) = signature["inputs"].items()
            for height, width in WARMUP_SIZES:
                value = REQUESTS[signature["kind"]]([_noise(height, width)])
                writer.write(_prediction_log(name, key, value))


def _noise(height: int, width: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def _prediction_log(signature: str, key: str, value: Any) -> bytes:
    tensor = tf.make_tensor_proto(value).SerializeToString()
    entry = _field(_MAP_KEY, key.encode()) + _field(_MAP_VALUE, tensor)
    model = _field(_MODEL_SIGNATURE, signature.encode())
    request = _field(_REQUEST_MODEL, model) + _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while True:
        value, group = value >> 7, value & 0x7F
        groups.append(group | (0x80 if value else 0))
        if not value:
            return bytes(groups)
