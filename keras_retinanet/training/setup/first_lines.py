"""What a training says before its first step: the device, and how long it is."""

import os
from pathlib import Path

import tensorflow as tf

from keras_retinanet.training.setup.prepare import Setup


def first_lines(setup: Setup, *, has_val: bool) -> list[str]:
    """Return the lines."""
    return [_devices(setup.strategy.num_replicas_in_sync), _length(setup, has_val=has_val)]


def _devices(num_replicas: int) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"device: the processor, {os.cpu_count()} cores; no GPU: {why_no_gpu()}"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    named = ", ".join(name or gpu.name for name, gpu in zip(names, gpus, strict=True))
    shared = f"; batches are shared out over {num_replicas}" if num_replicas > 1 else ""
    return f"device: {len(gpus)} GPU ({named}){shared}"


def why_no_gpu() -> str:
    """Return why TensorFlow sees no GPU, as far as that can be told, and what to do."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides all"
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built without CUDA: pip install 'tensorflow[and-cuda]'"
    if not Path("/dev/nvidiactl").exists():
        return "the system has no NVIDIA driver"
    return "TensorFlow does not find CUDA's libraries: pip install 'tensorflow[and-cuda]'"


def _length(setup: Setup, *, has_val: bool) -> str:
    config, num_steps = setup.config, setup.num_epochs * setup.plan.steps_per_epoch
    tiles = f" tiles of {config.image.tile.size} px" if config.image.tile else ""
    parts = [
        f"images: {len(setup.train_set):,}{tiles}; epochs: {setup.num_epochs:,}; steps: "
        f"{num_steps:,} in batches of {config.training.batch_size}"
    ]
    rate, meant_for = config.optimizer.learning_rate, config.optimizer.learning_rate_batch_size
    if meant_for and meant_for != config.training.batch_size:
        scaled = rate * config.training.batch_size / meant_for
        parts.append(f"learning rate {scaled:.3g}, {rate:g} for {meant_for} images scaled")
    if has_val and config.training.evaluate_every_steps is None:
        parts.append(f"epochs between evaluations: {config.training.evaluate_every}")
    if config.early_stopping.monitor is not None:
        parts.append(
            f"early stopping by {config.early_stopping.monitor}, patience "
            f"{config.early_stopping.patience}"
        )
    return "; ".join(parts)
