"""KerasHub's RetinaNetObjectDetector with a ResNet: names, and how the networks are built."""

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.keras_hub_settings import detector_config, network_arguments
from keras_retinanet.weights.sources.network_source import (
    KERAS_PARTS,
    About,
    Arrays,
    Network,
    Source,
    resnet_part,
)

_LATERALS = "lateral_conv_layers"
# The published presets are torchvision's weights: COCO's ids with a background in front.
_NUM_COCO_OUTPUTS = 91
_NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")
_CONV_WEIGHTS = ("kernel", "bias")
# Where a head keeps its layers, which both heads call alike.
_HEADS = ("box_head", "classification_head")


def _is_own(arrays: Arrays) -> bool:
    return any(f"/{_LATERALS}/" in name for name in arrays)


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays by layer and weight: "coarser_P6.kernel", "box_head.conv2d_0.bias"."""
    result: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        name = _short(path)
        if name in result:
            raise WeightsError(f"{name} is there twice")
        result[name] = array
    return result


def _short(path: str) -> str:
    *parents, layer, index = path.split("/") if "/" in path else ("", path, "")
    is_norm = layer.endswith("_bn") or "norm" in layer
    weights = _NORM_WEIGHTS if is_norm else _CONV_WEIGHTS
    if not index.isdecimal() or int(index) >= len(weights):
        return path
    head = [parent for parent in parents if parent in _HEADS]
    return ".".join([*head, layer, weights[int(index)]])


def _network(arrays: Arrays, about: About) -> Network:
    config = detector_config(about)
    arguments, remarks = network_arguments(config)
    count = config.integer("num_classes")
    is_coco = count in (len(COCO_CLASSES), _NUM_COCO_OUTPUTS)
    depth = arguments["backbone"].removeprefix("resnet").removesuffix("_v1_5")
    return Network(
        description=f"KerasHub's RetinaNet, ResNet-{depth}",
        arguments=arguments,
        num_outputs=count,
        class_names=list(COCO_CLASSES.values()) if is_coco else None,
        outputs=list(COCO_CLASSES) if count == _NUM_COCO_OUTPUTS else None,
        remarks=remarks,
    )


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        if rest[0] in ("p6", "p7"):
            return f"coarser_{rest[0].upper()}"
        return f"{rest[0]}_conv_P{rest[1][1]}"
    if kind in ("class", "box"):
        head = "classification_head" if kind == "class" else "box_head"
        if rest[1] == "predictions":
            return f"{head}.logits_layer"
        return f"{head}.{'conv2d' if rest[1] == 'conv' else 'group_norm'}_{rest[2]}"
    stage, block, number, part = resnet_part(layer)
    if stage == 1:
        return f"conv1_{part}"
    return f"stack{stage - 2}_block{block}_{number}_{part}"


KERAS_HUB = Source(
    name="keras-hub",
    is_own=_is_own,
    renamed=_renamed,
    network=_network,
    name_of=_name_of,
    parts=KERAS_PARTS,
    without=(),
)
