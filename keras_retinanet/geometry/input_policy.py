"""How an image of any size becomes the network's input: its scaled size and its padded canvas."""

from dataclasses import dataclass

from keras import ops

from keras_retinanet.conventions import IMAGE_MAX_SIZE, IMAGE_PAD_MULTIPLE, IMAGE_SIZE, Tensor

RESIZE_MODES = ("shorter_side", "square", "stretch")
CHOICES = {"resize": RESIZE_MODES, "pixels": ("uint8", "float32"), "rounding": ("nearest", "floor")}


@dataclass(frozen=True, kw_only=True)
class InputDetails:
    """What other projects do otherwise when they find objects: their weights are used to it.

    Training batches have whole pixels and grey padding whatever these say.

    Args:
        pad_value: R, G, B of the padding; None: grey. torchvision pads with the mean.
        pixels: "uint8" rounds scaled images to whole values, "float32" does not.
        rounding: of scaled sizes, to the "nearest" pixel or "floor" (torchvision).
    """

    pad_value: tuple[float, float, float] | None = None
    pixels: str = "uint8"
    rounding: str = "nearest"

    def check_choices(self) -> None:
        """Raise ValueError if a detail or a mode is unknown, and make the padding a tuple."""
        for name, choices in CHOICES.items():
            value = getattr(self, name, choices[0])  # the details by themselves have no mode
            if value not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {value!r}")
        if self.pad_value is not None:
            values = tuple(float(value) for value in self.pad_value)
            if len(values) != 3 or min(values) < 0 or max(values) > 255:
                raise ValueError(f"pad_value needs R, G and B in 0...255, got {self.pad_value}")
            object.__setattr__(self, "pad_value", values)


@dataclass(frozen=True)
class InputPolicy(InputDetails):
    """The resizing that a model was trained with; it is saved with the model.

    Args:
        resize: "shorter_side" scales the shorter side to `size` with the longer capped at
            `max_size` (the paper); "square" scales the longer side to `size` and pads to a square;
            "stretch" scales both sides to `size`, as the clients of TFLite models do.
        size: pixels.
        max_size: pixels; used by "shorter_side" alone.
        pad_multiple: the canvas' sides are multiples of this.
    """

    resize: str = "shorter_side"
    size: int = IMAGE_SIZE
    max_size: int = IMAGE_MAX_SIZE
    pad_multiple: int = IMAGE_PAD_MULTIPLE

    def __post_init__(self) -> None:
        self.check_choices()
        if self.size < 1 or self.pad_multiple < 1:
            raise ValueError("size and pad_multiple must be positive")
        if self.resize == "shorter_side" and self.max_size < self.size:
            raise ValueError(f"max_size {self.max_size} must not be below size {self.size}")
        if self.resize == "stretch" and self.size % self.pad_multiple:
            raise ValueError(
                f"size {self.size} must be a multiple of {self.pad_multiple} to be stretched to"
            )

    @property
    def has_one_canvas(self) -> bool:
        """Whether the network's input has the same sides for all images."""
        return self.resize != "shorter_side"

    def scaled_size(
        self, height: Tensor, width: Tensor, size: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the int32 height and width that images [...] are scaled to.

        Args:
            size: takes the place of `self.size` (scale jitter); int, or [...].
        """
        # One type throughout, so that the plan of the training and an exported graph round alike.
        dtype, half = ("float32", 0.5) if self.rounding == "nearest" else ("float64", 0.0)
        height, width = ops.cast(height, dtype), ops.cast(width, dtype)
        size = ops.cast(self.size if size is None else size, dtype)
        if self.resize == "stretch":
            side = ops.cast(size + ops.zeros_like(height), "int32")
            return side, side
        shorter, longer = ops.minimum(height, width), ops.maximum(height, width)
        if self.resize == "square":
            scale = size / longer
        else:
            scale = ops.minimum(size / shorter, ops.cast(self.max_size, dtype) / longer)

        def scaled(side: Tensor) -> Tensor:
            return ops.maximum(ops.cast(ops.floor(side * scale + half), "int32"), 1)

        return scaled(height), scaled(width)

    def canvas_size(self, scaled_height: Tensor, scaled_width: Tensor) -> tuple[Tensor, Tensor]:
        """Return the height and width of the padded input that holds images of the scaled size."""
        if self.has_one_canvas:
            scaled_height = ops.full_like(scaled_height, self.size)
            scaled_width = ops.full_like(scaled_width, self.size)

        def up(side: Tensor) -> Tensor:
            return -(-side // self.pad_multiple) * self.pad_multiple

        return up(scaled_height), up(scaled_width)
