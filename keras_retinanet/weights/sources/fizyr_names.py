"""fizyr's keras-retinanet with ResNets, weights of version 2.1.0: names, and how they are built."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_retinanet.conventions import ANCHOR_RATIOS, ANCHOR_SCALES, ANCHOR_SIZES, LEVELS
from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.network_source import (
    KERAS_PARTS,
    About,
    Arrays,
    Network,
    Source,
    resnet_depth,
    resnet_part,
)

_VARIANCE = 0.2
_NUM_ANCHORS = 9
# All boxes above the threshold go to NMS there; a level with more of them has not been seen.
_TOP_K = 5000
_MEAN = (123.68, 116.779, 103.939)
# res4b22_branch2a: in deep networks blocks are numbered, elsewhere they are letters.
_BLOCK = re.compile(r"(res|bn)([2-5])([a-z])(\d*)_branch(1|2[abc])")
_BRANCHES = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}


def _is_own(arrays: Arrays) -> bool:
    return any("pyramid_classification/kernel" in name for name in arrays)


def _refuse(about: About) -> None:
    """Refuse other box coding and other anchors, where the name or the config in the file tells."""
    if "v2.0" in str(about.get("file_name")):
        raise WeightsError(
            "weights of version 2.0 code boxes in another way: take those of version 2.1.0, such "
            "as resnet50_coco_best_v2.1.0.h5"
        )
    strides = iter(2**level for level in LEVELS)
    sizes = iter(ANCHOR_SIZES)
    for kind, config in _layers(about.get("model_config", "{}")):
        if kind == "RegressBoxes" and not (
            _is_all(config.get("std"), _VARIANCE) and _is_all(config.get("mean"), 0.0)
        ):
            raise WeightsError(
                f"it codes boxes with std {config.get('std')} and mean {config.get('mean')}, and "
                f"those of version 2.1.0 have {_VARIANCE} and 0: it is of an older version"
            )
        if kind == "Anchors" and not (
            _is_all(config.get("size"), next(sizes, None))
            and _is_all(config.get("stride"), next(strides, None))
            and _is_all(config.get("ratios"), ANCHOR_RATIOS)
            and _is_all(config.get("scales"), ANCHOR_SCALES)
        ):
            raise WeightsError(f"it has anchors of its own, which are not read: {config}"[:300])


def _layers(model_config: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield class and config of each layer of a model's config."""
    try:
        layers = json.loads(model_config).get("config", {}).get("layers", [])
        for layer in layers:
            yield str(layer["class_name"]), layer["config"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"its config is damaged: {str(error)[:200]}") from error


def _is_all(value: Any, expected: Any) -> bool:
    try:
        found = np.asarray(value, np.float64)
        return expected is not None and bool(np.allclose(found, expected, rtol=1e-5, atol=0))
    except (TypeError, ValueError):
        return False


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays by layer and weight: "conv1.kernel", "res4.22_branch2a.kernel"."""
    result: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        layer, weight = path.split("/")[-2:] if "/" in path else ("", path)
        name = f"{_numbered(layer)}.{weight.removesuffix(':0')}"
        if name in result:
            raise WeightsError(f"{path} is there twice")
        result[name] = array
    return result


def _numbered(layer: str) -> str:
    match = _BLOCK.fullmatch(layer)
    if not match:
        return layer
    kind, stage, letter, number, branch = match.groups()
    return f"{kind}{stage}.{int(number) if number else ord(letter) - ord('a')}_branch{branch}"


def _network(arrays: Arrays, _: About) -> Network:
    if "C5_reduced.kernel" not in arrays:
        raise WeightsError("it has no layer C5_reduced, and is of a version before 2.1.0")
    depth = resnet_depth({name.replace("_", "."): _ for name, _ in arrays.items()}, "res4.")
    scores = arrays.get("pyramid_classification.kernel", np.zeros(0))
    num_outputs = scores.shape[-1] // _NUM_ANCHORS
    return Network(
        description=f"fizyr's RetinaNet, ResNet-{depth}",
        arguments={
            "backbone": f"resnet{depth}",
            "anchor_generator": AnchorGenerator(),
            "box_coder": BoxCoder("corner", variances=(_VARIANCE,) * 4),
            # There images are scaled as floats, and one by itself is not padded.
            "input_policy": InputPolicy(
                size=800, max_size=1333, pad_multiple=1, pad_value=_MEAN, pixels="float32"
            ),
            "inference": InferenceSettings(
                pre_nms_top_k=_TOP_K, max_detections=300, drop_empty=False
            ),
            "variant": NetworkVariant(
                batchnorm_epsilon=1e-5, pool_padding="same", fpn_upsampling="nearest"
            ),
        },
        num_outputs=num_outputs,
        class_names=list(COCO_CLASSES.values()) if num_outputs == len(COCO_CLASSES) else None,
    )


def _name_of(layer: str) -> str:
    kind, *rest = layer.split("_")
    if kind == "fpn":
        return f"{rest[1].upper()}_reduced" if rest[0] == "lateral" else rest[-1].upper()
    if kind in ("class", "box"):
        head = f"pyramid_{'classification' if kind == 'class' else 'regression'}"
        return head if rest[1] == "predictions" else f"{head}_{rest[2]}"
    stage, block, number, part = resnet_part(layer)
    if stage == 1:
        return "conv1" if part == "conv" else "bn_conv1"
    return f"{'res' if part == 'conv' else 'bn'}{stage}.{block}_branch{_BRANCHES[number]}"


FIZYR = Source(
    name="fizyr",
    is_own=_is_own,
    renamed=_renamed,
    network=_network,
    name_of=_name_of,
    parts=KERAS_PARTS,
    without=(),
    refuse=_refuse,
)
