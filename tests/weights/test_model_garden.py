"""Model Garden's checkpoints: the imported model computes and finds what the network there does."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_retinanet.cli.app import app
from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.import_weights import import_weights
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from tests.weights.model_garden_network import (
    VALUE,
    anchors_of,
    forward,
    random_arrays,
    write_checkpoint,
)
from tests.weights.parity_checks import assert_close, assert_same_objects, pictures
from tests.weights.reference_detections import centre_decoded, detections_of

MEAN = (123.675, 116.28, 103.53)
IDS = list(COCO_CLASSES)


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(91, np.random.default_rng(0))


@pytest.fixture(scope="module")
def checkpoint(arrays, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("files") / "ckpt-33264", arrays)


@pytest.fixture(scope="module")
def model(checkpoint, arrays):
    imported = import_weights(checkpoint)
    assert imported.source == "model-garden"
    assert imported.description == "Model Garden's RetinaNet, ResNet-50"
    assert imported.num_arrays == len(arrays) and imported.left_out == ("save_counter",)
    assert imported.model.class_names == tuple(COCO_CLASSES.values())
    return imported.model


def outputs_of(arrays, canvas):
    """Return P3 ... P7, deltas (x, y, width, height) and logits of the 80 classes."""
    levels, deltas, logits = forward(arrays, canvas)
    return levels, deltas[..., [1, 0, 3, 2]], logits[..., IDS]


def on_canvas(images, sides):
    """Return images at the top left of canvases of the mean, which is 0 to the network."""
    canvas = np.tile(np.float32(MEAN), (len(images), *sides, 1))
    canvas[:, : images.shape[1], : images.shape[2]] = images
    return canvas


@pytest.mark.parametrize(("size", "sides"), [((256, 384), (256, 384)), ((427, 640), (512, 640))])
def test_pyramid_logits_deltas_and_anchors(arrays, model, size, sides):
    """Model Garden takes sides of whole 128s only: an odd image is padded for both."""
    levels = [model.get_layer(f"fpn_norm_p{level}").output for level in range(3, 8)]
    outputs = [model.output[name] for name in ("box_deltas", "class_logits")]
    network = keras.Model(model.input, [*levels, *outputs])
    batch = on_canvas(pictures(size, 2), sides)
    levels, deltas, logits = outputs_of(arrays, batch)
    assert np.std(logits) > 0.1 and np.std(deltas) > 0.05
    for count in (1, 2):
        for ours, theirs in zip(network(batch[:count]), [*levels, deltas, logits], strict=True):
            assert_close(ours, theirs[:count])
    anchors = np.concatenate(anchors_of(sides))
    np.testing.assert_allclose(model.anchor_generator(*sides), anchors, rtol=0, atol=1e-4)


def test_detections_alone_and_in_a_batch(arrays, model, iou_by_loops):
    policy = model.input_policy
    assert (policy.resize, policy.size) == ("square", 640)
    images, size = pictures((427, 640), 2), (427, 640)
    canvas, anchors = on_canvas(images, (640, 640)), anchors_of((640, 640))
    _, deltas, logits = outputs_of(arrays, canvas)
    for i, found in enumerate(model.detect([*images])):
        expected = detections_of(
            logits[i],
            deltas[i],
            anchors,
            size,
            decoded=centre_decoded,
            clip="before_nms",
            drop_empty=False,
            max_detections=100,
            top_k=None,
        )
        for ours in (found, model.detect(images[i])):
            assert_same_objects(ours, expected, iou_by_loops, most=100)


def test_any_of_a_checkpoint_s_names_will_do(checkpoint, model):
    names = [f"{checkpoint}.index", f"{checkpoint}.data-00000-of-00001", checkpoint.parent]
    for name in names:
        again = import_weights(name, source="model-garden").model
        kernel = again.get_layer("box_head_predictions").kernel.numpy()
        np.testing.assert_array_equal(
            kernel, model.get_layer("box_head_predictions").kernel.numpy()
        )


def test_a_training_s_checkpoint_and_classes_of_one_s_own(tmp_path):
    """The model has a name there, and an optimizer beside it; the first output is background."""
    arrays = random_arrays(4, np.random.default_rng(1))
    slots = [
        (f"model/head/_classifier/bias/.OPTIMIZER_SLOT/optimizer/momentum{VALUE}", np.ones(36)),
        (f"optimizer/learning_rate{VALUE}", np.float32(0.1)),
        (f"global_step{VALUE}", np.int64(72)),
    ]
    prefix = write_checkpoint(tmp_path / "ckpt-1", arrays, top="model/", more=slots)
    imported = import_weights(prefix, class_names=["a", "b", "c"])
    assert imported.num_arrays == len(arrays)
    assert sorted(imported.left_out) == ["global_step", "save_counter"]
    bias = arrays["head/_classifier/bias"].reshape(9, 4)[:, 1:]
    ours = imported.model.get_layer("class_head_predictions").bias.numpy()
    np.testing.assert_array_equal(ours.reshape(9, 3), bias)
    assert import_weights(prefix).model.class_names == ("0", "1", "2")
    with pytest.raises(WeightsError, match="it has 3 classes, and 4 names were given"):
        import_weights(prefix, class_names=["background", "a", "b", "c"])


def without(arrays, *parts):
    return {n: a for n, a in arrays.items() if not any(part in n for part in parts)}


def with_shape(arrays, name, *shape):
    return arrays | {name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: without(a, "weights-7/kernel"), "coarser_7.kernel is missing; coarser_7.bias"),
        (lambda a: without(a, "_norms/2/1/"), "_norms/2/1.gamma is missing; head/_cls_norms/2/1"),
        (lambda a: without(a, "weights-17/"), "no ResNet of 50, 101 or 152 layers"),
        (lambda a: without(a, "weights-9/_shortcut"), "no ResNet of 50, 101 or 152 layers"),
        (lambda a: a | {"head/x/kernel": np.ones(3, "f4")}, "head/x.kernel is no part of it"),
        (
            lambda a: with_shape(a, "decoder/layer_with_weights-1/kernel", 1, 1, 2048, 256),
            r"lateral_4\.kernel is \(1, 1, 2048, 256\), which does not fit \(1, 1, 1024, 256\)",
        ),
        (
            lambda a: with_shape(a, "head/_box_regressor/kernel", 3, 3, 256, 35),
            r"_box_regressor\.kernel is \(3, 3, 256, 35\), which does not fit",
        ),
        (lambda a: without(a, "_classifier"), "no RetinaNet of torchvision, detectron2"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    arrays = random_arrays(3, np.random.default_rng(0))
    prefix = write_checkpoint(tmp_path / "ckpt-1", change(arrays))
    with pytest.raises(WeightsError, match=f"ckpt-1: .*{message}") as caught:
        import_weights(prefix)
    assert "\n" not in str(caught.value)


def test_the_command_writes_a_model(checkpoint, tmp_path):
    output = tmp_path / "model.keras"
    command = ["weights", "import", str(checkpoint), "--from", "model-garden", "--json"]
    result = CliRunner().invoke(app, [*command, "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["source"] == "Model Garden's RetinaNet, ResNet-50" and told["classes"] == 80
    loaded = keras.models.load_model(output)
    assert loaded.variant.head_norm == "batch" and loaded.box_coder.max_size_ratio is not None
    missing = [*command[:2], str(tmp_path / "ckpt-2"), *command[3:]]
    again = CliRunner().invoke(app, [*missing, "--output", str(tmp_path / "b.keras")])
    assert again.exit_code != 0 and "there is no file" in str(again.exception)


def test_other_settings_of_the_file_s_network(model):
    assert model.variant == dataclasses.replace(
        type(model.variant)(),
        batchnorm_epsilon=1e-3,
        padding="same",
        fpn_norm="batch",
        head_norm="batch",
        head_norm_epsilon=1e-3,
        p6_from="p5",
    )
