"""Backbones that are a Keras model of one's own: what is asked of them, and their copies."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_retinanet.conventions import Tensor
from keras_retinanet.models.variant import BACKBONE_SETTINGS, PAPER, NetworkVariant

STRIDES = (8, 16, 32)
# Sides of the input at which the strides are measured: different, and multiples of all three.
_PROBE = (128, 192)
_EXPECTED = (
    "a backbone must give three feature maps, of strides 8, 16 and 32, of one image input: a "
    "functional Keras model with three outputs, or a list of their three KerasTensors"
)


def feature_model(backbone: keras.Model | Sequence[Tensor]) -> keras.Model:
    """Return a plain functional model from images to C3, C4, C5 with the backbone's own layers.

    Raises:
        ValueError: the backbone is something else, or has other feature maps.
    """
    if isinstance(backbone, keras.Model):
        try:
            inputs, features = backbone.inputs, backbone.outputs
        except AttributeError as error:  # a subclass of Model whose layers only its `call` knows
            raise ValueError(
                f"{_EXPECTED}; {type(backbone).__name__} has no symbolic outputs"
            ) from error
    elif isinstance(backbone, list | tuple) and all(
        isinstance(feature, keras.KerasTensor) for feature in backbone
    ):
        features = list(backbone)
        sources = [keras.utils.get_source_inputs(feature) for feature in features]
        inputs = list({id(source): source for each in sources for source in each}.values())
    else:
        raise ValueError(f"{_EXPECTED}; got {type(backbone).__name__}")
    if len(inputs) != 1 or len(features) != len(STRIDES):
        raise ValueError(f"{_EXPECTED}; got {len(inputs)} inputs and {len(features)} maps")
    name = backbone.name if isinstance(backbone, keras.Model) else "backbone"
    return keras.Model(inputs[0], list(features), name=name)


def custom_features(
    backbone: keras.Model, images: Tensor, variant: NetworkVariant = PAPER
) -> tuple[Tensor, ...]:
    """Return C3, C4, C5 of `images` by a copy of a `feature_model`, with its weights.

    The copy's layers follow the dtype policy in force, but for those that scale the pixels.

    Raises:
        ValueError: the feature maps have other strides, or the variant differs in what the model
            has settled for itself.
    """
    variant.refuse(*BACKBONE_SETTINGS, reason="a backbone of one's own")

    def copy(layer: keras.Operation) -> keras.Operation:
        config = layer.get_config()
        if isinstance(layer, layers.Layer):  # and no operation such as keras.ops.relu
            is_scaling = isinstance(layer, layers.Rescaling | layers.Normalization)
            config["dtype"] = "float32" if is_scaling else keras.config.dtype_policy()
        return type(layer).from_config(config)

    model = keras.models.clone_model(
        backbone, input_tensors=images, clone_function=copy, recursive=True
    )
    height, width = _PROBE
    shapes = [tuple(shape[1:3]) for shape in model.compute_output_shape((1, *_PROBE, 3))]
    if shapes != [(height // stride, width // stride) for stride in STRIDES]:
        raise ValueError(
            f"{_EXPECTED}; of an image of {height} x {width} the maps of {backbone.name} are "
            f"{', '.join(f'{h} x {w}' for h, w in shapes)}"
        )
    model.set_weights(backbone.get_weights())
    return tuple(model.outputs)
