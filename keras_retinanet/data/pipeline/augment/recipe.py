"""The order in which a training example is augmented, and what is drawn for it."""

from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.augment.affine import random_affine
from keras_retinanet.data.pipeline.augment.crop import fit_example, large_scale_jitter, random_crop
from keras_retinanet.data.pipeline.augment.cutout import random_cutout
from keras_retinanet.data.pipeline.augment.flip import random_flip
from keras_retinanet.data.pipeline.augment.mixing import mixup, mosaic, natural_size
from keras_retinanet.data.pipeline.augment.photometric import random_photometric
from keras_retinanet.data.pipeline.augment.settings import Augmentation, Range
from keras_retinanet.data.pipeline.augment.visibility import Example, ignore_cut_objects

Load = Callable[[Tensor], Example]

# Each step draws from a seed of its own: the example's plus the number of the step.
(CHOICE, CROP, GEOMETRY, COLOUR, CUTOUT, MOSAIC, MIXUP, FIRST_TILE) = range(1, 9)
# The steps of the other images of an example are this far apart.
_STEPS_OF_AN_IMAGE = 8
NUM_TILES = 4


def augment(
    load: Load,
    planned: dict[str, Tensor],
    settings: Augmentation,
    *,
    horizontal_flip: bool,
    vertical_flip: bool,
) -> Example:
    """Return the example of a planned image, augmented and on its canvas.

    Geometry comes first and is one resampling of the pixels; colours, mixup and cutout follow on
    the canvas.

    Args:
        load: index of an image -> its example.
        planned: "index", "scaled_size" [2], "canvas_size" [2], "seed" [2] and "partners" [4], three
            images for a mosaic and one for mixup; -1 for none (`TrainingPlan.epoch`).
    """

    def upright(index: Tensor, seed: Tensor) -> Example:
        return random_flip(load(index), seed, horizontal=horizontal_flip, vertical=vertical_flip)

    if settings != Augmentation():
        return _augmented(upright, planned, settings)
    height, width = tf.unstack(planned["canvas_size"])
    example = upright(planned["index"], planned["seed"])
    return fit_example(example, planned["scaled_size"], height, width)


def _augmented(
    upright: Callable[[Tensor, Tensor], Example], planned: dict[str, Tensor], settings: Augmentation
) -> Example:
    """Return the example of a planned image with all that the settings ask for.

    Args:
        upright: index of an image and its seed -> its example, flipped or not.
    """
    seed, partners = planned["seed"], planned["partners"]
    height, width = tf.unstack(planned["canvas_size"])
    chances = tf.random.stateless_uniform((4,), _step(seed, CHOICE))

    def single() -> Example:
        example = upright(planned["index"], seed)
        return _placed(example, seed, chances, settings, planned["scaled_size"], height, width)

    def four() -> Example:
        indices = tf.concat([planned["index"][None], partners[:3]], axis=0)
        return _four_in_one(upright, indices, seed, settings.mosaic_scale, height, width)

    def mixed(example: Example) -> Example:
        other_seed = _image_seed(seed, NUM_TILES)
        other = upright(partners[3], other_seed)
        size = natural_size(other["image"], height, width)
        other = fit_example(other, size, height, width)
        return mixup(example, other, _step(seed, MIXUP), alpha=settings.mixup_alpha)

    example = tf.cond(partners[0] >= 0, four, single) if settings.mosaic else single()
    if settings.photometric:
        example = _coloured(example, seed, chances[0], settings)
    if settings.mixup:
        example = _maybe(partners[3] >= 0, example, mixed)
    if settings.cutout:
        example = _maybe(
            chances[1] < settings.cutout,
            example,
            lambda e: random_cutout(
                e, _step(seed, CUTOUT), count=settings.cutout_count, size=settings.cutout_size
            ),
        )
    return ignore_cut_objects(example, min_visible=settings.min_visible)


def _four_in_one(
    upright: Callable[[Tensor, Tensor], Example],
    indices: Tensor,
    seed: Tensor,
    scale: Range,
    height: Tensor,
    width: Tensor,
) -> Example:
    """Return a mosaic of the images `indices` [4], each scaled by a draw from `scale`.

    Args:
        upright: index of an image and its seed -> its example, flipped or not.
    """

    def tile(number: int, tile_height: Tensor, tile_width: Tensor) -> Example:
        tile_seed = _image_seed(seed, number)
        example = upright(indices[number], tile_seed)
        return large_scale_jitter(
            example,
            _step(tile_seed, GEOMETRY),
            scale=scale,
            size=natural_size(example["image"], height, width),
            height=tile_height,
            width=tile_width,
        )

    return mosaic(tile, _step(seed, MOSAIC), height=height, width=width)


def _coloured(example: Example, seed: Tensor, chance: Tensor, settings: Augmentation) -> Example:
    """Change the colours where `chance`, a draw from 0 ... 1, has it so."""
    return _maybe(
        chance < settings.photometric,
        example,
        lambda e: random_photometric(
            e,
            _step(seed, COLOUR),
            brightness=settings.brightness,
            contrast=settings.contrast,
            saturation=settings.saturation,
            hue=settings.hue,
            gray=settings.gray,
        ),
    )


def _placed(
    example: Example,
    seed: Tensor,
    chances: Tensor,
    settings: Augmentation,
    size: Tensor,
    height: Tensor,
    width: Tensor,
) -> Example:
    """Return a single image on its canvas."""
    if settings.crop:
        whole = tf.shape(example["image"])
        example = _maybe(
            chances[2] < settings.crop, example, lambda e: random_crop(e, _step(seed, CROP))
        )
        window = example["image"]
        size = tf.cond(
            tf.reduce_all(tf.shape(window) == whole),
            lambda: size,
            lambda: natural_size(window, size[0], size[1]),
        )
    place = {"size": size, "height": height, "width": width}

    def jittered() -> Example:
        if settings.scale == (1.0, 1.0):
            return fit_example(example, **place)
        return large_scale_jitter(example, _step(seed, GEOMETRY), scale=settings.scale, **place)

    if not settings.affine:
        return jittered()
    return tf.cond(
        chances[3] < settings.affine,
        lambda: random_affine(
            example,
            _step(seed, GEOMETRY),
            scale=settings.scale,
            rotate=settings.rotate,
            shear=settings.shear,
            translate=settings.translate,
            **place,
        ),
        jittered,
    )


def _maybe(chosen: Tensor, example: Example, change: Callable[[Example], Example]) -> Example:
    """Return the example, changed where the scalar `chosen` is True."""
    return tf.cond(chosen, lambda: change(example), lambda: dict(example))


def _step(seed: Tensor, number: int) -> Tensor:
    """Return the seed [2] of a step."""
    return seed + tf.constant([0, number], seed.dtype)


def _image_seed(seed: Tensor, number: int) -> Tensor:
    """Return the seed of an image in an example: 0 to 3 of a mosaic, NUM_TILES that of mixup."""
    return _step(seed, FIRST_TILE + _STEPS_OF_AN_IMAGE * number)
