"""What the config of a KerasHub RetinaNet says, as arguments of ours; values are read, one by one.

Facts are those of KerasHub 0.32: `RetinaNetObjectDetector`, `AnchorGenerator`, `NonMaxSuppression`
and `ImageConverter`.
"""

from typing import Any

import numpy as np

from keras_retinanet.conventions import IMAGE_PAD_MULTIPLE, LEVELS
from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import NetworkVariant, PixelScaling
from keras_retinanet.weights.files.config_values import LARGEST, ConfigValues
from keras_retinanet.weights.files.keras_archive import MODEL_CONFIG
from keras_retinanet.weights.sources.network_source import About

_DETECTOR = "RetinaNetObjectDetector"
# Names here of its ResNets, by their blocks' kind and number.
_BACKBONES: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic_block", (2, 2, 2, 2)): "resnet18",
    ("basic_block", (3, 4, 6, 3)): "resnet34",
    ("bottleneck_block", (3, 4, 6, 3)): "resnet50_v1_5",
    ("bottleneck_block", (3, 4, 23, 3)): "resnet101_v1_5",
    ("bottleneck_block", (3, 8, 36, 3)): "resnet152_v1_5",
}
# Of Keras' GroupNormalization, and of KerasHub's ResNets.
_GROUP_NORM_EPSILON = 1e-3
_BATCH_NORM_EPSILON = 1e-5
_DIGITS = 6
# All boxes above the threshold go to NMS there; a level with more of them has not been seen.
_TOP_K = 5000


def detector_config(about: About) -> ConfigValues:
    """Return the config of the object detector in a file.

    Raises:
        WeightsError: it is of another model.
    """
    return ConfigValues({"model": about.get(MODEL_CONFIG)}, "model").object("model", kind=_DETECTOR)


def network_arguments(config: ConfigValues) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return arguments of RetinaNet, and remarks on what is not imitated.

    Raises:
        WeightsError: no network here is built so.
    """
    backbone = config.object("backbone", kind="RetinaNetBackbone")
    backbone.expect("min_level", LEVELS[0])
    backbone.expect("max_level", LEVELS[-1])
    backbone.expect("use_fpn_batch_norm", False, default=False)
    scaling, policy, remarks = _images(config)
    has_norm = config.flag("use_prediction_head_norm")
    arguments = {
        "backbone": _resnet(backbone.object("image_encoder", kind="ResNetBackbone")),
        "head_depth": config.integer("pre_logits_num_conv_layers", 4),
        "anchor_generator": _anchors(config.object("anchor_generator", kind="AnchorGenerator")),
        "box_coder": BoxCoder(max_size_ratio=None),
        "input_policy": policy,
        "inference": _inference(config),
        "variant": NetworkVariant(
            pixel_scaling=scaling,
            batchnorm_epsilon=_BATCH_NORM_EPSILON,
            padding="symmetric",
            head_norm="group" if has_norm else "none",
            head_norm_epsilon=_GROUP_NORM_EPSILON if has_norm else None,
            # "use_p5" is of C5, which is called P5 there.
            p6_from="c5" if backbone.flag("use_p5") else "p5",
        ),
    }
    return arguments, remarks


def _resnet(encoder: ConfigValues) -> str:
    encoder.expect("input_conv_filters", [64])
    encoder.expect("input_conv_kernel_sizes", [7])
    encoder.expect("stackwise_num_filters", [64, 128, 256, 512])
    encoder.expect("stackwise_num_strides", [1, 2, 2, 2])
    encoder.expect("use_pre_activation", False, default=False)
    kind, blocks = encoder.text("block_type"), encoder.numbers("stackwise_num_blocks")
    name = _BACKBONES.get((kind, tuple(int(count) for count in blocks)))
    if name is None:
        counts = ", ".join(f"{count:g}" for count in blocks)
        raise WeightsError(f"its backbone of {counts} blocks of the kind {kind} is none here")
    return name


def _anchors(config: ConfigValues) -> AnchorGenerator:
    config.expect("min_level", LEVELS[0])
    config.expect("max_level", LEVELS[-1])
    count, size = config.integer("num_scales"), config.number("anchor_size")
    ratios = config.numbers("aspect_ratios")  # height / width, whatever its documentation says
    if not 1 <= count <= 64 or not 0 < size <= LARGEST or min(ratios) <= 0:
        raise WeightsError(f"its anchors have {count} scales of the size {size:g}: expected some")
    return AnchorGenerator(
        sizes=[size * 2**level for level in LEVELS],
        ratios=ratios,
        scales=[2 ** (i / count) for i in range(count)],
        offset=0.0,
        rounded=True,
        integer_sizes=True,
        step="grid",
    )


def _inference(config: ConfigValues) -> InferenceSettings:
    decoder = ConfigValues({}, "prediction_decoder")
    if config.has("prediction_decoder"):
        decoder = config.object("prediction_decoder", kind="NonMaxSuppression")
    decoder.expect("from_logits", True, default=True)
    try:
        return InferenceSettings(
            score_threshold=decoder.number("confidence_threshold", 0.5),
            pre_nms_top_k=_TOP_K,
            nms_iou_threshold=decoder.number("iou_threshold", 0.5),
            max_detections=decoder.integer("max_detections", 100),
            clip="none",
            drop_empty=False,
            nms_across_classes=True,
        )
    except ValueError as error:
        raise WeightsError(f"its prediction_decoder: {error}") from error


def _images(config: ConfigValues) -> tuple[PixelScaling, InputPolicy, tuple[str, ...]]:
    """Return pixel scaling, resizing, and remarks, by the preprocessor's image converter."""
    converter = None
    if config.has("preprocessor"):
        preprocessor = config.object("preprocessor", kind="RetinaNetObjectDetectorPreprocessor")
        if preprocessor.has("image_converter"):
            converter = preprocessor.object("image_converter", kind="RetinaNetImageConverter")
    if converter is None:
        remark = "it has no preprocessor: the network is given pixels of 0 to 255 as they are"
        policy, more = _resizing(ConfigValues({}, "image_converter"))
        return PixelScaling(), policy, (remark, *more)
    policy, remarks = _resizing(converter)
    return _scaling(converter), policy, remarks


def _scaling(converter: ConfigValues) -> PixelScaling:
    """Return what makes x * scale + offset of pixels."""
    scale, offset = _channels(converter, "scale", 1.0), _channels(converter, "offset", 0.0)
    if converter.has("variance") and converter.has("mean"):  # as presets of before 0.19 have it
        std = np.sqrt(_channels(converter, "variance", 1.0))
        scale, offset = scale / std, -_channels(converter, "mean", 0.0) / std
    if min(scale) <= 0:
        raise WeightsError(f"its image_converter has the scale {tuple(scale)}: expected above 0")
    # Rounded to the numbers that were meant: a scale is one divided by a deviation.
    mean, std = (tuple(np.round(v, _DIGITS) + 0.0) for v in (-offset / scale, 1.0 / scale))
    return PixelScaling("rgb", mean, std)


def _channels(converter: ConfigValues, name: str, default: float) -> np.ndarray:
    if not converter.has(name):
        return np.full(3, default)
    try:
        values = converter.numbers(name)
    except WeightsError:
        values = (converter.number(name),) * 3
    if len(values) != 3:
        raise WeightsError(f"its image_converter has {len(values)} numbers of {name}, and not 3")
    return np.array(values)


def _resizing(converter: ConfigValues) -> tuple[InputPolicy, tuple[str, ...]]:
    details: dict[str, Any] = {"pad_value": (0.0, 0.0, 0.0), "pixels": "float32"}
    size: tuple[float, ...] = ()
    if converter.has("image_size"):
        size = converter.numbers("image_size")
    elif converter.has("height") and converter.has("width"):
        size = (converter.number("height"), converter.number("width"))
    if not size:
        remark = "it does not resize images: here they are scaled to 800 px, 1333 at most"
        return InputPolicy(size=800, max_size=1333, **details), (remark,)
    if len(size) != 2 or not all(1 <= side <= LARGEST and side == int(side) for side in size):
        raise WeightsError(f"its image_converter has the image_size {size}: expected two sides")
    remarks = []
    side, is_padded = int(max(size)), converter.flag("pad_to_aspect_ratio")
    is_cut = converter.flag("crop_to_aspect_ratio", not is_padded)
    is_square = size[0] == size[1]
    how = (converter.text("interpolation", "bilinear"), converter.flag("antialias"))
    if how != ("bilinear", False):
        remarks.append(f"it scales images {how[0]}, antialias {how[1]}; here bilinear, without")
    if is_cut or not is_square:
        remarks.append(
            f"it makes images {size[0]:g}x{size[1]:g}{', and cuts what is too much' * is_cut}; "
            f"here they are scaled whole, and padded to {side}x{side}"
        )
    elif is_padded:
        remarks.append("it puts images in the middle of the square; here they are at the top left")
    resize = "square" if is_cut or is_padded or not is_square else "stretch"
    # Other sides than whole 32s its pyramid does not take.
    multiple = IMAGE_PAD_MULTIPLE if side % IMAGE_PAD_MULTIPLE == 0 else 1
    return InputPolicy(resize, size=side, pad_multiple=multiple, **details), tuple(remarks)
