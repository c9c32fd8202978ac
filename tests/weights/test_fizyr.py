"""fizyr's files: training and inference models and weights alone; older ones are refused."""

import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.weights.import_weights import import_weights
from tests.weights.fizyr_network import config_of, random_arrays, write_h5


@pytest.fixture(scope="module")
def layers():
    return random_arrays(3, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["training", "inference", "weights"])
def test_every_array_is_taken(layers, tmp_path, kind):
    file = write_h5(tmp_path / "resnet50_csv_01.h5", layers, kind=kind)
    imported = import_weights(file, class_names=["a", "b", "c"])
    assert imported.description == "fizyr's RetinaNet, ResNet-50"
    assert imported.num_arrays == sum(len(weights) for weights in layers.values())
    assert not imported.left_out
    model = imported.model
    for ours, theirs in (
        ("conv4_block6_2_conv", "res4f_branch2b"),
        ("conv2_block1_0_conv", "res2a_branch1"),
        ("fpn_lateral_c4", "C4_reduced"),
        ("class_head_conv_3", "pyramid_classification_3"),
    ):
        np.testing.assert_array_equal(
            model.get_layer(ours).kernel.numpy(), layers[theirs]["kernel"]
        )
    assert model.box_coder == BoxCoder("corner", variances=(0.2,) * 4)
    # A convolution of this ResNet has a bias, and theirs has none.
    assert not np.any(model.get_layer("conv4_block6_2_conv").bias.numpy())


def test_blocks_of_deep_networks_are_numbered(tmp_path):
    layers = random_arrays(2, np.random.default_rng(0), depth=101)
    file = write_h5(tmp_path / "resnet101.h5", layers, kind="weights")
    model = import_weights(file, source="fizyr").model
    for ours, theirs in (
        ("conv4_block23_3_conv", "res4b22_branch2c"),
        ("conv3_block2_1_conv", "res3b1_branch2a"),
        ("conv5_block3_1_conv", "res5c_branch2a"),
    ):
        np.testing.assert_array_equal(
            model.get_layer(ours).kernel.numpy(), layers[theirs]["kernel"]
        )


def without(layers, *names):
    return {name: weights for name, weights in layers.items() if name not in names}


def with_classes(layers, count):
    head = {"kernel": np.zeros((3, 3, 256, 9 * count), "f4"), "bias": np.zeros(9 * count, "f4")}
    return layers | {"pyramid_classification": head}


@pytest.mark.parametrize(
    ("name", "config", "change", "message"),
    [
        ("resnet50_coco_best_v2.0.1.h5", None, None, "version 2.0 code boxes in another way"),
        ("a.h5", config_of(std=(0.1, 0.1, 0.2, 0.2)), None, "std .0.1, 0.1, 0.2, 0.2. and mean"),
        ("a.h5", config_of(sizes=(16, 32, 64, 128, 256)), None, "anchors of its own"),
        ("a.h5", {"config": {"layers": [3]}}, None, "its config is damaged"),
        ("a.h5", None, lambda x: without(x, "C5_reduced"), "a version before 2.1.0"),
        ("a.h5", None, lambda x: without(x, "P7", "bn_conv1"), "bn_conv1.gamma is missing; P7.ker"),
        ("a.h5", None, lambda x: x | {"P8": x["P7"]}, "P8.bias is no part of it; P8.kernel is no"),
        ("a.h5", None, lambda x: x | {"P7": x["P6"]}, r"P7.kernel is \(3, 3, 2048, 256\), which"),
        ("a.h5", None, lambda x: with_classes(x, 81), "81 outputs: with a background"),
        (
            "a.h5",
            None,
            lambda x: without(x, *(name for name in x if "res4f" in name)),
            "no ResNet of 50, 101 or 152 layers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(layers, tmp_path, name, config, change, message):
    changed = change(layers) if change else layers
    file = write_h5(tmp_path / name, changed, config=config)
    with pytest.raises(WeightsError, match=f"{name}.*{message}") as caught:
        import_weights(file)
    assert "\n" not in str(caught.value)
