"""What `fit` does with a batch, where Keras falls short: gradient accumulation under replicas, and
several workers. TensorFlow."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.private_names import skip_symbolic_build
from keras_retinanet.system.replicas import num_replicas


def accumulate_gradients(model: RetinaNet, parts: int) -> None:
    """Make `model.fit` take each replica's batch in `parts`, one after the other, for one update.

    The update, the loss and the learning-rate schedule are those of the whole batch: its positives
    are counted before the first part. What a part needs of memory is all that is needed. Unlike
    Keras' `gradient_accumulation_steps` this works under a strategy. Trained (not frozen)
    BatchNorm sees the parts one by one, and so does a loss that mines its anchors (OHEM).

    Call it after `compile`; each replica's batch must be a multiple of `parts`.
    """

    def train_step(data: Any) -> dict[str, Tensor]:
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        weights = model.loss.image_weights(_matches(model, images, targets, parts))
        variables = model.trainable_weights
        gradients: list[Tensor] = []
        total = 0.0
        for part in zip(*(_split(x, parts) for x in (images, targets, weights)), strict=True):
            # A part waits for the one before: all at once would need the whole batch's memory.
            with tf.control_dependencies(gradients):
                part_images, part_targets, part_weights = tf.nest.map_structure(tf.identity, part)
            with tf.GradientTape() as tape:
                loss = model.compute_loss(
                    part_images,
                    part_targets,
                    model(part_images, training=True),
                    sample_weight=part_weights,
                )
                scaled = model.optimizer.scale_loss(loss)
            new = tape.gradient(scaled, variables)
            gradients = [a + b for a, b in zip(gradients, new, strict=True)] if gradients else new
            total += loss
        model.update_loss(total * num_replicas(), num_images=tf.shape(images)[0])
        model.optimizer.apply(gradients, variables)
        return model.get_metrics_result()

    model.num_parts = parts
    model.train_step = train_step


def _matches(model: RetinaNet, images: Tensor, targets: dict, parts: int) -> Tensor:
    """Return the matches of a whole batch, whose positives are counted before its first part.

    Matching by outputs needs a pass forward of its own, which leaves nothing behind.
    """
    if not isinstance(model.loss, TaskAlignedDetectionLoss):
        return targets["matches"]
    state = [(v, tf.identity(v.value)) for v in model.non_trainable_variables]
    matches: list[Tensor] = []
    for part_images, part_targets in zip(_split(images, parts), _split(targets, parts)):
        with tf.control_dependencies(matches):
            part_images = tf.identity(part_images)
        matches.append(
            model.loss.matching(
                part_targets,
                model(part_images, training=True),
                anchors=model.anchor_generator(*tf.unstack(tf.shape(part_images)[1:3])),
                box_coder=model.box_coder,
            )
        )
    with tf.control_dependencies(matches):  # averages of BatchNorm, seeds of dropout
        for variable, value in state:
            variable.assign(value)
    return tf.concat(matches, axis=0)


def _split(values: Any, parts: int) -> list:
    """Return the rows of a structure of tensors in `parts` of equal size."""
    split = tf.nest.map_structure(lambda v: tf.split(v, parts), values)
    if not isinstance(split, dict):
        return split
    return [{name: rows[i] for name, rows in split.items()} for i in range(parts)]


def fit_on_workers(model: RetinaNet) -> None:
    """Make `model.fit` work under MultiWorkerMirroredStrategy.

    Keras 3.15 fails there at two places: it builds models from a batch reduced over the workers,
    which a built model does not need; and it reduces a step's scalar outputs along their first
    dimension, which they have not.
    """
    model.optimizer.build(model.trainable_variables)
    skip_symbolic_build(model)
    model.train_step = _with_a_dimension(model.train_step)


def _with_a_dimension(train_step: Callable) -> Callable:
    def step(data: Any) -> dict[str, Tensor]:
        return {name: tf.reshape(value, (1,)) for name, value in train_step(data).items()}

    return step
