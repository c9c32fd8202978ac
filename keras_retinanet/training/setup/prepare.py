"""All that a training is made of, put together in one place for train, finders and experiments."""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError
from keras_retinanet.models.checkpoint_files import Checkpoint
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.workers import Worker, this_worker
from keras_retinanet.training.fine_tuning import TransferReport, load_source, take_weights
from keras_retinanet.training.narrow_batches import refuse_narrow_batches
from keras_retinanet.training.setup.input_batches import (
    make_batches,
    make_plan,
    planned_files,
    training_images,
)
from keras_retinanet.training.setup.model_and_loss import build_model, make_loss
from keras_retinanet.training.setup.optimization import (
    count_epochs,
    make_optimizer,
    resolve_jit_compile,
)
from keras_retinanet.training.step import accumulate_gradients, fit_on_workers
from keras_retinanet.training.strategies import make_strategy


@dataclass(frozen=True)
class Setup:
    """A training before its first step.

    Attributes:
        plan: which images make up each batch.
        model: compiled; with a checkpoint, its arrays have yet to be put into it.
        checkpoint: what the training goes on from; None: it begins.
        transfer: what was taken over from `model.init_from`, if anything was.
    """

    config: Config
    train_set: DetectionDataset
    strategy: tf.distribute.Strategy
    worker: Worker
    plan: TrainingPlan
    model: RetinaNet
    checkpoint: Checkpoint | None = None
    transfer: TransferReport | None = None

    @property
    def num_epochs(self) -> int:
        return count_epochs(self.config.schedule, self.plan.steps_per_epoch)

    def batches(self, epoch: int = 0, step: int = 0) -> Any:
        """Return the stream of batches from a step of an epoch on."""
        return make_batches(
            self.config,
            self.train_set,
            self.plan,
            first_epoch=epoch,
            first_step=step,
            strategy=self.strategy,
        )

    def batch_files(self, epoch: int, step: int) -> list[str] | None:
        """Return the image files of a batch; None if their order is not known (data service)."""
        return planned_files(self.config, self.train_set, self.plan, epoch, step)


def prepare(
    config: Config, train_set: DetectionDataset, *, checkpoint: Checkpoint | None = None
) -> Setup:
    """Return a training's parts. It is to be called before anything else of TensorFlow runs.

    Raises:
        ConfigError: the batch cannot be split over the devices; what the config asks for is not
            there; bfloat16 on a CPU with batches too narrow for it.
        WeightsError: weights to begin from cannot be had, or do not fit.
    """
    strategy = make_strategy(config.training.strategy, tpu=config.training.tpu)
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    _refuse_uneven_batches(config, strategy.num_replicas_in_sync)
    train_set = training_images(config, train_set)
    plan = make_plan(config, train_set)
    _refuse_narrow_batches(config, train_set, plan)
    source = _source(config) if checkpoint is None else None
    model = compiled_model(
        config,
        train_set.class_names,
        steps_per_epoch=plan.steps_per_epoch,
        strategy=strategy,
        checkpoint=checkpoint,
        source=source,
    )
    transfer = None if source is None else take_weights(model, source)
    return Setup(config, train_set, strategy, this_worker(), plan, model, checkpoint, transfer)


def compiled_model(
    config: Config,
    class_names: tuple[str, ...],
    *,
    steps_per_epoch: int,
    strategy: tf.distribute.Strategy,
    checkpoint: Checkpoint | None = None,
    source: RetinaNet | None = None,
) -> RetinaNet:
    """Return the config's model, ready for `fit`: with its loss, its optimizer and its step."""
    with strategy.scope():
        model = build_model(without_other_weights(config, checkpoint, source), class_names)
        model.compile(
            optimizer=make_optimizer(config, steps_per_epoch),
            loss=make_loss(config),
            jit_compile=resolve_jit_compile(config, strategy.num_replicas_in_sync),
        )
        # Its variables have to be there to be restored.
        model.optimizer.build(model.trainable_variables)
    if config.training.accumulate > 1:
        accumulate_gradients(model, config.training.accumulate)
    if this_worker().count > 1:
        fit_on_workers(model)
    return model


def without_other_weights(
    config: Config, checkpoint: Checkpoint | None = None, source: RetinaNet | None = None
) -> Config:
    """Return the config of a model whose weights come from elsewhere: none are to be had for it.

    Args:
        source: the model of `model.init_from`, where it is loaded already.
    """
    changes: dict[str, Any] = {}
    if checkpoint is not None or config.model.init_from:
        changes["weights"] = "none"
    if changes and config.model.batchnorm == "auto":
        # What "auto" was when the weights were had.
        if checkpoint is not None:
            changes["batchnorm"] = checkpoint.state["model"]["batchnorm"]
        elif source := source or _source(config):
            changes["batchnorm"] = source.batchnorm
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def _source(config: Config) -> RetinaNet | None:
    """Return the model that the config begins from."""
    return load_source(config.model.init_from) if config.model.init_from else None


def _refuse_uneven_batches(config: Config, num_replicas: int) -> None:
    if config.training.batch_size % (num_replicas * config.training.accumulate):
        accumulated = " times training.accumulate" if config.training.accumulate > 1 else ""
        raise ConfigError(
            f"training.batch_size = {config.training.batch_size} must be a multiple of the "
            f"{num_replicas} devices{accumulated}"
        )


def _refuse_narrow_batches(config: Config, train_set: DetectionDataset, plan: TrainingPlan) -> None:
    on_cpu = not tf.config.list_logical_devices("GPU") and config.training.strategy != "tpu"
    if config.model.precision == "mixed_bfloat16" and on_cpu:
        num_epochs = count_epochs(config.schedule, plan.steps_per_epoch)
        refuse_narrow_batches(plan, train_set.image_paths, num_epochs=num_epochs)
