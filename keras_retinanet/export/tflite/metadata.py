"""TFLite metadata: what MediaPipe Tasks and the Task Library read off a file, and our own details.

A flatbuffer of TensorFlow's metadata schema ("M001") among the model's buffers, and files in a zip
behind the model. Written here field by field, since the package that wrote it (tflite-support)
does not install beside NumPy 2; the numbers are the schema's.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.export.tflite.join import pack
from keras_retinanet.system.private_names import read_tflite, tflite_schema

schema = tflite_schema()

METADATA_NAME = "TFLITE_METADATA"
FILE_IDENTIFIER = b"M001"
MIN_PARSER_VERSION = "1.2.0"  # the first to know everything used here

# enum AssociatedFileType, ColorSpaceType, BoundingBoxType, CoordinateType
TENSOR_VALUE_LABELS, RGB, BOUNDARIES, RATIO = 3, 1, 1, 0
# union ContentProperties, ProcessUnitOptions
FEATURE, IMAGE, BOUNDING_BOX = 1, 2, 3
NORMALIZATION = 1
# Where left, top, right and bottom are in ymin, xmin, ymax, xmax.
BOX_INDEX = (1, 0, 3, 2)


def add_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    height: int,
    width: int,
    outputs: Sequence[str],
    files: dict[str, bytes],
) -> bytes:
    """Return the TFLite file with metadata and `files` ("labels.txt" and others) in it.

    Args:
        outputs: names of the output tensors in the file's order; "location" and "category" are
            described as boxes and as classes with labels.
    """
    content = read_tflite(model)
    content.buffers.append(
        schema.BufferT(
            data=np.frombuffer(_metadata(name, description, height, width, outputs), np.uint8)
        )
    )
    entry = schema.MetadataT(name=METADATA_NAME.encode(), buffer=len(content.buffers) - 1)
    content.metadata = [*(content.metadata or []), entry]
    result = io.BytesIO(pack(content))
    with zipfile.ZipFile(result, "a") as archive:
        for file, data in files.items():
            # A fixed time: the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(file), data)
    return result.getvalue()


class _Builder(flatbuffers.Builder):
    """A builder to which tables are given as {slot: value}."""

    def table(self, fields: dict[int, tuple[str, Any]]) -> int:
        """Return the offset of a table; a field is its kind and value."""
        self.StartObject(max(fields, default=-1) + 1)
        for slot, (kind, value) in fields.items():
            add = {
                "offset": self.PrependUOffsetTRelativeSlot,
                "byte": self.PrependUint8Slot,
                "int": self.PrependUint32Slot,
            }[kind]
            add(slot, value, 0)
        return self.EndObject()

    def text(self, value: str) -> tuple[str, int]:
        return "offset", self.CreateString(value)

    def tables(self, offsets: Sequence[int]) -> tuple[str, int]:
        self.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.PrependUOffsetTRelative(offset)
        return "offset", self.EndVector()

    def numbers(self, values: Sequence[float], kind: type) -> tuple[str, int]:
        return "offset", self.CreateNumpyVector(np.array(values, kind))


def _metadata(
    name: str, description: str, height: int, width: int, outputs: Sequence[str]
) -> bytes:
    b = _Builder(1024)
    subgraph = b.table(
        {
            2: b.tables([_image(b, height, width)]),  # input_tensor_metadata
            3: b.tables([_output(b, output) for output in outputs]),  # output_tensor_metadata
        }
    )
    root = b.table(
        {
            0: b.text(name),
            1: b.text(description),
            3: b.tables([subgraph]),  # subgraph_metadata
            7: b.text(MIN_PARSER_VERSION),
        }
    )
    b.Finish(root, file_identifier=FILE_IDENTIFIER)
    return bytes(b.Output())


def _image(b: _Builder, height: int, width: int) -> int:
    size = b.table({0: ("int", width), 1: ("int", height)})
    properties = b.table({0: ("byte", RGB), 1: ("offset", size)})
    # The model takes 0...255 of any type: clients are told to leave the values as they are.
    options = b.table({0: b.numbers([0.0], np.float32), 1: b.numbers([1.0], np.float32)})
    unit = b.table({0: ("byte", NORMALIZATION), 1: ("offset", options)})
    return b.table(
        {
            0: b.text("image"),
            1: b.text("RGB in 0...255; an image of any size is stretched to the input's"),
            3: ("offset", b.table({0: ("byte", IMAGE), 1: ("offset", properties)})),
            4: b.tables([unit]),
            5: (
                "offset",
                b.table({0: b.numbers([255.0], np.float32), 1: b.numbers([0.0], np.float32)}),
            ),
        }
    )


def _output(b: _Builder, output: str) -> int:
    properties, kind = b.table({}), FEATURE
    if output == "location":
        properties, kind = (
            b.table(
                {
                    0: b.numbers(BOX_INDEX, np.uint32),
                    1: ("byte", BOUNDARIES),
                    2: ("byte", RATIO),
                }
            ),
            BOUNDING_BOX,
        )
    fields = {
        0: b.text(output),
        3: ("offset", b.table({0: ("byte", kind), 1: ("offset", properties)})),
    }
    if output == "category":
        labels = b.table({0: b.text(LABELS_FILE), 2: ("byte", TENSOR_VALUE_LABELS)})
        fields[6] = b.tables([labels])
    return b.table(fields)
