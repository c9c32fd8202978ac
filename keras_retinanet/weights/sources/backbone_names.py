"""Backbones trained on ImageNet: names of torch's ResNets, Detectron's and EfficientNet-Lite0."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.models.backbones.efficientnet_lite import STAGES
from keras_retinanet.models.variant import PixelScaling
from keras_retinanet.weights.sources.detectron2_names import DETECTRON2
from keras_retinanet.weights.sources.network_source import Arrays
from keras_retinanet.weights.sources.torchvision_names import TORCHVISION

# Blocks of the stages 2 to 5, in the order of the files' stages.
_BASIC = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
_BOTTLENECK = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}


@dataclass(frozen=True)
class BackboneSource:
    """Files of one layout.

    Attributes:
        is_own: whether names of arrays are of this layout.
        backbone_of: the backbone's name here, by the arrays.
        name_of: a layer's name there, by its name here.
        left_out: what is no part of the backbone, by the beginnings of its names.
        renamed: the arrays under the names that `name_of` gives.
        trained_with: settings of `NetworkVariant` that the values were trained with.
    """

    name: str
    is_own: Callable[[Arrays], bool]
    backbone_of: Callable[[Arrays], str]
    name_of: Callable[[str], str]
    left_out: tuple[str, ...]
    renamed: Callable[[Arrays], dict[str, np.ndarray]] = dict
    trained_with: Mapping[str, Any] = field(default_factory=dict)


def _resnet(arrays: Arrays, stages: tuple[str, ...], third: str, suffix: str) -> str:
    """Return a ResNet's name by the blocks of its stages, and whether these have a `third`."""
    blocks: list[set[str]] = [set() for _ in stages]
    for name in arrays:
        for stage, found in zip(stages, blocks, strict=True):
            if name.startswith(stage):
                found.add(name[len(stage) :].split(".")[0])
    counts = tuple(len(found) for found in blocks)
    is_bottleneck = f"{stages[0]}0.{third}" in arrays
    known = _BOTTLENECK if is_bottleneck else _BASIC
    if counts not in known:
        raise WeightsError(f"a ResNet of {', '.join(map(str, counts))} blocks is no backbone here")
    return known[counts] + (suffix if is_bottleneck else "")


TORCH_RESNET = BackboneSource(
    name="a ResNet of torchvision or timm",
    is_own=lambda arrays: {"conv1.weight", "layer1.0.conv1.weight"} <= arrays.keys(),
    backbone_of=lambda arrays: _resnet(
        arrays, ("layer1.", "layer2.", "layer3.", "layer4."), "conv3.weight", "_v1_5"
    ),
    name_of=lambda layer: TORCHVISION.name_of(layer).removeprefix("backbone.body."),
    left_out=("fc.",),
    trained_with={"padding": "symmetric"},
)

# In this order. The stem's bias (conv1_b) is one that Detectron does not use, either.
# Detectron2's copies keep the statistics (rm, riv); Detectron's are without.
_BLOBS = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^res_conv1_bn_", "conv1_bn_"),
        (r"^conv1_(?!b$)", "stem.conv1."),
        (r"^res(\d)_(\d+)_branch1_", r"res\1.\2.shortcut."),
        (r"^res(\d)_(\d+)_branch2a_", r"res\1.\2.conv1."),
        (r"^res(\d)_(\d+)_branch2b_", r"res\1.\2.conv2."),
        (r"^res(\d)_(\d+)_branch2c_", r"res\1.\2.conv3."),
        (r"\.w$", ".weight"),
        (r"\.b$", ".bias"),
        (r"\.bn_(s|gamma)$", ".norm.weight"),
        (r"\.bn_(b|beta)$", ".norm.bias"),
        (r"\.bn_(rm|running_mean)$", ".norm.running_mean"),
        (r"\.bn_(riv|running_var)$", ".norm.running_var"),
    )
)


def _from_blobs(arrays: Arrays) -> dict[str, np.ndarray]:
    result = {}
    for name, array in arrays.items():
        if name.endswith("_momentum"):
            continue
        for pattern, new in _BLOBS:
            name = pattern.sub(new, name)
        result[name] = array
    for name in [name for name in result if name.endswith(".norm.weight")]:
        # Without statistics the norm is x * s + b.
        place = name.removesuffix("weight")
        result.setdefault(f"{place}running_mean", np.zeros_like(result[name]))
        result.setdefault(f"{place}running_var", np.ones_like(result[name]))
    return result


DETECTRON = BackboneSource(
    name="a ResNet of Detectron (MSRA)",
    is_own=lambda arrays: {"conv1_w", "res2_0_branch2a_w"} <= arrays.keys(),
    backbone_of=lambda arrays: _resnet(
        _from_blobs(arrays), ("res2.", "res3.", "res4.", "res5."), "conv3.weight", ""
    ),
    name_of=lambda layer: DETECTRON2.name_of(layer).removeprefix("backbone.bottom_up."),
    left_out=("fc1000", "pred", "conv1_b"),
    renamed=_from_blobs,
    trained_with={"pixel_scaling": PixelScaling("bgr", (103.53, 116.28, 123.675))},
)

# Blocks before each of the stages.
_BEFORE = (0, *accumulate(sum(blocks.count for blocks in stage) for stage in STAGES))
_LITE_PARTS = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"),
               "project": ("_project_conv", "_bn2")}  # fmt: skip


def _lite_name(layer: str) -> str:
    stage, *rest = layer.split("_")
    is_norm = rest[-1] == "bn"
    if len(rest) == 1:
        return "_bn0" if is_norm else "_conv_stem"
    block, part, _ = rest
    number = _BEFORE[int(stage[4:]) - 1] + int(block[5:]) - 1
    return f"_blocks.{number}.{_LITE_PARTS[part][is_norm]}"


EFFICIENTNET_LITE = BackboneSource(
    name="EfficientNet-Lite0 of efficientnet-lite-pytorch",
    is_own=lambda arrays: {"_conv_stem.weight", "_blocks.0._bn1.weight"} <= arrays.keys(),
    backbone_of=lambda arrays: "efficientnet_lite0",
    name_of=_lite_name,
    left_out=("_conv_head.", "_bn1.", "_fc."),
)

BACKBONE_SOURCES = (TORCH_RESNET, DETECTRON, EFFICIENTNET_LITE)
