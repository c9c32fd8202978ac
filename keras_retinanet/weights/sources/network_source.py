"""What a project's weights are to the shared loop: a network, and a name for each layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_retinanet.errors import WeightsError

Arrays = Mapping[str, np.ndarray]
About = Mapping[str, Any]
# Names of Keras' weights, and torch's: whose kernels are [out, in, H, W].
TORCH_PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
KERAS_PARTS = {name: name for name in TORCH_PARTS}
# Layers of a ResNet of bottlenecks, by the blocks of its third stage.
_DEPTHS = {6: 50, 23: 101, 36: 152}


@dataclass(frozen=True)
class Network:
    """The RetinaNet that a file's weights belong to.

    Attributes:
        description: for people.
        arguments: of RetinaNet, without the classes.
        num_outputs: of the class head for an anchor.
        class_names: in the order of the labels, where the project's file tells which they are.
        outputs: which of the class head's outputs those are; None: all, in this order.
        box_outputs: which of an anchor's four box outputs are x, y, width and height.
        remarks: what the project does otherwise, of what the file asks for.
    """

    description: str
    arguments: dict[str, Any]
    num_outputs: int
    class_names: Sequence[str] | None = None
    outputs: Sequence[int] | None = None
    box_outputs: tuple[int, int, int, int] = (0, 1, 2, 3)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A project.

    Attributes:
        is_own: whether names of arrays are this project's.
        renamed: the arrays under today's names, where older files have others.
        network: of the arrays, and what else the file says.
        name_of: a layer's name there, by its name here.
        parts: TORCH_PARTS, or KERAS_PARTS: then kernels are as here.
        without: arrays that hold no weights, by the ends of their names.
        refuse: raises WeightsError for a file of the project that no network here fits, by what
            else the file says than arrays.
    """

    name: str
    is_own: Callable[[Arrays], bool]
    network: Callable[[Arrays, About], Network]
    name_of: Callable[[str], str]
    renamed: Callable[[Arrays], dict[str, np.ndarray]] = dict
    parts: Mapping[str, str] = field(default_factory=lambda: TORCH_PARTS)
    without: tuple[str, ...] = ("num_batches_tracked",)
    refuse: Callable[[About], None] = lambda about: None


def resnet_depth(arrays: Arrays, third_stage: str) -> int:
    """Return 50, 101 or 152 by the blocks of the stage of C4, whose names begin so.

    Args:
        third_stage: "backbone.body.layer3."

    Raises:
        WeightsError: it has another number of blocks.
    """
    blocks = {
        name[len(third_stage) :].split(".")[0] for name in arrays if name.startswith(third_stage)
    }
    if len(blocks) not in _DEPTHS:
        raise WeightsError("its backbone is no ResNet of 50, 101 or 152 layers")
    return _DEPTHS[len(blocks)]


def resnet_part(layer: str) -> tuple[int, int, str, str]:
    """Return stage (1 is the stem), block (from 0), convolution ("0" is the shortcut) and kind
    ("conv" or "bn") of a layer of a ResNet, such as conv2_block1_0_bn."""
    stage, *rest = layer.split("_")
    if len(rest) == 1:
        return 1, 0, "1", rest[0]
    block, number, kind = rest
    return int(stage[4:]), int(block[5:]) - 1, number, kind


def torch_resnet_name(layer: str) -> str:
    """Return the name that torchvision's ResNets, and those that follow it, have for a layer."""
    stage, block, number, part = resnet_part(layer)
    if stage == 1:
        return f"{part}1"
    place = f"layer{stage - 1}.{block}"
    if number == "0":
        return f"{place}.downsample.{0 if part == 'conv' else 1}"
    return f"{place}.{part}{number}"
