"""Export as a SavedModel for TensorFlow Serving: image in, detections out, nothing else needed."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.load_detector import SAVED_MODEL_FILE
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.saved_model_runtime import open_signatures
from keras_retinanet.errors import ConfigError, WeightsError
from keras_retinanet.export.converters import converting
from keras_retinanet.export.exporter import Exporter, Written
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.saved_model.signatures import (
    FILE_KINDS,
    MODEL_GARDEN_FIRST_CLASS,
    RAW_VARIANTS,
    SIGNATURES,
    describe,
    detection_signatures,
    input_sides,
    raw_signature,
)
from keras_retinanet.export.saved_model.warmup import write_warmup
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.private_names import saved_model_proto

# 50 megapixels are 150 MB when decoded.
MAX_PIXELS = 50_000_000
# bfloat16 has 8 bits of precision: scores move by some thousandths, boxes by fractions of pixels.
BFLOAT16 = Tolerance(agreement=0.9, ap_drop=0.005)
TOLERANCES = {"float32": FLOAT32, "bfloat16": BFLOAT16}
# Weights are constants; these ops would read them from elsewhere.
_VARIABLE_OPS = frozenset(("VarHandleOp", "ReadVariableOp", "VariableV2", "RefVariable"))


@dataclass(frozen=True)
class SavedModelExporter(Exporter):
    """Writes saved_model.pb with these signatures, for images of any size, any number per request:

    - serving_default (images): "input_tensor" uint8 [N, H, W, 3] RGB;
    - serve_bytes (encoded_images): "image_bytes" string [N], JPEG, PNG, GIF or BMP files, each of
      its own size;
    - serve_tf_example (tf_examples): "examples" string [N], tf.Example protos with "image/encoded";
    - serve_model_garden (model_garden): as serving_default, with the keys, types and the 1-based
      classes of the Object Detection API.

    All return "detection_boxes" float32 [N, K, 4] ymin, xmin, ymax, xmax as shares of the image's
    sides, "detection_scores" float32 [N, K] descending, "detection_classes" int32 [N, K], 0-based:
    line c of assets/labels.txt counted from 0, and "num_detections" int32 [N]; K is the model's
    `max_detections`, and unused places hold zeros. serve_model_garden returns all as float32. Those
    that take files also return "is_valid" bool [N]: a file that cannot be decoded, or is too large,
    has no detections, and the others of the request are not touched. Of a model with tiles, they
    cut images into tiles; serving_default and serve_model_garden take images as they are.

    Args:
        precision: of the network, "float32" or "bfloat16".
        signatures: "KIND=NAME", other names for the kinds above in parentheses; "KIND=" leaves one
            out.
        raw: "dynamic" or "fixed" in place of these writes one signature without NMS, as
            `raw_signature` describes, for runtimes that have no such operation.
        max_pixels: image files with more are not decoded.
        warmup: write assets.extra/tf_serving_warmup_requests.
    """

    format: ClassVar[str] = "saved_model"

    precision: str = "float32"
    signatures: tuple[str, ...] = ()
    raw: str | None = None
    max_pixels: int = MAX_PIXELS
    warmup: bool = True

    def __post_init__(self) -> None:
        if self.precision not in TOLERANCES:
            raise ConfigError(
                f"--precision of a saved_model must be one of {', '.join(TOLERANCES)}, "
                f"not {self.precision!r}"
            )
        if self.raw not in (None, *RAW_VARIANTS):
            raise ConfigError(f"--raw must be one of {', '.join(RAW_VARIANTS)}, not {self.raw!r}")
        signature_names(self.signatures)

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.precision]

    def write(self, model: RetinaNet, folder: Path) -> Written:
        inference = DetectorSettings.of_model(model)
        sides = (None, None) if self.raw == "dynamic" else input_sides(inference)
        network, num_bytes = freeze(model, self.precision, sides)
        if self.raw:
            functions = {
                SIGNATURES["images"]: raw_signature(network, inference, fixed=self.raw == "fixed")
            }
            kinds = {SIGNATURES["images"]: "network_inputs"}
        else:
            names = signature_names(self.signatures)
            functions = detection_signatures(
                network, inference, names=names, max_pixels=self.max_pixels
            )
            kinds = {name: kind for kind, name in names.items()}
        concrete = {name: function.get_concrete_function() for name, function in functions.items()}
        # Not the concrete functions: theirs would be names without the signatures', in errors.
        _save(functions, model.class_names, folder)
        refuse_variables(folder)
        contract = {
            name: {
                "kind": kinds[name],
                "first_class": MODEL_GARDEN_FIRST_CLASS if kinds[name] == "model_garden" else 0,
                "cuts_tiles": model.tiling.size is not None and kinds[name] in FILE_KINDS,
                **describe(function),
            }
            for name, function in concrete.items()
        }
        if self.warmup and not self.raw:
            write_warmup(folder, contract)
        return Written({"signatures": contract}, num_bytes)

    def detectors(self, folder: Path) -> dict[str, Detector]:
        return open_signatures(folder)


def signature_names(changes: tuple[str, ...]) -> dict[str, str]:
    """Return the signatures' names by their kinds, with changes "KIND=NAME" or "KIND=".

    Raises:
        ConfigError: an unknown kind, a name twice, or no signature at all.
    """
    names = dict(SIGNATURES)
    for change in changes:
        kind, _, name = change.partition("=")
        if kind not in names or (name and not name.isidentifier()):
            raise ConfigError(
                f"--signature must be KIND=NAME with a KIND of {', '.join(SIGNATURES)} and a NAME "
                f"of letters, digits and underscores, not {change!r}"
            )
        names[kind] = name
    names = {kind: name for kind, name in names.items() if name}
    if not names or len(set(names.values())) != len(names):
        raise ConfigError("--signature must leave one signature or more, with different names")
    return names


def refuse_variables(folder: Path) -> None:
    """Raise WeightsError if a SavedModel's graph reads variables: its weights are constants."""
    saved = saved_model_proto().FromString((folder / SAVED_MODEL_FILE).read_bytes())
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        for node in _nodes(graph):
            # Strings are paths of assets.
            if node.op in _VARIABLE_OPS and node.attr["dtype"].type != tf.string.as_datatype_enum:
                raise WeightsError(
                    f"the export has the variable {node.name}, nothing is published: its weights "
                    "have to be constants"
                )


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _save(functions: dict[str, Any], class_names: tuple[str, ...], folder: Path) -> None:
    module = tf.Module()
    with tempfile.TemporaryDirectory() as place:
        # The text travels with the SavedModel as assets/labels.txt.
        labels = Path(place, LABELS_FILE)
        labels.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        with converting("saving the SavedModel"):
            tf.saved_model.save(module, str(folder), signatures=functions)
