"""Models of other projects: every array has its place, and what does not fit is refused."""

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_retinanet.cli.app import app
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.weights.import_weights import import_weights
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from tests.models.torch_networks import (
    NUM_CLASSES,
    import_torchvision,
    our_model,
    torchvision_model,
)
from tests.weights.reference_networks import DETECTRON2, MMDETECTION, random_arrays
from tests.weights.torch_writer import write_torch


@pytest.fixture(scope="module")
def detectron2():
    """Arrays of a model of COCO's classes."""
    return random_arrays(DETECTRON2, 80, np.random.default_rng(0))


def test_coco_has_80_classes_with_gaps():
    assert len(COCO_CLASSES) == 80
    assert [COCO_CLASSES[i] for i in (1, 13, 44, 90)] == [
        "person",
        "stop sign",
        "bottle",
        "toothbrush",
    ]
    assert {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}.isdisjoint(COCO_CLASSES)


def test_detectron2_takes_every_array(detectron2, tmp_path):
    file = write_torch(tmp_path / "model.pth", detectron2, wrap=lambda state: {"model": state})
    imported = import_weights(file)
    model = imported.model
    assert imported.source == "detectron2"
    assert imported.num_arrays == len(detectron2) and not imported.left_out
    assert model.class_names == tuple(COCO_CLASSES.values())
    assert model.anchor_generator.order == "scale" and model.anchor_generator.offset == 0
    kernel = model.get_layer("conv3_block2_2_conv").kernel.numpy()
    theirs = detectron2["backbone.bottom_up.res3.1.conv2.weight"]
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))
    shortcut = model.get_layer("conv2_block1_0_bn").moving_variance.numpy()
    theirs = detectron2["backbone.bottom_up.res2.0.shortcut.norm.running_var"]
    np.testing.assert_array_equal(shortcut, theirs)


@pytest.mark.parametrize("depth", [50, 101])
def test_mmdetection_takes_every_array(tmp_path, depth):
    arrays = random_arrays(MMDETECTION, 3, np.random.default_rng(0), depth)
    arrays["backbone.bn1.num_batches_tracked"] = np.array(7, np.int64)
    meta = {"mmdet_version": "2.25.0", "config": "style='pytorch'"}
    file = write_torch(
        tmp_path / "model.pth", arrays, wrap=lambda state: {"meta": meta, "state_dict": state}
    )
    imported = import_weights(file, class_names=["a", "b", "c"])
    assert imported.description == f"mmdetection's RetinaNet, ResNet-{depth}"
    assert imported.num_arrays == len(arrays) - 1
    assert imported.left_out == ("backbone.bn1.num_batches_tracked",)
    kernel = imported.model.get_layer("conv4_block6_2_conv").kernel.numpy()
    theirs = arrays["backbone.layer3.5.conv2.weight"]
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"mmdet_version": "1.2.0+abc"}, r"mmdetection 1\.2\.0\+abc, whose anchors"),
        ({"mmdet_version": "2.3.0", "config": "norm_eval=True,\n style='caffe',"}, "style caffe"),
        ({"cfg": 'style = "caffe"'}, "style caffe"),
    ],
)
def test_mmdetection_s_other_networks_are_refused(tmp_path, meta, message):
    arrays = random_arrays(MMDETECTION, 3, np.random.default_rng(0))
    file = write_torch(
        tmp_path / "model.pth", arrays, wrap=lambda state: {"meta": meta, "state_dict": state}
    )
    with pytest.raises(WeightsError, match=message):
        import_weights(file)


def saved(reference, path, *, frozen):
    import torch

    state = reference.state_dict()
    if frozen:  # as the published files have it
        state = {k: v for k, v in state.items() if "num_batches" not in k}
    torch.save(state, path)
    return path


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_torchvision(version, tmp_path):
    import_torchvision()
    reference = torchvision_model(version)
    file = saved(reference, tmp_path / "a.pth", frozen=version == "v1")
    names = [f"class {i}" for i in range(NUM_CLASSES)]
    imported = import_weights(file, class_names=names)
    expected = our_model(version, reference)  # which detects what torchvision's does
    for ours, theirs in zip(imported.model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for part in ("anchor_generator", "inference", "variant", "box_coder"):
        assert getattr(imported.model, part) == getattr(expected, part)
    policy = imported.model.input_policy
    assert (policy.size, policy.max_size) == (800, 1333)
    assert policy.pixels == "float32" and policy.rounding == "floor"
    assert len(imported.left_out) == (0 if version == "v1" else 53)


def test_torchvision_s_91_outputs_and_old_names(tmp_path):
    """80 of them are classes; files of before 0.13 have other names."""
    tv = import_torchvision()
    import torch

    torch.manual_seed(0)
    reference = tv.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=91
    )
    state = {k: v for k, v in reference.state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "new.pth")
    imported = import_weights(tmp_path / "new.pth")
    assert imported.model.class_names == tuple(COCO_CLASSES.values())
    theirs = state["head.classification_head.cls_logits.bias"].numpy().reshape(9, 91)
    ours = imported.model.get_layer("class_head_predictions").bias.numpy().reshape(9, 80)
    np.testing.assert_array_equal(ours, theirs[:, list(COCO_CLASSES)])
    old = {}
    for name, value in state.items():
        for block in ("inner_blocks", "layer_blocks"):
            for i in range(3):
                name = name.replace(f"{block}.{i}.0.", f"{block}.{i}.")
        for i in (3, 2, 1, 0):
            name = name.replace(f"_head.conv.{i}.0.", f"_head.conv.{2 * i}.")
        old[name] = value
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    again = import_weights(tmp_path / "old.pth").model
    for ours, theirs in zip(again.get_weights(), imported.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def changed(arrays, **changes):
    """Return the arrays with some changed; None takes one away. "__" stands for "."."""
    result = dict(arrays)
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del result[name]
        else:
            result[name] = value
    return result


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head__bbox_pred__bias": None}, r"head\.bbox_pred\.bias is missing"),
        ({"head__bbox_pred__more": np.ones(2, "f4")}, r"head\.bbox_pred\.more is no part of it"),
        (
            {"head__bbox_pred__bias": np.ones(35, "f4")},
            r"head\.bbox_pred\.bias is \(35,\), which does not fit \(36,\)",
        ),
        (
            {
                "head__cls_score__weight": np.ones((9 * 81, 256, 3, 3), "f4"),
                "head__cls_score__bias": np.ones(9 * 81, "f4"),
            },
            "81 outputs: with a background",
        ),
        ({"head__cls_score__weight": None}, "no RetinaNet of torchvision, detectron2"),
    ],
)
def test_what_does_not_fit_is_refused(detectron2, tmp_path, changes, message):
    file = write_torch(tmp_path / "a.pth", changed(detectron2, **changes))
    with pytest.raises(WeightsError, match=rf"a\.pth.*{message}"):
        import_weights(file)


def test_another_project_s_file_is_refused(detectron2, tmp_path):
    file = write_torch(tmp_path / "a.pth", detectron2)
    with pytest.raises(WeightsError, match="no RetinaNet of torchvision: its arrays are "):
        import_weights(file, source="torchvision")
    with pytest.raises(WeightsError, match="source must be auto or one of"):
        import_weights(file, source="darknet")
    with pytest.raises(WeightsError, match="80 classes, and 2 names"):
        import_weights(file, class_names=["a", "b"])


def test_the_command_writes_a_model(detectron2, tmp_path):
    file = write_torch(tmp_path / "a.pth", detectron2)
    output = tmp_path / "model.keras"
    result = CliRunner().invoke(
        app, ["weights", "import", str(file), "--output", str(output)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "Detectron2's RetinaNet, ResNet-50, 80 classes" in result.output
    loaded = keras.models.load_model(output)
    assert isinstance(loaded, RetinaNet) and loaded.class_names[0] == "person"
    again = CliRunner().invoke(app, ["weights", "import", str(file), "--output", str(output)])
    assert again.exit_code != 0 and "is there already" in str(again.exception)
