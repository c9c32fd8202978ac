"""mmdetection's RetinaNet R50 and R101: names, and how the networks are built."""

import re
from collections.abc import Mapping

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
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

_SCORE = "bbox_head.retina_cls.weight"
_NUM_ANCHORS = 9
# In a file's own copy of its config: the paper's ResNet, with pixels of another scale.
_CAFFE_STYLE = re.compile(r"""\bstyle\s*=\s*['"]caffe['"]""")


def _is_own(arrays: Arrays) -> bool:
    return _SCORE in arrays and "backbone.conv1.weight" in arrays


def _refuse(about: About) -> None:
    """Refuse what has the same names and shapes, and another network or other anchors."""
    meta = about.get("meta")
    if not isinstance(meta, Mapping):
        return
    version = str(meta.get("mmdet_version", ""))
    if version.startswith(("0.", "1.")):
        raise WeightsError(
            f"it was made by mmdetection {version}, whose anchors and boxes are one pixel off: "
            "bring a file of version 2.0 or later"
        )
    if _CAFFE_STYLE.search(str(meta.get("config", meta.get("cfg", "")))):
        raise WeightsError(
            "its backbone is of the style caffe: bring a file of the style pytorch, such as "
            "retinanet_r50_fpn_*.pth"
        )


def _network(arrays: Arrays, _: About) -> Network:
    depth = resnet_depth(arrays, "backbone.layer3.")
    num_outputs = len(arrays[_SCORE]) // _NUM_ANCHORS
    return Network(
        description=f"mmdetection's RetinaNet, ResNet-{depth}",
        arguments={
            "backbone": f"resnet{depth}_v1_5",
            "anchor_generator": AnchorGenerator(offset=0.0),
            "input_policy": InputPolicy(
                size=800,
                max_size=1333,
                # Pixels are less the mean before they are padded with 0; it is no whole number.
                pad_value=(123.675, 116.28, 103.53),
                pixels="float32",
            ),
            "variant": NetworkVariant(
                fpn_padding="symmetric", fpn_upsampling="nearest", p7_relu=False
            ),
        },
        num_outputs=num_outputs,
        class_names=list(COCO_CLASSES.values()) if num_outputs == len(COCO_CLASSES) else None,
    )


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        index = int(rest[-1][1]) - 3  # of c3 ... c5, p3 ... p7
        return f"neck.{'lateral' if rest[0] == 'lateral' else 'fpn'}_convs.{index}.conv"
    if kind in ("class", "box"):
        short = "cls" if kind == "class" else "reg"
        if rest[1] == "predictions":
            return f"bbox_head.retina_{short}"
        return f"bbox_head.{short}_convs.{rest[2]}.conv"
    return f"backbone.{torch_resnet_name(layer)}"


MMDETECTION = Source(
    name="mmdetection", is_own=_is_own, network=_network, name_of=_name_of, refuse=_refuse
)
