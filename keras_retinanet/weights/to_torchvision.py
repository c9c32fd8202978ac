"""The other way: a RetinaNet's weights as torchvision's retinanet_resnet50_fpn (_v2) names them."""

from dataclasses import dataclass, fields
from inspect import signature
from typing import Any

import keras
import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import PAPER, PIXEL_SCALINGS
from keras_retinanet.weights.import_weights import CLASS_HEAD
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.sources.network_source import TORCH_PARTS
from keras_retinanet.weights.sources.torchvision_names import TORCHVISION

# COCO's ids with a background in front.
_NUM_COCO_OUTPUTS = max(COCO_CLASSES) + 1
# The logit of outputs that are no class: their score is below every threshold.
_NEVER = -30.0
_ANCHORS = AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True, step="grid")
# Settings that any value is right for, or that are looked at by themselves; the others have to be
# the defaults.
_LOOKED_AT = {
    *("backbone", "class_names", "batchnorm", "frozen_stages", "prior", "name", "dtype"),
    *("anchor_generator", "box_coder", "input_policy", "inference", "variant", "tiling"),
}
# What torchvision's builders make, where it is not the default of `NetworkVariant`, or not alone.
_VARIANT = {
    "padding": (None, "symmetric"),
    "pool_padding": (None, "symmetric"),
    "batchnorm_epsilon": (None, 1e-5, 0.0),
    "fpn_padding": ("symmetric",),
    "fpn_upsampling": ("nearest",),
}
_V1 = {"head_norm": "none", "p6_from": "p5"}
_V2 = {"head_norm": "group", "p6_from": "c5"}
_IMAGE = {"resize": "shorter_side", "pixels": "float32", "rounding": "floor"}


@dataclass(frozen=True)
class TorchvisionWeights:
    """A state dict, and how the model is built that loads it.

    Attributes:
        builder: the function in torchvision.models.detection.
        arguments: of it.
        batchnorm_epsilon: to be set in the backbone's norms, whose default is 1e-5.
        labels: the classes' names by torchvision's labels.
    """

    arrays: dict[str, np.ndarray]
    builder: str
    arguments: dict[str, Any]
    batchnorm_epsilon: float
    labels: dict[int, str]


def torchvision_weights(model: RetinaNet) -> TorchvisionWeights:
    """Return a model's weights for torchvision.

    COCO's 80 classes become torchvision's 91 outputs, of which 11 are never found; other classes
    have the labels 0, 1, ...

    Raises:
        WeightsError: torchvision's builders make no such network, or see images otherwise.
    """
    reasons = _reasons_against(model)
    if reasons:
        raise WeightsError(
            f"torchvision's retinanet_resnet50_fpn and _v2 cannot do this: {'; '.join(reasons)}"
        )
    is_coco = model.class_names == tuple(COCO_CLASSES.values())
    labels = dict(COCO_CLASSES) if is_coco else dict(enumerate(model.class_names))
    num_outputs = _NUM_COCO_OUTPUTS if is_coco else model.num_classes
    epsilon = model.variant.batchnorm_epsilon
    arrays: dict[str, np.ndarray] = {}
    for layer in filter(lambda layer: layer.weights, model.layers):
        name = TORCHVISION.name_of(layer.name)
        for weight in layer.weights:
            value = weight.numpy().astype(np.float32)
            if layer.name == CLASS_HEAD and is_coco:
                value = _spread(value, list(COCO_CLASSES), num_outputs)
            if value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            arrays[f"{name}.{TORCH_PARTS[weight.name]}"] = value
        # Norms without an epsilon are torchvision's frozen ones, which count no batches.
        if isinstance(layer, keras.layers.BatchNormalization) and epsilon != 0.0:
            arrays[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)
    scaling, policy = _scaling(model), model.input_policy
    return TorchvisionWeights(
        arrays=arrays,
        builder="retinanet_resnet50_fpn" + ("_v2" if _has(model, _V2) else ""),
        arguments={
            "weights": None,
            "weights_backbone": None,
            "num_classes": num_outputs,
            "min_size": policy.size,
            "max_size": policy.max_size,
            "image_mean": [value / 255 for value in scaling.mean],
            "image_std": [value / 255 for value in scaling.std],
            "score_thresh": model.inference.score_threshold,
            "nms_thresh": model.inference.nms_iou_threshold,
            "detections_per_img": model.inference.max_detections,
            "topk_candidates": model.inference.pre_nms_top_k,
        },
        batchnorm_epsilon=1e-5 if epsilon is None else epsilon,
        labels=labels,
    )


def _spread(value: np.ndarray, places: list[int], num_outputs: int) -> np.ndarray:
    """Return the class head's values [..., anchors x classes] among so many outputs."""
    by_class = value.reshape(*value.shape[:-1], -1, len(places))
    fill = _NEVER if value.ndim == 1 else 0.0  # a bias, or a kernel
    result = np.full((*by_class.shape[:-1], num_outputs), fill, np.float32)
    result[..., places] = by_class
    return result.reshape(*value.shape[:-1], -1)


def _scaling(model: RetinaNet) -> Any:
    return model.variant.pixel_scaling or PIXEL_SCALINGS["torch"]


def _has(model: RetinaNet, settings: dict[str, Any]) -> bool:
    return all(getattr(model.variant, name) == value for name, value in settings.items())


def _reasons_against(model: RetinaNet) -> list[str]:
    config, variant, policy = model.get_config(), model.variant, model.input_policy
    found: list[tuple[str, Any, tuple]]
    found = [("model.backbone", model.backbone_name, ("resnet50_v1_5",))]
    defaults = signature(RetinaNet).parameters
    found += [
        (f"model.{name}", value, (defaults[name].default,))
        for name, value in config.items()
        if name not in _LOOKED_AT
    ]
    found += [
        (f"model.{name}", getattr(variant, name), _VARIANT.get(name, (getattr(PAPER, name),)))
        for name in (field.name for field in fields(variant))
        if name not in ("pixel_scaling", *_V1)
    ]
    if not _has(model, _V1) and not _has(model, _V2):
        both = tuple((v["head_norm"], v["p6_from"]) for v in (_V1, _V2))
        found.append(("model.head_norm, p6_from", (variant.head_norm, variant.p6_from), both))
    found.append(("model.pixel_scaling.order", _scaling(model).order, ("rgb",)))
    found += [(f"image.{name}", getattr(policy, name), (v,)) for name, v in _IMAGE.items()]
    mean = _scaling(model).mean
    if policy.pad_value is None or not np.allclose(policy.pad_value, mean, atol=0.01):
        found.append(("image.pad_value", policy.pad_value, (mean,)))
    found += [("inference.clip", model.inference.clip, ("before_nms",))]
    found += [("inference.drop_empty", model.inference.drop_empty, (False,))]
    found += [("inference.nms_across_classes", model.inference.nms_across_classes, (False,))]
    found += [("image.tile", model.tiling.size, (None,))]
    found += [("the box coding", model.box_coder, (BoxCoder(),))]
    found += [("anchors", model.anchor_generator, (_ANCHORS,))]
    return [
        f"{name} is {value}, not {' or '.join(map(str, allowed))}"
        for name, value, allowed in found
        if value not in allowed
    ]
