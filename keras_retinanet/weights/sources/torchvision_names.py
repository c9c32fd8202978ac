"""torchvision's retinanet_resnet50_fpn (v1) and _v2: names, and how the networks are built.

Names of files before torchvision 0.13 are read, too (`inner_blocks.0.weight`, `conv.2.weight`).
"""

import re
from typing import Any

import numpy as np

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.network_source import (
    About,
    Arrays,
    Network,
    Source,
    resnet_depth,
    torch_resnet_name,
)

_LOGITS = "head.classification_head.cls_logits.weight"
_GROUP_NORM = "head.classification_head.conv.0.1.weight"
_NUM_ANCHORS = 9
# Of COCO's ids with a background in front: 0 to 90.
_NUM_COCO_OUTPUTS = 91
_OLD_NAMES = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (
        re.compile(r"(head\.\w+\.conv)\.([0246])\.(weight|bias)"),
        lambda match: f"{match[1]}.{int(match[2]) // 2}.0.{match[3]}",
    ),
)


def _is_own(arrays: Arrays) -> bool:
    return _LOGITS in arrays and "backbone.body.conv1.weight" in arrays


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    is_old = "head.classification_head.conv.0.weight" in arrays
    result = {}
    for name, array in arrays.items():
        for pattern, new in _OLD_NAMES if is_old else ():
            name = re.sub(rf"^(?:{pattern.pattern})$", new, name)
        result[name] = array
    return result


def _network(arrays: Arrays, _: About) -> Network:
    depth = resnet_depth(arrays, "backbone.body.layer3.")
    is_v2 = _GROUP_NORM in arrays
    # The published weights of v1 were trained with frozen norms without an epsilon, and a frozen
    # norm counts no batches.
    is_frozen = not any(name.endswith("num_batches_tracked") for name in arrays)
    variant = NetworkVariant(
        batchnorm_epsilon=0.0 if is_frozen else None,
        fpn_padding="symmetric",
        fpn_upsampling="nearest",
        head_norm="group" if is_v2 else "none",
        p6_from=_p6_from(arrays),
    )
    num_outputs = len(arrays[_LOGITS]) // _NUM_ANCHORS
    is_coco = num_outputs == _NUM_COCO_OUTPUTS
    arguments: dict[str, Any] = {
        "backbone": f"resnet{depth}_v1_5",
        "anchor_generator": AnchorGenerator(
            offset=0.0, rounded=True, integer_sizes=True, step="grid"
        ),
        "input_policy": InputPolicy(
            size=800,
            max_size=1333,
            pad_value=(123.675, 116.28, 103.53),
            pixels="float32",
            rounding="floor",
        ),
        "inference": InferenceSettings(max_detections=300, drop_empty=False),
        "variant": variant,
    }
    return Network(
        description=f"torchvision's RetinaNet {'v2' if is_v2 else 'v1'}, ResNet-{depth}",
        arguments=arguments,
        num_outputs=num_outputs,
        class_names=list(COCO_CLASSES.values()) if is_coco else None,
        outputs=list(COCO_CLASSES) if is_coco else None,
    )


def _p6_from(arrays: Arrays) -> str:
    """Return what P6 is made of, by the channels that its convolution takes."""
    channels = arrays["backbone.fpn.extra_blocks.p6.weight"].shape[1]
    return "p5" if channels == arrays["backbone.fpn.extra_blocks.p7.weight"].shape[1] else "c5"


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        if rest[0] in ("p6", "p7"):
            return f"backbone.fpn.extra_blocks.{rest[0]}"
        blocks = {"lateral": "inner_blocks", "output": "layer_blocks"}[rest[0]]
        return f"backbone.fpn.{blocks}.{int(rest[1][1]) - 3}.0"
    if kind in ("class", "box"):
        head = {"class": "classification_head", "box": "regression_head"}[kind]
        if rest[1] == "predictions":
            return f"head.{head}.{'cls_logits' if kind == 'class' else 'bbox_reg'}"
        return f"head.{head}.conv.{rest[2]}.{0 if rest[1] == 'conv' else 1}"
    return f"backbone.body.{torch_resnet_name(layer)}"


TORCHVISION = Source(
    name="torchvision",
    is_own=_is_own,
    renamed=_renamed,
    network=_network,
    name_of=_name_of,
)
