"""Model Garden's RetinaNet with a ResNet and FPN: names, and how the networks are built.

Facts are those of tf-models-official 2.20 (official/vision): its settings for R50 on COCO.
"""

import re

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import PIXEL_SCALINGS, NetworkVariant
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.network_source import (
    KERAS_PARTS,
    About,
    Arrays,
    Network,
    Source,
    resnet_part,
)

_CLASSIFIER = "head/_classifier/kernel"
_NUM_ANCHORS = 9
# COCO's ids, with a background in front.
_NUM_COCO_OUTPUTS = 91
_EPSILON = 1e-3
_LAYER = re.compile(r"(backbone|decoder)/layer_with_weights-(\d+)/(.+)")
# The decoder's layers in the order in which Keras numbers them.
_DECODER = (
    "lateral_5", "lateral_4", "post_hoc_5", "lateral_3", "coarser_6", "post_hoc_3", "post_hoc_4",
    "coarser_7", "norm_3", "norm_4", "norm_5", "norm_6", "norm_7",
)  # fmt: skip
_STEM = ("stem_conv", "stem_norm")
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def _is_own(arrays: Arrays) -> bool:
    return any(name.removeprefix("model/") == _CLASSIFIER for name in arrays)


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays by layer and weight: "block3_0/_conv2.kernel", "norm_7.gamma"."""
    # A training keeps its model under this name, beside its step.
    short = {name.removeprefix("model/"): array for name, array in arrays.items()}
    blocks = _blocks(short)
    result = {}
    for name, array in short.items():
        layer, _, weight = _named(name, blocks).rpartition("/")
        result[f"{layer}.{weight}" if layer else weight] = array
    return result


def _named(name: str, blocks: dict[int, str]) -> str:
    """Return the name of an array with its layer's own in place of its number."""
    match = _LAYER.fullmatch(name)
    if not match:
        return name
    part, number, rest = match[1], int(match[2]), match[3]
    if part == "decoder":
        return f"{_DECODER[number]}/{rest}" if number < len(_DECODER) else name
    layer = _STEM[number] if number < len(_STEM) else blocks.get(number)
    return f"{layer}/{rest}" if layer else name


def _blocks(arrays: Arrays) -> dict[int, str]:
    """Return the names of a ResNet's blocks by their numbers; a stage begins with a shortcut."""
    numbers: dict[int, bool] = {}
    for name in arrays:
        match = _LAYER.fullmatch(name)
        if match and match[1] == "backbone" and int(match[2]) >= len(_STEM):
            number = int(match[2])
            numbers[number] = numbers.get(number, False) or match[3] == "_shortcut/kernel"
    result, stage, block = {}, 1, 0
    for number in sorted(numbers):
        stage, block = (stage + 1, 0) if numbers[number] else (stage, block + 1)
        result[number] = f"block{stage}_{block}"
    return result


def _network(arrays: Arrays, _: About) -> Network:
    depth = _depth(arrays)
    num_outputs = arrays["head/_classifier.kernel"].shape[-1] // _NUM_ANCHORS
    is_coco = num_outputs == _NUM_COCO_OUTPUTS
    return Network(
        description=f"Model Garden's RetinaNet, ResNet-{depth}",
        arguments={
            "backbone": f"resnet{depth}_v1_5",
            # Ratios are width / height there.
            "anchor_generator": AnchorGenerator(ratios=(2.0, 1.0, 0.5), order="scale"),
            # A file does not tell its size: the published ones have 640.
            "input_policy": InputPolicy(
                "square",
                size=640,
                pad_value=PIXEL_SCALINGS["torch"].mean,
                pixels="float32",
            ),
            "inference": InferenceSettings(pre_nms_top_k=5000, drop_empty=False),
            "variant": NetworkVariant(
                batchnorm_epsilon=_EPSILON,
                padding="same",
                fpn_norm="batch",
                head_norm="batch",
                head_norm_epsilon=_EPSILON,
                p6_from="p5",
            ),
        },
        num_outputs=num_outputs,
        class_names=list(COCO_CLASSES.values()) if is_coco else None,
        # The first is the background, which no detection has.
        outputs=list(COCO_CLASSES) if is_coco else list(range(1, num_outputs)),
        box_outputs=(1, 0, 3, 2),  # y before x there
    )


def _depth(arrays: Arrays) -> int:
    blocks = {name.split("/")[0] for name in arrays if name.startswith("block")}
    counts = tuple(
        sum(name.startswith(f"block{stage}_") for name in blocks) for stage in range(2, 6)
    )
    if counts not in _DEPTHS or len(blocks) != sum(counts):
        raise WeightsError("its backbone is no ResNet of 50, 101 or 152 layers")
    return _DEPTHS[counts]


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        if rest[0] in ("p6", "p7"):
            return f"coarser_{rest[0][1]}"
        return f"{'post_hoc' if rest[0] == 'output' else rest[0]}_{rest[1][1]}"
    if kind in ("class", "box"):
        if rest[1] == "predictions":
            return "head/_classifier" if kind == "class" else "head/_box_regressor"
        head = f"head/_{'cls' if kind == 'class' else 'box'}"
        if rest[1] == "conv":
            return f"{head}_convs/{rest[2]}"
        return f"{head}_norms/{int(rest[3][1]) - 3}/{rest[2]}"
    stage, block, number, part = resnet_part(layer)
    if stage == 1:
        return f"stem_{'conv' if part == 'conv' else 'norm'}"
    if part == "conv":
        part = "_shortcut" if number == "0" else f"_conv{number}"
    else:
        part = f"_norm{number}"
    return f"block{stage}_{block}/{part}"


MODEL_GARDEN = Source(
    name="model-garden",
    is_own=_is_own,
    renamed=_renamed,
    network=_network,
    name_of=_name_of,
    parts=KERAS_PARTS,
    without=("save_counter", "global_step"),
)
