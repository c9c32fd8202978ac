"""What is given to compile, fit and predict out of habit."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_retinanet as kr
from keras_retinanet.losses import CIoULoss, DIoULoss, GIoULoss

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture
def model(make_tiny):
    return make_tiny(channels=8, head_depth=1)


def own_batches(model, make_batch, *names):
    images, targets = make_batch(model, [2, 1])
    return tf.data.Dataset.from_tensors((images, {name: targets[name] for name in names}))


@pytest.mark.parametrize(
    ("loss", "class_loss", "box_loss"),
    [
        (kr.FocalLoss(gamma=1.0), kr.FocalLoss, kr.SmoothL1),
        (GIoULoss(), kr.FocalLoss, GIoULoss),
        (DIoULoss(), kr.FocalLoss, DIoULoss),
        (CIoULoss(), kr.FocalLoss, CIoULoss),
        ({"class_logits": kr.FocalLoss(), "box_deltas": GIoULoss()}, kr.FocalLoss, GIoULoss),
    ],
)
def test_parts_of_the_loss_are_put_together(model, loss, class_loss, box_loss, tmp_path):
    model.compile("sgd", loss)
    assert type(model.loss.class_loss) is class_loss
    assert type(model.loss.box_loss) is box_loss
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras' for models that it does not compile
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.compiled and type(loaded.loss.box_loss) is box_loss
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", "a DetectionLoss, got 'mse': write loss="),
        (keras.losses.BinaryFocalCrossentropy(), "Keras' BinaryFocalCrossentropy does not: write"),
        ({"class_logits": "mse"}, "Keras' mse does not: write loss="),
        ({"boxes": kr.SmoothL1()}, "loss has boxes: the outputs are class_logits and box_deltas"),
    ],
)
def test_other_losses_are_told_what_to_write(model, loss, message):
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", loss)


def test_one_image_without_a_batch_axis_is_told(model):
    with pytest.raises(ValueError, match=r"got \[64, 64, 3\]: give image\[None\], or call detect"):
        model.predict(np.zeros((64, 64, 3), np.uint8), verbose=0)
    assert model.predict(np.zeros((1, 64, 64, 3), np.uint8), verbose=0)["box_deltas"].shape[0] == 1


def test_targets_without_matches_train_as_those_with(make_tiny, make_batch):
    losses = []
    for names in (("gt_boxes", "gt_labels", "matches"), ("gt_boxes", "gt_labels")):
        model = make_tiny(channels=8, head_depth=1)
        model.compile("sgd", kr.DetectionLoss())
        batches = own_batches(model, make_batch, *names)
        if len(names) == 2:
            history = model.fit(batches, validation_data=batches, verbose=0).history
            assert "val_loss" in history
        else:
            # `make_batch` forces matches, which `fit` does not.
            images, targets = next(iter(batches))
            targets["matches"] = next(iter(matched(model, batches)))[1]["matches"]
            batches = tf.data.Dataset.from_tensors((images, targets))
            history = model.fit(batches, verbose=0).history
        losses.append(history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def matched(model, batches):
    def one(images, targets):
        rows = [
            kr.make_targets(
                boxes[: int(tf.reduce_sum(tf.cast(labels >= 0, tf.int32)))],
                labels[labels >= 0],
                anchor_generator=model.anchor_generator,
                height=64,
                width=64,
                max_objects=2,
            )
            for boxes, labels in zip(targets["gt_boxes"], targets["gt_labels"], strict=True)
        ]
        return images, {name: tf.stack([row[name] for row in rows]) for name in rows[0]}

    return [one(*batch) for batch in batches]


def test_an_endless_stream_is_refused_without_a_number_of_steps(model, make_batch):
    model.compile("sgd", kr.DetectionLoss())
    batches = own_batches(model, make_batch, "gt_boxes", "gt_labels")
    with pytest.raises(ValueError, match=r"never end: give fit steps_per_epoch.*plan\.steps_per"):
        model.fit(batches.repeat(), verbose=0)
    model.fit(batches.repeat(), steps_per_epoch=1, verbose=0)
