"""From the config to the parts of a training: model, loss, optimizer, batches."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_retinanet.config.schema import (
    Config,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from keras_retinanet.data.checks.anchor_recall import AnchorRecall, anchor_recall
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.augment.settings import Augmentation
from keras_retinanet.data.pipeline.augment.settings import make_augmentation as augmentation_of
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import DiskCache, ImageCache, MemoryCache, default_folder
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.sampling import image_repeats
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import (
    OHEM,
    BalancedCrossEntropy,
    DetectionLoss,
    FocalLoss,
    FocalLossStar,
    GIoULoss,
    HingeLoss,
    OHEM1To3,
    SmoothL1,
    SoftmaxFocalLoss,
)
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.layer_rates import stage_rates
from keras_retinanet.optimizers.schedules import WarmupSchedule
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2
from keras_retinanet.system.workers import this_worker


def build_model(config: Config, class_names: tuple[str, ...]) -> RetinaNet:
    """Return the model that the config describes, with fresh heads for the classes."""
    model = config.model
    return RetinaNet(
        model.backbone,
        class_names=class_names,
        weights=None if model.weights == "none" else model.weights,
        batchnorm=model.batchnorm,
        frozen_stages=model.frozen_stages,
        width=model.width,
        separable=model.separable,
        fpn_channels=model.fpn_channels,
        head_channels=model.head_channels,
        head_depth=model.head_depth,
        prior=model.prior,
        class_activation="softmax" if config.loss.class_loss == "softmax_focal" else "sigmoid",
        anchor_generator=make_anchor_generator(config),
        input_policy=make_input_policy(config),
        inference=InferenceSettings(**config.inference.model_dump()),
        dtype=model.precision,
    )


def make_anchor_generator(config: Config) -> AnchorGenerator:
    anchors = config.anchors
    return AnchorGenerator(sizes=anchors.sizes, ratios=anchors.ratios, scales=anchors.scales)


def make_input_policy(config: Config) -> InputPolicy:
    image = config.image
    return InputPolicy(resize=image.resize, size=image.size, max_size=image.max_size)


def make_loss(config: Config) -> DetectionLoss:
    loss = config.loss
    return DetectionLoss(
        class_loss=CLASS_LOSSES[loss.class_loss](loss),
        box_loss=BOX_LOSSES[loss.box_loss](loss),
        box_weight=loss.box_weight,
        normalizer=loss.normalizer,
    )


CLASS_LOSSES: dict[str, Callable[[LossConfig], keras.losses.Loss]] = {
    "focal": lambda loss: FocalLoss(gamma=loss.gamma, alpha=loss.alpha),
    "focal_star": lambda loss: FocalLossStar(
        gamma=loss.star_gamma, beta=loss.star_beta, alpha=loss.alpha
    ),
    "softmax_focal": lambda loss: SoftmaxFocalLoss(gamma=loss.gamma, alpha=loss.alpha),
    "cross_entropy": lambda loss: BalancedCrossEntropy(),
    "balanced_cross_entropy": lambda loss: BalancedCrossEntropy(alpha=loss.alpha),
    "ohem": lambda loss: OHEM(loss.ohem_batch_size, loss.ohem_nms_iou),
    "ohem_1_3": lambda loss: OHEM1To3(loss.ohem_batch_size, loss.ohem_nms_iou),
    "hinge": lambda loss: HingeLoss(threshold=loss.hinge_threshold),
}
BOX_LOSSES: dict[str, Callable[[LossConfig], keras.losses.Loss]] = {
    "smooth_l1": lambda loss: SmoothL1(beta=loss.smooth_l1_beta),
    "l1": lambda loss: SmoothL1(beta=0.0),
    "giou": lambda loss: GIoULoss(),
}


def make_anchor_recall(config: Config, dataset: DetectionDataset) -> AnchorRecall:
    """Return how well the config's anchors fit a data set at the sizes it is trained at."""
    return anchor_recall(
        dataset,
        anchor_generator=make_anchor_generator(config),
        input_policy=make_input_policy(config),
        sizes=config.image.jitter_sizes,
        positive_iou=config.anchors.positive_iou,
    )


def make_augmentation(config: Config) -> Augmentation:
    """Return the preset with the settings that take the place of its own."""
    return augmentation_of(**config.augment.model_dump())


def make_plan(config: Config, dataset: DetectionDataset) -> TrainingPlan:
    augmentation = make_augmentation(config)
    return TrainingPlan(
        heights=dataset.heights,
        widths=dataset.widths,
        input_policy=make_input_policy(config),
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        sizes=config.image.jitter_sizes,
        repeats=image_repeats(dataset, config.training.repeat_threshold),
        mosaic=augmentation.mosaic,
        mixup=augmentation.mixup,
    )


def make_batches(
    config: Config,
    dataset: DetectionDataset,
    plan: TrainingPlan,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Return the batches from a step on; under several workers, each makes its share alone."""
    stream = functools.partial(
        _stream, config, dataset, plan, first_epoch=first_epoch, first_step=first_step
    )
    if strategy is None or this_worker().count == 1:
        return stream()
    return strategy.distribute_datasets_from_function(
        lambda context: stream(
            worker=context.input_pipeline_id,
            num_workers=context.num_input_pipelines,
            images_per_batch=context.get_per_replica_batch_size(plan.batch_size),
        )
    )


def _stream(
    config: Config, dataset: DetectionDataset, plan: TrainingPlan, **place: Any
) -> tf.data.Dataset:
    return training_batches(
        dataset,
        plan,
        anchor_generator=make_anchor_generator(config),
        positive_iou=config.anchors.positive_iou,
        negative_iou=config.anchors.negative_iou,
        force_match=config.anchors.force_match,
        horizontal_flip=config.image.horizontal_flip,
        vertical_flip=config.image.vertical_flip,
        augmentation=make_augmentation(config),
        cache=make_cache(config, dataset),
        # A service is sent the plan of all epochs; without one, the stream need not end.
        num_epochs=(
            count_epochs(config.schedule, plan.steps_per_epoch)
            if config.training.data_service
            else None
        ),
        data_service=config.training.data_service,
        **place,
    )


def planned_files(
    config: Config, dataset: DetectionDataset, plan: TrainingPlan, epoch: int, step: int
) -> list[str] | None:
    """Return the image files of a batch; None of a data service's, whose order is its own."""
    if config.training.data_service is not None:
        return None
    return [dataset.image_paths[i] for i in plan.batch(epoch, step)]


def make_cache(config: Config, dataset: DetectionDataset) -> ImageCache | None:
    if config.training.cache == "memory":
        return MemoryCache(dataset)
    if config.training.cache == "disk":
        folder = config.training.cache_folder
        return DiskCache(dataset, Path(folder) if folder else default_folder())
    return None


def make_optimizer(config: Config, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the optimizer with its learning-rate schedule."""
    settings = config.optimizer
    common: dict[str, Any] = {
        "learning_rate": make_schedule(config, steps_per_epoch),
        "global_clipnorm": settings.clip_norm,
        "use_ema": settings.ema is not None,
        "ema_momentum": settings.ema or 0.0,
        "layer_rates": stage_rates(
            backbone_rate=settings.backbone_rate, layer_decay=settings.layer_decay
        ),
    }
    optimizer = OPTIMIZERS[settings.name](settings, common)
    return LossScaling(optimizer) if config.model.precision == "mixed_float16" else optimizer


def _sgd(settings: OptimizerConfig, common: dict) -> keras.optimizers.Optimizer:
    return SGDWithL2(momentum=settings.momentum, l2=settings.weight_decay, **common)


def _adamw(settings: OptimizerConfig, common: dict) -> keras.optimizers.Optimizer:
    return KernelAdamW(weight_decay=settings.weight_decay, **common)


OPTIMIZERS = {"sgd": _sgd, "adamw": _adamw}


def make_schedule(config: Config, steps_per_epoch: int) -> WarmupSchedule:
    """Return the learning-rate schedule in iterations.

    A warm-up that is longer than the training is said on stderr: the rate never gets to its value.
    """
    schedule, optimizer = config.schedule, config.optimizer
    unit = steps_per_epoch if schedule.unit == "epochs" else 1
    if schedule.warmup_iterations > schedule.length * unit:
        print(
            f"warning: schedule.warmup_iterations = {schedule.warmup_iterations} is longer than "
            f"the training of {schedule.length * unit} iterations: lower it, or raise "
            "schedule.length",
            file=sys.stderr,
        )
    scale = 1.0
    if optimizer.learning_rate_batch_size:
        scale = config.training.batch_size / optimizer.learning_rate_batch_size
    is_cosine = schedule.kind == "cosine"
    return WarmupSchedule(
        optimizer.learning_rate * scale,
        drops=() if is_cosine else [round(drop * unit) for drop in schedule.drops],
        factor=schedule.factor,
        cosine_length=schedule.length * unit if is_cosine else None,
        warmup_iterations=schedule.warmup_iterations,
        warmup_start=schedule.warmup_start,
    )


def resolve_jit_compile(config: Config, num_replicas: int) -> bool | Literal["auto"]:
    """Return what `compile` is to be told about XLA; "auto" leaves it to Keras: yes on a GPU.

    Raises:
        ConfigError: XLA is asked for, and images come in many sizes, or on several devices.
    """
    choice = config.training.jit_compile
    is_square = config.image.resize != "shorter_side"
    if choice == "auto":
        # A graph for XLA is compiled anew, for minutes, for every size of a batch's images.
        return "auto" if is_square and num_replicas == 1 else False
    if choice and not is_square:
        raise ConfigError(
            "training.jit_compile=true needs images of one size: image.resize=square, or leave it "
            "at auto"
        )
    if choice and num_replicas > 1:
        raise ConfigError(
            f"training.jit_compile=true does not go with {num_replicas} devices: leave it at auto"
        )
    return choice


def count_epochs(schedule: ScheduleConfig, steps_per_epoch: int) -> int:
    """Return the number of epochs; a last part of an epoch is made a whole one."""
    if schedule.unit == "epochs":
        return schedule.length
    return -(-schedule.length // steps_per_epoch)
