"""`import_weights`: a RetinaNet with the weights of a file of another project."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.weights.files.keras_archive import MODEL_CONFIG
from keras_retinanet.weights.files.read_arrays import read_weights_file
from keras_retinanet.weights.sources.detectron2_names import DETECTRON2
from keras_retinanet.weights.sources.fizyr_names import FIZYR
from keras_retinanet.weights.sources.keras_hub_names import KERAS_HUB
from keras_retinanet.weights.sources.mmdetection_names import MMDETECTION
from keras_retinanet.weights.sources.model_garden_names import MODEL_GARDEN
from keras_retinanet.weights.sources.network_source import (
    TORCH_PARTS,
    About,
    Arrays,
    Network,
    Source,
)
from keras_retinanet.weights.sources.torchvision_names import TORCHVISION

SOURCES = {
    source.name: source
    for source in (TORCHVISION, DETECTRON2, MMDETECTION, FIZYR, KERAS_HUB, MODEL_GARDEN)
}
AUTO = "auto"
CLASS_HEAD = "class_head_predictions"
BOX_HEAD = "box_head_predictions"
# COCO's classes and a background, as older versions of some projects count them.
_NUM_WITH_BACKGROUND = 81
_MAX_LISTED = 8


@dataclass(frozen=True)
class ImportedModel:
    """A model, and what became of the file.

    Attributes:
        source: the project, a key of SOURCES.
        description: of the network.
        num_arrays, num_values: that were taken.
        left_out: names of the file's arrays that hold no weights.
        remarks: what the project does otherwise, of what the file asks for.
    """

    model: RetinaNet
    source: str
    description: str
    num_arrays: int
    num_values: int
    left_out: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def import_weights(
    path: str | Path, *, source: str = AUTO, class_names: Sequence[str] | None = None
) -> ImportedModel:
    """Return the RetinaNet that a weights file belongs to, with its weights.

    Its anchors, preprocessing, padding and post-processing are those of the project, so that it
    detects what it does there. Nothing in the file is run.

    Args:
        path: a .pth, .pkl, .safetensors, .h5 or .keras file; the folder of a preset of KerasHub; or
            what the names of a checkpoint's files begin with.
        source: a key of SOURCES, or "auto": told by the names in the file.
        class_names: of a file whose classes are not COCO's; "0", "1", ... by default.

    Raises:
        WeightsError: the file is damaged, of another model, or lacks weights or has others besides.
    """
    path = Path(path)
    try:
        file = read_weights_file(path)
        _refuse_own(file.about)
        found = _source(file.arrays, source)
        found.refuse(file.about)
        return _imported(found, found.renamed(file.arrays), file.about, class_names)
    except WeightsError as error:
        message = str(error)
        raise WeightsError(message if str(path) in message else f"{path}: {message}") from error


def _refuse_own(about: About) -> None:
    config = about.get(MODEL_CONFIG)
    if isinstance(config, dict) and config.get("registered_name") == "keras_retinanet>RetinaNet":
        raise WeightsError("it is a model of this package already: it needs no import")


def _source(arrays: Arrays, source: str) -> Source:
    if source != AUTO and source not in SOURCES:
        raise WeightsError(f"source must be {AUTO} or one of {', '.join(SOURCES)}, not {source!r}")
    found = [s for s in SOURCES.values() if s.is_own(arrays)]
    if source == AUTO and len(found) == 1:
        return found[0]
    if source != AUTO and SOURCES[source] in found:
        return SOURCES[source]
    expected = ", ".join(SOURCES) if source == AUTO else source
    raise WeightsError(f"no RetinaNet of {expected}: its arrays are {_listed(sorted(arrays))}")


def _imported(
    source: Source, arrays: Arrays, about: About, class_names: Sequence[str] | None
) -> ImportedModel:
    network = source.network(arrays, about)
    model = RetinaNet(
        class_names=_class_names(network, class_names),
        weights=None,
        **{"batchnorm": "frozen", **network.arguments},  # as of any pretrained backbone
    )
    taken: set[str] = set()
    faults: list[str] = []
    for layer in model.layers:
        if layer.weights:
            values = layer_values(layer, source, arrays, network, taken, faults)
            if values is not None:
                layer.set_weights(values)
    left_out = tuple(name for name in arrays if name.endswith(source.without))
    faults += [f"{name} is no part of it" for name in sorted({*arrays} - taken - {*left_out})]
    if faults:
        raise WeightsError(f"does not fit {network.description}: {_listed(faults)}")
    return ImportedModel(
        model=model,
        source=source.name,
        description=network.description,
        num_arrays=len(taken),
        num_values=sum(arrays[name].size for name in taken),
        left_out=left_out,
        remarks=network.remarks,
    )


def _class_names(network: Network, given: Sequence[str] | None) -> Sequence[str]:
    count = network.num_outputs if network.outputs is None else len(network.outputs)
    is_whole = network.outputs is None
    if network.num_outputs == _NUM_WITH_BACKGROUND and is_whole and given is None:
        raise WeightsError(
            f"its class head has {_NUM_WITH_BACKGROUND} outputs: with a background as one of the "
            "classes it is another model; if these are classes of your own, give their names"
        )
    if given is None:
        return network.class_names or [str(i) for i in range(count)]
    if len(given) != count:
        raise WeightsError(f"it has {count} classes, and {len(given)} names were given")
    return given


def layer_values(
    layer: keras.Layer,
    source: Source,
    arrays: Arrays,
    network: Network,
    taken: set[str],
    faults: list[str],
) -> list[np.ndarray] | None:
    """Return the values of a layer's weights; None, with the reason in `faults`, without them."""
    name = source.name_of(layer.name)
    values = []
    for weight in layer.weights:
        key = f"{name}.{source.parts[weight.name]}"
        if key not in arrays:
            kernel = f"{name}.{source.parts['kernel']}"
            if weight.name == "bias" and layer.name.endswith("_conv") and kernel in arrays:
                # A convolution has no bias there, since a norm follows it.
                values.append(np.zeros(weight.shape, np.float32))
                continue
            faults.append(f"{key} is missing")
            return None
        taken.add(key)
        value = np.asarray(arrays[key], np.float32)
        is_torch = source.parts is TORCH_PARTS
        if is_torch and weight.name == "kernel" and value.ndim == len(weight.shape) == 4:
            value = _kernel(value, depthwise="depthwise" in layer.name)
        if layer.name in (CLASS_HEAD, BOX_HEAD):
            value = _selected(value, layer.name, network)
        if value.shape != tuple(weight.shape):
            faults.append(f"{key} is {arrays[key].shape}, which does not fit {weight.shape}")
            return None
        values.append(value)
    return values


def _kernel(value: np.ndarray, *, depthwise: bool) -> np.ndarray:
    """Return a kernel [out, in, H, W] as Keras has it."""
    return np.transpose(value, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))


def _selected(value: np.ndarray, head: str, network: Network) -> np.ndarray:
    """Return the outputs of a head [..., anchors x outputs] that are ours, in our order."""
    count, outputs = network.num_outputs, network.outputs
    if head == BOX_HEAD:
        count, outputs = len(network.box_outputs), network.box_outputs
    if outputs is None or not count or value.shape[-1] % count:
        return value
    by_output = value.reshape(*value.shape[:-1], -1, count)
    return by_output[..., list(outputs)].reshape(*value.shape[:-1], -1)


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return "; ".join(texts[:_MAX_LISTED]) + more
