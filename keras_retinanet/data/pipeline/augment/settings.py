"""The settings of the augmentation and their presets. Loads no TensorFlow."""

from dataclasses import dataclass, replace
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """How strongly training images are changed; by default not at all.

    Flips and the paper's scale jitter are no part of this: they are arguments of the pipeline and
    of the plan. Probabilities are for each image, or for each mosaic.

    Attributes:
        scale: range of the factor on the image's planned size (large-scale jitter); what is larger
            than the canvas is cropped, what is smaller is padded.
        crop: probability of an SSD crop.
        affine: probability of a rotation, shear and translation.
        rotate, shear: largest angles in degrees.
        translate: largest shift as a share of the sides.
        photometric: probability of the changes of colour.
        brightness, contrast, saturation: largest relative change.
        hue: largest turn in degrees.
        gray: probability of no colour, where photometric changes happen.
        cutout: probability of rectangles put over the image.
        cutout_count: number of rectangles.
        cutout_size: their largest side as a share of the image's.
        mosaic: probability of four images in one.
        mosaic_scale: `scale` of the four images.
        mixup: probability of a second image shining through.
        mixup_alpha: of the Beta distribution of the second image's share; higher is nearer to half.
        min_visible: objects of which a smaller share is left are ignored, neither trained nor
            background.
    """

    scale: Range = (1.0, 1.0)
    crop: float = 0.0
    affine: float = 0.0
    rotate: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    photometric: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    gray: float = 0.0
    cutout: float = 0.0
    cutout_count: int = 2
    cutout_size: float = 0.3
    mosaic: float = 0.0
    mosaic_scale: Range = (0.5, 1.0)
    mixup: float = 0.0
    mixup_alpha: float = 8.0
    min_visible: float = 0.25


# What each preset sets; the rest is Augmentation's defaults. The paper's only augmentation is the
# horizontal flip, which `image.horizontal_flip` controls.
PRESETS = {
    "paper": Augmentation(),
    "default": Augmentation(
        scale=(0.6, 1.4),
        photometric=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=10.0,
    ),
    "strong": Augmentation(
        scale=(0.1, 2.0),
        affine=0.1,
        rotate=10.0,
        shear=5.0,
        translate=0.1,
        photometric=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.5,
        hue=20.0,
        gray=0.1,
        cutout=0.2,
        mosaic=0.2,
        mixup=0.1,
    ),
}


def make_augmentation(preset: str, **settings: Any) -> Augmentation:
    """Return a preset with single settings changed; None leaves the preset's.

    Args:
        settings: by the names of Augmentation's attributes.

    Raises:
        KeyError: no such preset.
        TypeError: no such setting.
    """
    changed = {name: value for name, value in settings.items() if value is not None}
    return replace(PRESETS[preset], **changed)
