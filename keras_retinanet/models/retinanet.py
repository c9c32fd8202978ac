"""RetinaNet: the functional Keras model, complete with all that its predictions mean."""

import dataclasses
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import keras

from keras_retinanet.conventions import (
    BOX_QUALITIES,
    FPN_CHANNELS,
    HEAD_CHANNELS,
    HEAD_DEPTH,
    PRIOR_PROBABILITY,
    Tensor,
)
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings, with_inference_settings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling
from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.backbones.custom import feature_model
from keras_retinanet.models.checked_model import CheckedModel
from keras_retinanet.models.heads import Prediction, prior_bias
from keras_retinanet.models.makers import makers
from keras_retinanet.models.variant import PAPER, NetworkVariant
from keras_retinanet.system.replicas import num_replicas

CLASS_ACTIVATIONS = ("sigmoid", "softmax")
# The last of each if a model predicts the quality of its boxes.
OUTPUTS = ("class_logits", "box_deltas", "box_quality")
LOSS_PARTS = ("class_loss", "box_loss", "box_quality_loss")
BOX_PREDICTIONS = (Prediction("box_head", 4), Prediction("box_quality", 1))

# The settings that are dataclasses, by their names here and in `get_config`.
PARTS = {
    "anchor_generator": AnchorGenerator,
    "box_coder": BoxCoder,
    "input_policy": InputPolicy,
    "inference": InferenceSettings,
    "tiling": Tiling,
    "variant": NetworkVariant,
}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNet(CheckedModel):
    """A backbone and FPN with class and box subnets (section 4).

    A functional model from images [B, H, W, 3], RGB in 0...255 of any number type, of any size, to
    {"class_logits": [B, A, K], "box_deltas": [B, A, 4]}, float32, with the A anchors of
    `anchor_generator(H, W)`. `model.save("x.keras")` keeps all that is given here.

    Train it with `compile(optimizer, loss=DetectionLoss())` and `fit` on batches of (images,
    targets) as `keras_retinanet.training_batches` makes them; `detect` finds objects in images.

    Args:
        backbone: a name in `backbones.build`, such as "resnet50" or "mobilenet_v2"; or a functional
            Keras model with three outputs, C3, C4 and C5 of strides 8, 16 and 32, or a list of
            those three KerasTensors. Of such a model the layers are copied, with their weights. It
            is given RGB in 0...255 and does its own scaling: EfficientNet of `keras.applications`
            does, ResNet50V2 does not and needs a Rescaling layer in front.
        num_classes: K; may be left out where `class_names` is given.
        class_names: names of the classes in the order of the labels; "0", "1", ... by default.
        weights, batchnorm, frozen_stages, width: of the backbone, see `build_backbone`.
        separable: a pyramid and subnets of depthwise separable convolutions with batch
            normalisation, which is always trained: for phones and the like.
        fpn_channels, head_channels, head_depth: widths of the pyramid and the subnets, and the
            subnets' number of hidden convolutions.
        prior: foreground probability at the start (section 3.3).
        class_activation: what makes scores of the class logits: "sigmoid", or "softmax" over the
            classes and background, whose logit is 0 (footnote 1; for `SoftmaxFocalLoss`).
        box_quality: what the box subnet predicts beside the deltas, as "box_quality" [B, A, 1],
            logits: "iou", a box's IoU with its object; "centerness", the anchor's in it; or "none".
        variant: where a network of another project differs, for its weights.
        dtype: a Keras dtype policy or its name, for example "mixed_bfloat16".

    Raises:
        ValueError: a setting does not fit.
        WeightsError: the backbone's weights cannot be had.
    """

    loss: Any = None  # until `compile`

    def __init__(
        self,
        backbone: str | keras.Model | Sequence[Tensor] = "resnet50",
        num_classes: int | None = None,
        *,
        class_names: Sequence[str] | None = None,
        weights: str | None = "imagenet",
        batchnorm: str = "auto",
        frozen_stages: int = 0,
        width: float = 1.0,
        separable: bool = False,
        fpn_channels: int = FPN_CHANNELS,
        head_channels: int = HEAD_CHANNELS,
        head_depth: int = HEAD_DEPTH,
        prior: float = PRIOR_PROBABILITY,
        class_activation: str = "sigmoid",
        box_quality: str = "none",
        anchor_generator: AnchorGenerator | None = None,
        box_coder: BoxCoder | None = None,
        input_policy: InputPolicy | None = None,
        inference: InferenceSettings | None = None,
        tiling: Tiling = WHOLE_IMAGES,
        variant: NetworkVariant = PAPER,
        name: str = "retinanet",
        dtype: Any = None,
    ) -> None:
        # The signature is the one list of settings: `get_config` returns what came in by it.
        settings = {k: v for k, v in locals().items() if k not in _NOT_SAVED}
        class_names = _class_names(num_classes, class_names)
        num_classes = len(class_names)
        _refuse_unknown("class_activation", class_activation, CLASS_ACTIVATIONS)
        _refuse_unknown("box_quality", box_quality, BOX_QUALITIES)
        if not isinstance(backbone, str):
            backbone = feature_model(backbone)
        elif batchnorm == "auto":
            batchnorm = "frozen" if weights else "trainable"
        anchor_generator = anchor_generator or AnchorGenerator()
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        with _dtype_policy(policy):
            images = keras.Input((None, None, 3), name="images", dtype="float32")
            features = build_backbone(
                backbone,
                images,
                weights=weights,
                batchnorm=batchnorm,
                frozen_stages=frozen_stages,
                width=width,
                variant=variant,
            )
            make_pyramid, make_head = makers(separable, variant, batchnorm == "synchronized")
            levels = make_pyramid(*features, channels=fpn_channels)
            make_head = partial(
                make_head,
                num_anchors=anchor_generator.num_per_cell,
                channels=head_channels,
                depth=head_depth,
            )
            class_bias = _class_bias(prior, num_classes, class_activation)
            classes = [Prediction("class_head", num_classes, class_bias)]
            boxes = BOX_PREDICTIONS[: 1 if box_quality == "none" else 2]
            class_head = make_head(name="class_head", predictions=classes)
            box_head = make_head(name="box_head", predictions=boxes)
            outputs = dict(zip(OUTPUTS, class_head(levels) + box_head(levels), strict=False))
            super().__init__(inputs=images, outputs=outputs, name=name)

        self.class_names, self.num_classes = class_names, num_classes
        self.class_activation, self.box_quality = class_activation, box_quality
        self.batchnorm, self.variant = batchnorm, variant
        self.anchor_generator, self.box_coder = anchor_generator, box_coder or BoxCoder()
        self.input_policy = input_policy or InputPolicy()
        self.inference, self.tiling = inference or InferenceSettings(), tiling
        self.backbone_name = backbone if isinstance(backbone, str) else backbone.name
        settings |= {"batchnorm": batchnorm, "dtype": policy}
        settings["backbone"] = backbone if isinstance(backbone, str) else features
        self._settings = MappingProxyType(settings)  # Keras would look for layers in a dict
        self._detector = None
        self.num_parts = 1  # into which a training step divides its batch
        self._loss_parts = [keras.metrics.Mean(name=part) for part in LOSS_PARTS[: len(outputs)]]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras' metrics, and the state that the loss carries from step to step."""
        return super().metrics + (self.loss.metrics if self.loss is not None else [])

    def detect(self, images: Any, *, min_score: float = 0.0, batch_size: int = 8) -> Any:
        """Return the objects in an image, or in each of a list: see `detection.detect`.

        Images are paths, NumPy arrays or PIL images of any sizes. What is found has boxes [n, 4]
        xyxy in pixels of the image, scores, labels and names.
        """
        # By its name and not by an import: detection stands above the models, and needs TensorFlow.
        detection = importlib.import_module("keras_retinanet.detection.detect")
        self._detector = detection.detector_of(self, self._detector)  # it makes its graph once
        return detection.detect(self._detector, images, min_score=min_score, batch_size=batch_size)

    def compute_loss(
        self,
        x: Tensor = None,
        y: dict | None = None,
        y_pred: dict | None = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Return this replica's share of the loss given to `compile`, a `DetectionLoss` or alike.

        The whole structure of targets and outputs goes to the loss: Keras' own way is one loss for
        each output, and here boxes and classes share matches and normaliser.

        Args:
            sample_weight: [B], what to multiply each image's loss with in place of the loss' own
                normaliser.
        """
        height, width = keras.ops.shape(x)[1:3]
        options = {} if sample_weight is None else {"image_weights": sample_weight}
        if self.box_quality != "none":
            options["box_quality"] = self.box_quality
        parts = self.loss(
            y,
            y_pred,
            anchors=self.anchor_generator(height, width),
            box_coder=self.box_coder,
            training=training,
            **options,
        )
        num_shares, total = num_replicas() * self.num_parts, 0.0
        for metric in self._loss_parts:
            # Shares add up over replicas and parts, and a metric averages over them.
            metric.update_state(parts[metric.name] * num_shares)
            total = total + parts[metric.name]
        for penalty in self.losses:  # regularisers and layers' own losses
            total = total + penalty / num_shares
        return total

    def update_loss(self, loss: Tensor, *, num_images: Tensor) -> None:
        """Put a batch's loss into the mean of the epoch, as Keras' own step does."""
        mean = next(metric for metric in self.metrics if metric.name == "loss")
        mean.update_state(loss, sample_weight=num_images)

    def get_config(self) -> dict:
        config = {**self._settings, **{name: _plain(getattr(self, name)) for name in PARTS}}
        config["class_names"] = list(self.class_names)
        config["dtype"] = keras.dtype_policies.serialize(config["dtype"])
        if not isinstance(config["backbone"], str):
            backbone = keras.Model(self.inputs, config["backbone"], name=self.backbone_name)
            serialized = keras.saving.serialize_keras_object(backbone)
            config["backbone"] = json.loads(json.dumps(serialized))  # lists, as in a file
        return config

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "RetinaNet":
        config = with_inference_settings(config)
        for name, kind in PARTS.items():
            if isinstance(config.get(name), dict):  # a file of version 0.1.0 has no variant
                config[name] = kind(**config[name])
        if isinstance(config["backbone"], dict):
            config["backbone"] = keras.saving.deserialize_keras_object(
                config["backbone"], custom_objects=custom_objects
            )
        # The file that is being loaded holds the weights.
        return cls(**config, weights=None)


def with_all_settings(config: dict) -> dict:
    """Return a config of any version, with the defaults of what that version did not have yet."""
    config = with_inference_settings(config)
    parts = {name: {**_plain(kind()), **config.get(name, {})} for name, kind in PARTS.items()}
    return {"box_quality": "none", **config, **parts}


# Of the signature: `class_names` counts the classes, and the weights are saved as such.
_NOT_SAVED = ("self", "__class__", "num_classes", "weights")


def _plain(part: Any) -> Any:
    """Return a dataclass as what JSON holds."""
    if dataclasses.is_dataclass(part):
        return {field.name: _plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    return list(part) if isinstance(part, tuple) else part


def _class_names(num_classes: int | None, class_names: Sequence[str] | None) -> tuple[str, ...]:
    if class_names is None:
        if num_classes is None:
            raise ValueError("give num_classes or class_names")
        class_names = [str(i) for i in range(num_classes)]
    if num_classes not in (None, len(class_names)):
        raise ValueError(f"num_classes is {num_classes} and class_names has {len(class_names)}")
    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"class_names must be one or more different names, got {class_names}")
    return tuple(str(name) for name in class_names)


def _refuse_unknown(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, not {value!r}")


def _class_bias(prior: float, num_classes: int, class_activation: str) -> float:
    """Return the bias with which each anchor starts as foreground with probability `prior`."""
    # The classes of a softmax share the prior.
    shared_by = num_classes if class_activation == "softmax" else 1
    return prior_bias(prior) - math.log(shared_by)


@contextmanager
def _dtype_policy(policy: Any) -> Iterator[None]:
    """Make `policy` the default of the layers built inside; keras.applications takes no dtype."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
