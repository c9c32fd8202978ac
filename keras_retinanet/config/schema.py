"""Every setting of a training and its default, typed and checked. Loads no TensorFlow.

A config file states only what differs: from `base:` (another YAML beside it) if it names one, else
from the defaults here, which are the paper's. `key=value` overrides come last.
"""

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, PositiveFloat, PositiveInt

from keras_retinanet import conventions
from keras_retinanet.config.yaml_files import did_you_mean

Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Channel = Annotated[float, Field(ge=0, le=255)]


def _in_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the first number must not be above the second")
    return limits


def _named_or_dotted(*names: str) -> Any:
    """Return the check of a setting that is one of `names`, or "package.module.name"."""

    def check(value: str) -> str:
        if value not in names and not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", value):
            raise ValueError(did_you_mean(value, list(names)))
        return value

    return pydantic.AfterValidator(check)


ForceMatch = Annotated[
    bool | Literal["best", "own_best"],
    pydantic.BeforeValidator(lambda value: False if value == "none" else value),
]
ScaleFactor = Annotated[float, Field(gt=0, le=10)]
ScaleRange = Annotated[tuple[ScaleFactor, ScaleFactor], pydantic.AfterValidator(_in_order)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PixelScalingConfig(_Section):
    """See `keras_retinanet.models.variant.PixelScaling`."""

    # of the channels that the network takes
    order: Literal["rgb", "bgr"] = "rgb"
    # subtracted from pixels in 0...255, in that order; they are then divided by `std`
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    # divides what is left when `mean` is subtracted
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0)


class NetworkConfig(_Section):
    """Where networks of other projects differ from the paper's: what their weights need.

    See `keras_retinanet.models.variant.NetworkVariant`, whose fields and defaults these are.
    """

    # scaling of pixels before the first convolution; null: the backbone's own. caffe, torch, tf:
    # those of keras.applications
    pixel_scaling: Literal["caffe", "torch", "tf"] | PixelScalingConfig | None = None
    # added to the variance in the backbone's BatchNorm; null: the backbone's own
    batchnorm_epsilon: NonNegative | None = None
    # padding of the backbone's stride-2 convolutions and its pooling; null: the backbone's own
    padding: Literal["same", "symmetric"] | None = None
    # padding of the pooling alone; null: as `padding`
    pool_padding: Literal["same", "symmetric"] | None = None
    # padding of the convolutions that make P6 and P7
    fpn_padding: Literal["same", "symmetric"] = "same"
    # double: by a factor of two. nearest: to the size of the level below, as torch does
    fpn_upsampling: Literal["double", "nearest"] = "double"
    # normalisation of the pyramid. batch: BatchNorm after P3 ... P7
    fpn_norm: Literal["none", "batch"] = "none"
    # normalisation in the heads. group: GroupNorm of 32 groups (torchvision v2). batch: BatchNorm
    # of each level (Model Garden)
    head_norm: Literal["none", "group", "batch"] = "none"
    # added to the variance in the heads' norms; null: 1e-5 of group (torchvision), 1e-3 of batch
    head_norm_epsilon: PositiveFloat | None = None
    # a trained factor of each level's box outputs (FCOS, ATSS)
    box_level_scale: bool = False
    # the map that P6 is made from: the backbone's last (the paper) or the pyramid's P5
    p6_from: Literal["c5", "p5"] = "c5"
    # ReLU between P6 and P7
    p7_relu: bool = True


BackboneName = Annotated[
    str,
    _named_or_dotted(
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet50_v1_5",
        "resnet101_v1_5",
        "resnet152_v1_5",
        "mobilenet_v2",
        "efficientnet_lite0",
    ),
]


class BoxHeadConfig(_Section):
    """What the box head predicts, and what its numbers mean; see `geometry.boxes.BoxCoder`."""

    # a further output of the box head that becomes part of the scores. iou: the box's IoU with its
    # object. centerness: how central the anchor lies in its object. none: no such output
    box_quality: Literal["none", "iou", "centerness"] = "none"
    # deltas are divided by these: standard deviations of x, y, width, height (often .1 .1 .2 .2)
    box_variances: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (1, 1, 1, 1)


class ModelConfig(NetworkConfig, BoxHeadConfig):
    """Section 4 of the paper; see `keras_retinanet.models.retinanet.RetinaNet`."""

    backbone: BackboneName = "resnet50"  # what makes C3, C4, C5; or "package.module.function"
    # multiplier of the backbone's channel numbers (mobilenet_v2)
    width: PositiveFloat = 1.0
    # "imagenet", "none", or a file with the backbone's: Keras weights, .pth, .pkl, .safetensors
    weights: str = "imagenet"
    # what to start from instead of `weights`: a trained model (.keras), another project's file or
    # a name from `retinanet weights list`. Its classes may differ from the data set's
    init_from: str | None = None
    # of the backbone. auto: frozen with weights, trainable without; with `init_from` as there
    batchnorm: Literal["auto", "frozen", "trainable", "synchronized"] = "auto"
    # how many stages are not trained: 1 is the stem, 2 the stem and C2's, ..., 5 the whole backbone
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 0
    # depthwise separable convolutions with batch normalisation in the pyramid and the heads
    separable: bool = False
    fpn_channels: PositiveInt = conventions.FPN_CHANNELS  # width of the pyramid
    head_channels: PositiveInt = conventions.HEAD_CHANNELS  # width of both heads
    head_depth: Annotated[int, Field(ge=0)] = conventions.HEAD_DEPTH  # hidden layers of each head
    # score that every anchor starts with (section 3.3)
    prior: Annotated[float, Field(gt=0, lt=1)] = conventions.PRIOR_PROBABILITY
    # of the convolutions; weights, losses and boxes are float32 in all three
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"


class AnchorGeometryConfig(_Section):
    """How anchors are laid out; see `keras_retinanet.geometry.anchors.AnchorGenerator`."""

    # what varies slowest among the anchors of a cell
    order: Literal["ratio", "scale"] = "ratio"
    # the anchors' centre within a cell, in strides
    offset: float = 0.5
    # round corners to whole pixels, relative to the anchor's centre (torchvision)
    rounded: bool = False
    # cut sizes to whole pixels (torchvision)
    integer_sizes: bool = False
    # distance of the centres. level: the level's stride. grid: image side over number of cells,
    # rounded down (torchvision)
    step: Literal["level", "grid"] = "level"


class MatchingConfig(_Section):
    """Which anchors are trained to find an object."""

    # iou: by positive_iou and negative_iou. atss: by a threshold of each object's own.
    # task_aligned: by what the network predicts at each step
    matching: Literal["iou", "atss", "task_aligned"] = "iou"
    # with atss: how many cells of each level, the nearest to an object, are considered
    atss_candidates: PositiveInt = conventions.ATSS_CANDIDATES
    # with task_aligned: exponent of the score of the object's class
    task_aligned_alpha: NonNegative = conventions.TASK_ALIGNED_ALPHA
    # with task_aligned: exponent of the IoU of the predicted box
    task_aligned_beta: NonNegative = conventions.TASK_ALIGNED_BETA
    # with task_aligned: how many anchors an object has at most
    task_aligned_candidates: PositiveInt = conventions.TASK_ALIGNED_CANDIDATES
    # true, best: give every object its best anchor, however low the IoU (with task_aligned: an
    # anchor near its centre). own_best: as Detectron2
    force_match: ForceMatch = False

    @pydantic.model_validator(mode="after")
    def _check_force_match(self) -> "MatchingConfig":
        if self.matching != "iou" and self.force_match == "own_best":
            raise ValueError(
                f"force_match = own_best goes with matching = iou; with {self.matching}: best"
            )
        return self


class AnchorConfig(AnchorGeometryConfig, MatchingConfig):
    """Section 4, "Anchors"."""

    # sides of the square anchors of scale 1 in pixels, on P3 ... P7
    sizes: tuple[PositiveFloat, ...] = conventions.ANCHOR_SIZES
    ratios: tuple[PositiveFloat, ...] = conventions.ANCHOR_RATIOS  # height / width
    scales: tuple[PositiveFloat, ...] = conventions.ANCHOR_SCALES  # multiples of `sizes`
    positive_iou: Share = conventions.POSITIVE_IOU  # IoU from which on an anchor is an object's
    negative_iou: Share = conventions.NEGATIVE_IOU  # below it is background; between, ignored

    @pydantic.model_validator(mode="after")
    def _check(self) -> "AnchorConfig":
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        if len(self.sizes) != len(conventions.LEVELS):
            raise ValueError(f"sizes needs one number for each of {len(conventions.LEVELS)} levels")
        return self


class ImageDetailsConfig(_Section):
    """What other projects do when they find objects; see `InputDetails`."""

    # colour of the padding (R, G, B); null: grey
    pad_value: tuple[Channel, Channel, Channel] | None = None
    # uint8: scaled images are rounded to whole values. float32: they are not
    pixels: Literal["uint8", "float32"] = "uint8"
    # how the sides of scaled images become whole numbers
    rounding: Literal["nearest", "floor"] = "nearest"


class TileConfig(_Section):
    """See `keras_retinanet.geometry.tiling.Tiling`."""

    # side of a tile, in pixels of the image as it is
    size: Annotated[int, Field(ge=conventions.MIN_TILE)]
    # of neighbours, in shares of the side; objects should not be larger
    overlap: Annotated[float, Field(ge=0, le=0.9)] = conventions.TILE_OVERLAP


class ImageConfig(ImageDetailsConfig):
    """The network's input and the augmentation."""

    # shorter_side: to `size`, the longer at most `max_size` (the paper). square: the longer side to
    # `size`, padded to a square. stretch: both sides to `size`
    resize: Literal["shorter_side", "square", "stretch"] = "shorter_side"
    size: PositiveInt = conventions.IMAGE_SIZE  # pixels; see `resize`
    max_size: PositiveInt = conventions.IMAGE_MAX_SIZE  # pixels; with shorter_side alone
    # cut images into tiles, in training and wherever the model is used; null: do not
    tile: TileConfig | None = None
    # training draws one of these sizes for each image (the paper's scale jitter); none: `size`
    jitter_sizes: tuple[PositiveInt, ...] = ()
    horizontal_flip: bool = True  # mirror half of the training images left to right
    vertical_flip: bool = False  # turn half of the training images upside down


class AugmentConfig(_Section):
    """What else is done to training images: a preset, and single settings in place of the preset's.

    null leaves a setting to the preset; docs/augmentation.md lists the presets' values, and
    `keras_retinanet.data.pipeline.augment.settings.Augmentation` says what each means.
    """

    preset: Literal["paper", "default", "strong"] = "paper"  # gives all settings that are null
    scale: ScaleRange | None = None
    crop: Share | None = None
    affine: Share | None = None
    rotate: Annotated[float, Field(ge=0, le=180)] | None = None
    shear: Annotated[float, Field(ge=0, le=45)] | None = None
    translate: Share | None = None
    photometric: Share | None = None
    brightness: Share | None = None
    contrast: Share | None = None
    saturation: Share | None = None
    hue: Annotated[float, Field(ge=0, le=180)] | None = None
    gray: Share | None = None
    cutout: Share | None = None
    cutout_count: PositiveInt | None = None
    cutout_size: Share | None = None
    mosaic: Share | None = None
    mosaic_scale: ScaleRange | None = None
    mixup: Share | None = None
    mixup_alpha: PositiveFloat | None = None
    min_visible: Share | None = None


class QualityLossConfig(_Section):
    """Of losses that know the quality of the box; see `keras_retinanet.losses.quality`."""

    # factor of the loss of model.box_quality
    box_quality_weight: NonNegative = 1.0
    # quality_focal: exponent of the distance between score and IoU
    quality_beta: Annotated[float, Field(ge=1)] = conventions.QUALITY_BETA
    # varifocal: weight of the background
    varifocal_alpha: NonNegative = conventions.VARIFOCAL_ALPHA
    # varifocal: focusing parameter of the background
    varifocal_gamma: NonNegative = conventions.VARIFOCAL_GAMMA


# A name here, or "package.module.Class" of one's own.
ClassLossName = Annotated[
    str,
    _named_or_dotted(
        "focal",
        "focal_star",
        "softmax_focal",
        "quality_focal",
        "varifocal",
        "cross_entropy",
        "balanced_cross_entropy",
        "ohem",
        "ohem_1_3",
        "hinge",
    ),
]
BoxLossName = Annotated[str, _named_or_dotted("smooth_l1", "l1", "giou", "diou", "ciou")]


class LossConfig(QualityLossConfig):
    """Sections 3.2, 4.1 and 5.1; see `keras_retinanet.losses`."""

    # which loss, and which of the settings here it reads. focal, softmax_focal: gamma, alpha.
    # balanced_cross_entropy: alpha. focal_star: star_*, alpha. quality_focal, varifocal, ohem and
    # hinge: those named like them. "package.module.Class": one's own
    class_loss: ClassLossName = "focal"
    gamma: NonNegative = conventions.FOCAL_GAMMA  # higher: easy anchors count less
    alpha: Share | None = conventions.FOCAL_ALPHA  # weight of objects; background has 1 - alpha
    star_gamma: PositiveFloat = conventions.FOCAL_STAR_GAMMA  # steepness of FL* (appendix)
    star_beta: float = conventions.FOCAL_STAR_BETA  # shift of FL*
    # anchors kept of the whole (global) batch
    ohem_batch_size: PositiveInt = conventions.OHEM_BATCH_SIZE
    ohem_nms_iou: Share = conventions.OHEM_NMS_IOU  # overlap with a harder anchor that drops one
    # score of the right class from which on there is no loss
    hinge_threshold: Annotated[float, Field(gt=0, le=1)] = conventions.HINGE_THRESHOLD
    box_loss: BoxLossName = "smooth_l1"  # or "package.module.Class" of one's own
    smooth_l1_beta: NonNegative = conventions.SMOOTH_L1_BETA  # quadratic below this error; 0 is L1
    box_weight: NonNegative = 1.0  # factor of the box loss
    # what the sums are divided by: positive anchors of the batch, of each image, or their average
    normalizer: Literal["global", "per_image", "moving_average"] = "global"


class ScheduleConfig(_Section):
    """How long, and with which learning rates. Steps are iterations or epochs, as `unit` says."""

    unit: Literal["iterations", "epochs"] = "iterations"  # of `length` and `drops`
    length: PositiveInt = 90_000  # of the whole training, in `unit`s
    kind: Literal["step", "cosine"] = "step"  # how the rate falls. cosine: to zero at the end
    # step: the learning rate is multiplied by `factor` after each of these
    drops: tuple[PositiveFloat, ...] = (60_000, 80_000)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1  # see `drops`
    # length of the linear warm-up, always in iterations (Goyal et al. 2017)
    warmup_iterations: Annotated[int, Field(ge=0)] = 500
    warmup_start: Share = 1 / 3  # the warm-up starts at this share of the learning rate


class OptimizerConfig(_Section):
    """Section 4.1, "Optimization"."""

    name: Literal["sgd", "adamw"] = "sgd"  # the paper's is sgd
    learning_rate: PositiveFloat = 0.01  # of pyramid and heads, after the warm-up
    # batch size that `learning_rate` is meant for; others scale it in proportion. null: not scaled
    learning_rate_batch_size: PositiveInt | None = None
    momentum: Share = 0.9  # share of the last update that is kept; with sgd alone
    # of kernels alone. sgd: the paper's L2 penalty. adamw: decoupled
    weight_decay: NonNegative = 1e-4
    clip_norm: PositiveFloat | None = None  # bound of the gradients' global norm; null: none
    backbone_rate: PositiveFloat = 1.0  # factor of the backbone's learning rate
    # each stage of the backbone learns at this share of the rate of the stage above it
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    # decay of a moving average of the weights, which is then evaluated and saved; at most
    # (1 + t) / (10 + t) in step t. null: no average
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None


class SamplingConfig(_Section):
    """Which images an epoch shows."""

    # show images with classes in less than this share of the images more often (LVIS: 0.001)
    repeat_threshold: Share | None = None
    # images that an epoch shows, others each time, where there are more; null: all
    epoch_images: PositiveInt | None = None
    # shares that the files of TFRecords are divided into: a multiple of the workers, each of which
    # then reads files of its own. 1: every worker reads from all files
    file_shares: PositiveInt = 1


class TrainingConfig(SamplingConfig):
    """How steps are made and shared out, and what happens between them."""

    # images in a step, over all devices of all workers
    batch_size: PositiveInt = 16
    # each device takes its part of the batch in this many pieces, one after the other
    accumulate: PositiveInt = 1
    seed: int = 0  # of the order of images, augmentation and random weights
    # bit for bit the same on every run, which is somewhat slower
    deterministic: bool = False
    # which devices train; auto: the cluster in TF_CONFIG, else all GPUs of the machine
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = "auto"
    # name or address of the TPU; "": the one that the environment names
    tpu: str = ""
    # read every image to its end before training, so that truncated files are found and reported
    check_images: bool = True
    # epochs between evaluations on the validation split
    evaluate_every: PositiveInt = 1
    # steps between checkpoints, besides those at the end of each epoch. null: none
    checkpoint_every: PositiveInt | None = 1000
    # steps between evaluations, instead of `evaluate_every`
    evaluate_every_steps: PositiveInt | None = None
    # validation images that are drawn with their detections for TensorBoard
    tensorboard_images: Annotated[int, Field(ge=0)] = 4
    # Keras callbacks of other packages: "package.module.Class", or {name: ..., argument: ...}
    callbacks: tuple[str | dict[str, Any], ...] = ()
    # checkpoints to keep for resuming, besides best.keras and last.keras
    keep_checkpoints: PositiveInt = 3
    # keep decoded images for later epochs: in memory, or in `cache_folder` on disk
    cache: Literal["none", "memory", "disk"] = "none"
    # where `cache: disk` keeps images; null: keras_retinanet/images in the user's cache folder
    cache_folder: str | None = None
    # compile steps with XLA, which needs image.resize=square and one device; auto: so on a GPU
    jit_compile: bool | Literal["auto"] = "auto"
    # "grpc://host:port" of a tf.data service whose workers make the batches
    data_service: str | None = None

    @pydantic.field_validator("callbacks")
    @classmethod
    def _check_callbacks(
        cls, entries: tuple[str | dict[str, Any], ...]
    ) -> tuple[str | dict[str, Any], ...]:
        for entry in entries:
            name = entry.get("name") if isinstance(entry, dict) else entry
            if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)+", name):
                raise ValueError(f"expected package.module.Class or {{name: ...}}, not {entry!r}")
        return entries


class EarlyStoppingConfig(_Section):
    """When to end a training that gets no better; see `callbacks.early_stopping`."""

    # what has to improve: AP at each evaluation, or the training loss. null: never stop early
    monitor: Literal["AP", "loss"] | None = None
    # how many evaluations (AP) or epochs (loss) may pass without a new best
    patience: PositiveInt = 5
    # how much better a value has to be to count as a new best
    min_delta: NonNegative = 0.0


class InferenceDetailsConfig(_Section):
    """What the paper does not tell of inference; see `InferenceSettings`."""

    # when boxes are cut to the image: torchvision before NMS, Detectron2 after it
    clip: Literal["before_nms", "after_nms", "none"] = "before_nms"
    # leave out boxes without area
    drop_empty: bool = True
    # NMS drops a box for a better one of any class that it overlaps, not of its own class alone
    nms_across_classes: bool = False
    # with model.box_quality: a score is p^(1 - share) q^share, p the class', q the quality's
    box_quality_share: Annotated[float, Field(ge=0, le=conventions.MAX_BOX_QUALITY_SHARE)] = (
        conventions.BOX_QUALITY_SHARE
    )
    # best: save the score with the best F1 on val, of each class, into best.keras; `retinanet
    # predict` then shows detections from there on. null: from 0.5 on
    thresholds: Literal["best"] | None = None


class InferenceConfig(InferenceDetailsConfig):
    """Section 4.1, "Inference"; saved with the model."""

    score_threshold: Share = conventions.SCORE_THRESHOLD  # scores at or below it are dropped
    pre_nms_top_k: PositiveInt = conventions.PRE_NMS_TOP_K  # candidates of each level for NMS
    nms_iou_threshold: Share = conventions.NMS_IOU_THRESHOLD  # NMS drops boxes that overlap more
    max_detections: PositiveInt = conventions.MAX_DETECTIONS  # of an image, over all classes


class Config(_Section):
    """All settings, by section."""

    model: ModelConfig = ModelConfig()
    anchors: AnchorConfig = AnchorConfig()
    image: ImageConfig = ImageConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    inference: InferenceConfig = InferenceConfig()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Config":
        _refuse_quality_twice(self.model.box_quality, self.loss.class_loss)
        if self.image.resize == "shorter_side" and self.image.max_size < self.image.size:
            raise ValueError(
                f"image.max_size = {self.image.max_size} must not be below image.size = "
                f"{self.image.size}"
            )
        if self.image.resize != "shorter_side" and max(self.image.jitter_sizes, default=0) > (
            self.image.size
        ):
            raise ValueError(
                f"image.jitter_sizes must not be above image.size = {self.image.size}, the side of "
                "the square"
            )
        if self.training.batch_size % self.training.accumulate:
            raise ValueError(
                f"training.batch_size = {self.training.batch_size} must be a multiple of "
                f"training.accumulate = {self.training.accumulate}"
            )
        if self.training.accumulate > 1 and self.loss.class_loss.startswith("ohem"):
            raise ValueError(
                "training.accumulate does not go with loss.class_loss = "
                f"{self.loss.class_loss}, which mines the anchors of the whole batch"
            )
        if self.training.strategy == "tpu" and self.image.resize == "shorter_side":
            raise ValueError("training.strategy = tpu needs one image size: image.resize=square")
        multiple = conventions.IMAGE_PAD_MULTIPLE
        if self.image.resize == "stretch" and self.image.size % multiple:
            raise ValueError(
                f"image.size = {self.image.size} must be a multiple of {multiple} with "
                "image.resize = stretch"
            )
        return self


def _refuse_quality_twice(box_quality: str, class_loss: str) -> None:
    if box_quality != "none" and class_loss in ("quality_focal", "varifocal"):
        raise ValueError(
            f"model.box_quality = {box_quality} does not go with loss.class_loss = {class_loss}, "
            "whose scores tell the quality of the box already: it would count twice; take another "
            "class loss, or model.box_quality=none"
        )
