"""What a project's weights are to the shared loop: a network, and a name for each layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """The RetinaNet that a file's weights belong to.

    Attributes:
        description: for people.
        arguments: of RetinaNet, without the classes.
        num_outputs: of the class head for an anchor.
        class_names: in the order of the labels, where the project's file tells which they are.
        outputs: which of the class head's outputs those are; None: all, in this order.
    """

    description: str
    arguments: dict[str, Any]
    num_outputs: int
    class_names: Sequence[str] | None = None
    outputs: Sequence[int] | None = None


@dataclass(frozen=True)
class Source:
    """A project.

    Attributes:
        is_own: whether names of arrays are this project's.
        renamed: the arrays under today's names, where older files have others.
        network: of the arrays.
        name_of: a layer's name there, by its name here.
        without: arrays that hold no weights, by the ends of their names.
    """

    name: str
    is_own: Callable[[Arrays], bool]
    network: Callable[[Arrays], Network]
    name_of: Callable[[str], str]
    renamed: Callable[[Arrays], dict[str, np.ndarray]] = dict
    without: tuple[str, ...] = field(default=())


def resnet_depth(arrays: Arrays, third_stage: str) -> int:
    """Return 50, 101 or 152 by the blocks of the stage of C4, whose names begin so, or 0.

    Args:
        third_stage: "backbone.body.layer3."
    """
    blocks = {
        name[len(third_stage) :].split(".")[0] for name in arrays if name.startswith(third_stage)
    }
    return {6: 50, 23: 101, 36: 152}.get(len(blocks), 0)


def resnet_part(layer: str) -> tuple[int, int, str, str]:
    """Return stage (1 is the stem), block (from 0), convolution ("0" is the shortcut) and kind
    ("conv" or "bn") of a layer of a ResNet, such as conv2_block1_0_bn."""
    stage, *rest = layer.split("_")
    if len(rest) == 1:
        return 1, 0, "1", rest[0]
    block, number, kind = rest
    return int(stage[4:]), int(block[5:]) - 1, number, kind
