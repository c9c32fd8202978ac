"""Detectron2's RetinaNet R50 and R101 (COCO-Detection): names, and how the networks are built."""

import numpy as np

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import NetworkVariant, PixelScaling
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.network_source import (
    About,
    Arrays,
    Network,
    Source,
    resnet_depth,
    resnet_part,
)

_SCORE = "head.cls_score.weight"
_NUM_ANCHORS = 9
_BGR_MEAN = (103.53, 116.28, 123.675)


def _is_own(arrays: Arrays) -> bool:
    return _SCORE in arrays and "backbone.bottom_up.stem.conv1.weight" in arrays


def _network(arrays: Arrays, _: About) -> Network:
    depth = resnet_depth(arrays, "backbone.bottom_up.res4.")
    num_outputs = len(arrays[_SCORE]) // _NUM_ANCHORS
    return Network(
        description=f"Detectron2's RetinaNet, ResNet-{depth}",
        arguments={
            "backbone": f"resnet{depth}",
            "anchor_generator": AnchorGenerator(offset=0.0, order="scale"),
            # The padding is no whole number.
            "input_policy": InputPolicy(
                size=800, max_size=1333, pad_value=_BGR_MEAN[::-1], pixels="float32"
            ),
            "inference": InferenceSettings(clip="after_nms"),
            "variant": NetworkVariant(
                pixel_scaling=PixelScaling("bgr", _BGR_MEAN),
                batchnorm_epsilon=1e-5,
                fpn_padding="symmetric",
                fpn_upsampling="nearest",
            ),
        },
        num_outputs=num_outputs,
        class_names=list(COCO_CLASSES.values()) if num_outputs == len(COCO_CLASSES) else None,
    )


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        if rest[0] in ("p6", "p7"):
            return f"backbone.top_block.{rest[0]}"
        return f"backbone.fpn_{rest[0]}{rest[1][1]}"
    if kind in ("class", "box"):
        if rest[1] == "predictions":
            return "head.cls_score" if kind == "class" else "head.bbox_pred"
        return f"head.{'cls' if kind == 'class' else 'bbox'}_subnet.{2 * int(rest[2])}"
    stage, block, number, part = resnet_part(layer)
    place = "stem.conv1" if stage == 1 else f"res{stage}.{block}."
    if stage > 1:
        place += "shortcut" if number == "0" else f"conv{number}"
    return f"backbone.bottom_up.{place}{'' if part == 'conv' else '.norm'}"


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    # Buffers of the anchors and the pixels' mean, which some versions save.
    return {
        name: array
        for name, array in arrays.items()
        if not name.startswith(("anchor_generator.", "pixel_"))
    }


DETECTRON2 = Source(
    name="detectron2",
    is_own=_is_own,
    renamed=_renamed,
    network=_network,
    name_of=_name_of,
)
