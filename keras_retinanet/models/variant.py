"""Where the networks of other projects differ from this one: padding, norms, P6, pixel scaling."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from keras import layers, ops

from keras_retinanet.conventions import Tensor

CHOICES = {
    "padding": (None, "same", "symmetric"),
    "pool_padding": (None, "same", "symmetric"),
    "fpn_padding": ("same", "symmetric"),
    "fpn_upsampling": ("double", "nearest"),
    "fpn_norm": ("none", "batch"),
    "head_norm": ("none", "group", "batch"),
    "p6_from": ("c5", "p5"),
}
# The fields that the backbone depends on, and those that the heads and the feature pyramid do.
BACKBONE_SETTINGS = ("pixel_scaling", "batchnorm_epsilon", "padding", "pool_padding")
HEAD_SETTINGS = ("head_norm", "head_norm_epsilon", "box_level_scale")
PYRAMID_SETTINGS = ("fpn_padding", "fpn_upsampling", "fpn_norm", "p6_from", "p7_relu")


@dataclass(frozen=True)
class PixelScaling:
    """What is done to pixels before the first convolution: (x - mean) / std.

    Args:
        order: of the channels that the network takes, "rgb" or "bgr".
        mean, std: of pixels in 0...255, in that order.
    """

    order: str = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.order not in ("rgb", "bgr"):
            raise ValueError(f"order must be 'rgb' or 'bgr', not {self.order!r}")
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3:
                raise ValueError(f"{name} needs three numbers, one a channel, got {len(values)}")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    def __call__(self, images: Tensor) -> Tensor:
        """Return RGB images in 0...255, symbolic, as the network takes them."""
        x = ops.flip(images, axis=-1) if self.order == "bgr" else images
        scale = tuple(1.0 / s for s in self.std)
        offset = tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))
        return layers.Rescaling(
            _one_if_equal(scale),
            offset=_one_if_equal(offset),
            dtype="float32",
            name="preprocessing",
        )(x)


# The modes of keras.applications, by its names: "caffe" subtracts the ImageNet mean from BGR,
# "torch" takes torchvision's statistics, "tf" scales to -1...1.
PIXEL_SCALINGS = {
    "caffe": PixelScaling("bgr", (103.939, 116.779, 123.68)),
    "torch": PixelScaling("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "tf": PixelScaling("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


@dataclass(frozen=True)
class NetworkVariant:
    """How a network is built where projects disagree; by default as the paper, or its backbone, is.

    Weights fit only the variant that they were trained in.

    Args:
        pixel_scaling: a `PixelScaling`, one of PIXEL_SCALINGS by its name, or None: the backbone's.
        batchnorm_epsilon: of the backbone; None: the backbone's own.
        padding: of the backbone's stride-2 convolutions and its pooling: "same" is Keras', which
            pads even sizes at right and bottom alone, "symmetric" is torch's. None: the backbone's.
        pool_padding: of the pooling alone (fizyr's differs); None: as `padding`.
        fpn_padding: of the stride-2 convolutions to P6 and P7.
        fpn_upsampling: "double" repeats each row and column twice and cuts what is too much;
            "nearest" stretches to the lateral's size, as torch does: the same for even sizes.
        fpn_norm: "batch" normalises P3 ... P7, each by itself.
        head_norm: "group": GroupNorm of 32 groups after each hidden convolution, which then has no
            bias; "batch": BatchNorm, for each level its own. Both before the ReLU.
        head_norm_epsilon: of those norms; None: 1e-5 of "group" (torchvision), 1e-3 of "batch".
        box_level_scale: each level's box outputs times a number of its own, which is trained.
        p6_from: "c5", or "p5" after its output convolution.
        p7_relu: whether P7 is made of ReLU(P6) or of P6.
    """

    pixel_scaling: PixelScaling | None = None
    batchnorm_epsilon: float | None = None
    padding: str | None = None
    pool_padding: str | None = None
    fpn_padding: str = "same"
    fpn_upsampling: str = "double"
    fpn_norm: str = "none"
    head_norm: str = "none"
    head_norm_epsilon: float | None = None
    box_level_scale: bool = False
    p6_from: str = "c5"
    p7_relu: bool = True

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")
        for name in ("batchnorm_epsilon", "head_norm_epsilon"):
            epsilon = getattr(self, name)
            if epsilon is not None and epsilon < 0:
                raise ValueError(f"{name} must not be below 0, got {epsilon}")
        object.__setattr__(self, "pixel_scaling", _pixel_scaling(self.pixel_scaling))

    @classmethod
    def of(cls, settings: Any) -> "NetworkVariant":
        """Return the variant whose fields an object of other settings has, too."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    def refuse(self, *names: str, reason: str) -> None:
        """Raise a ValueError if one of the fields `names` is not at its default."""
        for name in names:
            if getattr(self, name) != getattr(PAPER, name):
                raise ValueError(f"{name} = {getattr(self, name)!r} does not go with {reason}")


def _pixel_scaling(scaling: Any) -> PixelScaling | None:
    if isinstance(scaling, str):
        if scaling not in PIXEL_SCALINGS:
            raise ValueError(
                f"pixel_scaling must be one of {', '.join(PIXEL_SCALINGS)}, or an order, a mean "
                f"and a std, not {scaling!r}"
            )
        return PIXEL_SCALINGS[scaling]
    if isinstance(scaling, Mapping):
        return PixelScaling(**scaling)
    if scaling is None or isinstance(scaling, PixelScaling):
        return scaling
    return PixelScaling(order=scaling.order, mean=scaling.mean, std=scaling.std)


def _one_if_equal(values: tuple[float, ...]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else list(values)


PAPER = NetworkVariant()
