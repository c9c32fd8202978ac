"""From the config to the optimizer, its learning rates and the length of a training."""

import logging
from typing import Any, Literal

import keras

from keras_retinanet.config.schema import Config, OptimizerConfig, ScheduleConfig
from keras_retinanet.errors import ConfigError
from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.layer_rates import stage_rates
from keras_retinanet.optimizers.schedules import WarmupSchedule
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2

logger = logging.getLogger(__name__)

# COCO's 90,000 iterations are 12 epochs; from here on a length was hardly meant for the data.
MANY_EPOCHS = 200


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

    A warm-up that is longer than the training is a warning: the rate never gets to its value.
    """
    schedule, optimizer = config.schedule, config.optimizer
    unit = steps_per_epoch if schedule.unit == "epochs" else 1
    if schedule.warmup_iterations > schedule.length * unit:
        logger.warning(
            "schedule.warmup_iterations = %d is longer than the training of %d iterations: lower "
            "it, or raise schedule.length",
            schedule.warmup_iterations,
            schedule.length * unit,
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


def warn_of_length(schedule: ScheduleConfig, steps_per_epoch: int, num_images: int) -> None:
    """Warn if a length in iterations is very many epochs of this data, and say what to set."""
    num_epochs = count_epochs(schedule, steps_per_epoch)
    if schedule.unit == "iterations" and num_epochs > MANY_EPOCHS:
        drops = " 'schedule.drops=[8,11]'" if schedule.kind == "step" else ""
        logger.warning(
            "schedule.length = %s iterations are %s epochs of your %s images: for few images take "
            "the config bccd_r18, or set schedule.unit=epochs schedule.length=12%s",
            f"{schedule.length:,}",
            f"{num_epochs:,}",
            f"{num_images:,}",
            drops,
        )
