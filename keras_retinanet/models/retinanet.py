"""RetinaNet: the functional Keras model, complete with all that its predictions mean."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from keras_retinanet.conventions import (
    FPN_CHANNELS,
    HEAD_CHANNELS,
    HEAD_DEPTH,
    MAX_DETECTIONS,
    NMS_IOU_THRESHOLD,
    PRE_NMS_TOP_K,
    PRIOR_PROBABILITY,
    SCORE_THRESHOLD,
    Tensor,
)
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.fpn import feature_pyramid, light_feature_pyramid
from keras_retinanet.models.heads import light_shared_head, prior_bias, shared_head
from keras_retinanet.system.replicas import num_replicas

CLASS_ACTIVATIONS = ("sigmoid", "softmax")


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNet(keras.Model):
    """ResNet-FPN with class and box subnets (section 4).

    A functional model from images [B, H, W, 3], RGB in 0...255 of any number type, of any size, to
    {"class_logits": [B, A, K], "box_deltas": [B, A, 4]}, float32, with the A anchors of
    `anchor_generator(H, W)`. `model.save("x.keras")` keeps all that is given here.

    Train it with `compile(optimizer, loss=DetectionLoss())` and `fit` on batches of (images,
    targets) as `keras_retinanet.data.pipeline.batches` makes them.

    Args:
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" or
            "mobilenet_v2".
        num_classes: K; may be left out where `class_names` is given.
        class_names: names of the classes in the order of the labels; "0", "1", ... by default.
        weights: of the backbone: "imagenet", a path, or None (random values).
        batchnorm, frozen_stages, width: see `build_backbone`.
        separable: a pyramid and subnets of depthwise separable convolutions with batch
            normalisation, which is always trained: for phones and the like.
        fpn_channels, head_channels, head_depth: widths of the pyramid and the subnets, and the
            subnets' number of hidden convolutions.
        prior: foreground probability at the start (section 3.3).
        class_activation: what makes scores of the class logits: "sigmoid", or "softmax" over the
            classes and background, whose logit is 0 (footnote 1; for `SoftmaxFocalLoss`).
        score_threshold, pre_nms_top_k, nms_iou_threshold, max_detections: the inference settings
            that `keras_retinanet.geometry.postprocess` reads off the model.
        dtype: a Keras dtype policy or its name, for example "mixed_bfloat16".

    Raises:
        ValueError: a setting does not fit.
        WeightsError: the backbone's weights cannot be had.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
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
        anchor_generator: AnchorGenerator | None = None,
        box_coder: BoxCoder | None = None,
        input_policy: InputPolicy | None = None,
        score_threshold: float = SCORE_THRESHOLD,
        pre_nms_top_k: int = PRE_NMS_TOP_K,
        nms_iou_threshold: float = NMS_IOU_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
        name: str = "retinanet",
        dtype: Any = None,
    ) -> None:
        class_names = _class_names(num_classes, class_names)
        num_classes = len(class_names)
        if class_activation not in CLASS_ACTIVATIONS:
            raise ValueError(
                f"class_activation must be one of {CLASS_ACTIVATIONS}, not {class_activation!r}"
            )
        class_bias = prior_bias(prior)
        if class_activation == "softmax":
            class_bias -= math.log(num_classes)  # the classes share the prior
        anchor_generator = anchor_generator or AnchorGenerator()
        if batchnorm == "auto":
            batchnorm = "frozen" if weights else "trainable"

        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        with _dtype_policy(policy):
            images = keras.Input((None, None, 3), name="images", dtype="float32")
            c3, c4, c5 = build_backbone(
                backbone,
                images,
                weights=weights,
                batchnorm=batchnorm,
                frozen_stages=frozen_stages,
                width=width,
            )
            make_pyramid, make_head = feature_pyramid, shared_head
            if separable:
                shared = {"synchronized": batchnorm == "synchronized"}
                make_pyramid = partial(light_feature_pyramid, **shared)
                make_head = partial(light_shared_head, **shared)
            levels = make_pyramid(c3, c4, c5, channels=fpn_channels)
            heads = {
                head: make_head(
                    name=head,
                    outputs_per_anchor=outputs,
                    num_anchors=anchor_generator.num_per_cell,
                    channels=head_channels,
                    depth=head_depth,
                    bias=bias,
                )
                for head, outputs, bias in (
                    ("class_head", num_classes, class_bias),
                    ("box_head", 4, 0.0),
                )
            }
            super().__init__(
                inputs=images,
                outputs={
                    "class_logits": heads["class_head"](levels),
                    "box_deltas": heads["box_head"](levels),
                },
                name=name,
            )

        self.backbone_name = backbone
        self.batchnorm = batchnorm
        self.frozen_stages = frozen_stages
        self.width = width
        self.separable = separable
        self.num_classes = num_classes
        self.class_names = class_names
        self.fpn_channels = fpn_channels
        self.head_channels = head_channels
        self.head_depth = head_depth
        self.prior = prior
        self.class_activation = class_activation
        self.anchor_generator = anchor_generator
        self.box_coder = box_coder or BoxCoder()
        self.input_policy = input_policy or InputPolicy()
        self.score_threshold = score_threshold
        self.pre_nms_top_k = pre_nms_top_k
        self.nms_iou_threshold = nms_iou_threshold
        self.max_detections = max_detections
        self._policy = policy
        self.num_parts = 1  # into which a training step divides its batch
        self._loss_parts = [keras.metrics.Mean(name=part) for part in ("class_loss", "box_loss")]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras' metrics, and the state that the loss carries from step to step."""
        return super().metrics + getattr(getattr(self, "loss", None), "metrics", [])

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
        parts = self.loss(
            y,
            y_pred,
            anchors=self.anchor_generator(height, width),
            box_coder=self.box_coder,
            training=training,
            **({} if sample_weight is None else {"image_weights": sample_weight}),
        )
        num_shares = num_replicas() * self.num_parts
        for metric in self._loss_parts:
            # Shares add up over replicas and parts, and a metric averages over them.
            metric.update_state(parts[metric.name] * num_shares)
        total = parts["class_loss"] + parts["box_loss"]
        for penalty in self.losses:  # regularisers and layers' own losses
            total = total + penalty / num_shares
        return total

    def update_loss(self, loss: Tensor, *, num_images: Tensor) -> None:
        """Put a batch's loss into the mean of the epoch, as Keras' own step does."""
        mean = next(metric for metric in self.metrics if metric.name == "loss")
        mean.update_state(loss, sample_weight=num_images)

    def get_config(self) -> dict:
        return {
            "backbone": self.backbone_name,
            "class_names": list(self.class_names),
            "batchnorm": self.batchnorm,
            "frozen_stages": self.frozen_stages,
            "width": self.width,
            "separable": self.separable,
            "fpn_channels": self.fpn_channels,
            "head_channels": self.head_channels,
            "head_depth": self.head_depth,
            "prior": self.prior,
            "class_activation": self.class_activation,
            "anchor_generator": _plain(self.anchor_generator),
            "box_coder": _plain(self.box_coder),
            "input_policy": _plain(self.input_policy),
            "score_threshold": self.score_threshold,
            "pre_nms_top_k": self.pre_nms_top_k,
            "nms_iou_threshold": self.nms_iou_threshold,
            "max_detections": self.max_detections,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self._policy),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "RetinaNet":
        config = dict(config)
        for key, kind in _PARTS.items():
            config[key] = kind(**config[key])
        # The file that is being loaded holds the weights.
        return cls(**config, weights=None)


_PARTS = {
    "anchor_generator": AnchorGenerator,
    "box_coder": BoxCoder,
    "input_policy": InputPolicy,
}


def _plain(part: Any) -> dict:
    """Return a dataclass as what JSON holds."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(part).items()}


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


@contextmanager
def _dtype_policy(policy: Any) -> Iterator[None]:
    """Make `policy` the default of the layers built inside; keras.applications takes no dtype."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
