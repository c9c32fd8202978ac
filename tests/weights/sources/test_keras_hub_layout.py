"""Files in KerasHub's layout, written by hand: every array has its place, without KerasHub."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.import_weights import import_weights
from tests.weights.keras_hub_detectors import BLOCKS, detector_config

NUM_CLASSES = 3
PYRAMID = "layers/retina_net_backbone/layers/feature_pyramid"
RESNET = "layers/retina_net_backbone/layers/functional/layers"


def layers_of_a_resnet18():
    """Return {place: (name, shapes of its weights)} of a detector whose heads have one layer."""
    layers = {}

    def put(place, name, *shapes):
        same = sum(other.rpartition("_")[0] == place or other == place for other in layers)
        layers[f"{place}_{same}" if same else place] = (name, shapes)

    def normed(name, side, inside, out):
        put(f"{RESNET}/conv2d", f"{name}_conv", (side, side, inside, out))
        put(f"{RESNET}/batch_normalization", f"{name}_bn", *[(out,)] * 4)

    normed("conv1", 7, 3, 64)
    inside = 64
    for stack in range(4):
        width = 64 * 2**stack
        for block in range(2):
            name = f"stack{stack}_block{block}"
            if inside != width:
                normed(f"{name}_0", 1, inside, width)
            normed(f"{name}_1", 3, inside, width)
            normed(f"{name}_2", 3, width, width)
            inside = width
    for level, width in ((3, 128), (4, 256), (5, 512)):
        shapes = ((1, 1, width, 256), (256,))
        put(f"{PYRAMID}/lateral_conv_layers/conv2d", f"lateral_conv_P{level}", *shapes)
    for name, width in (
        *((f"output_conv_P{level}", 256) for level in (3, 4, 5)),
        ("coarser_P6", 512),
        ("coarser_P7", 256),
    ):
        put(f"{PYRAMID}/output_conv_layers/conv2d", name, (3, 3, width, 256), (256,))
    for place, name, count in (
        ("layers/prediction_head", "box_head", 4),
        ("layers/prediction_head_1", "classification_head", NUM_CLASSES),
    ):
        layers[place] = (name, ())
        layers[f"{place}/conv_layers/conv2d"] = ("conv2d_0", ((3, 3, 256, 256),))
        layers[f"{place}/group_norm_layers/group_normalization"] = ("group_norm_0", [(256,)] * 2)
        shapes = ((3, 3, 256, 9 * count), (9 * count,))
        layers[f"{place}/prediction_layer"] = ("logits_layer", shapes)
    return layers


def write(path, layers, config, rng):
    """Write a .keras file, and return its arrays by the layers' places."""
    content, arrays = io.BytesIO(), {}
    with h5py.File(content, "w") as file:
        for place, (name, shapes) in layers.items():
            group = file.require_group(f"{place}/vars")
            group.attrs["name"] = name
            arrays[place] = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
            for i, value in enumerate(arrays[place]):
                group[str(i)] = value
        file["optimizer/vars/0"] = np.int64(7)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", content.getvalue())
    return arrays


@pytest.fixture
def config():
    config = detector_config()
    kind, blocks = BLOCKS[18]
    encoder = config["config"]["backbone"]["config"]["image_encoder"]["config"]
    encoder.update(block_type=kind, stackwise_num_blocks=blocks)
    config["config"].update(num_classes=NUM_CLASSES, pre_logits_num_conv_layers=1)
    return config


def test_every_array_is_taken(config, tmp_path):
    layers = layers_of_a_resnet18()
    arrays = write(tmp_path / "a.keras", layers, config, np.random.default_rng(0))
    imported = import_weights(tmp_path / "a.keras")
    assert imported.source == "keras-hub" and not imported.left_out
    assert imported.description == "KerasHub's RetinaNet, ResNet-18"
    assert imported.num_arrays == sum(map(len, arrays.values()))
    by_name = {name: arrays[place] for place, (name, _) in layers.items() if "head" not in place}
    model = imported.model
    for ours, theirs in (
        ("conv1_bn", "conv1_bn"),
        ("conv3_block1_0_conv", "stack1_block0_0_conv"),
        ("conv5_block2_2_bn", "stack3_block1_2_bn"),
        ("fpn_lateral_c4", "lateral_conv_P4"),
        ("fpn_output_p5", "output_conv_P5"),
        ("fpn_p6", "coarser_P6"),
        ("fpn_p7", "coarser_P7"),
    ):
        check(model.get_layer(ours), by_name[theirs])
    for ours, place in (
        ("box_head_conv_0", "layers/prediction_head/conv_layers/conv2d"),
        ("class_head_conv_0", "layers/prediction_head_1/conv_layers/conv2d"),
        (
            "class_head_norm_0",
            "layers/prediction_head_1/group_norm_layers/group_normalization",
        ),
        ("box_head_predictions", "layers/prediction_head/prediction_layer"),
        ("class_head_predictions", "layers/prediction_head_1/prediction_layer"),
    ):
        check(model.get_layer(ours), arrays[place])


def check(layer, theirs):
    for ours, expected in zip(layer.get_weights(), theirs, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: x.pop("layers/prediction_head/prediction_layer"),
            "box_head.logits_layer.kernel",
        ),
        (lambda x: x.update(more=("stack0_block2_1_conv", [(2,)])), "block2_1_conv.kernel is no"),
        (
            lambda x: x.update({f"{PYRAMID}/more": ("coarser_P7", [(2,)])}),
            r"coarser_P7\.kernel is there twice",
        ),
        (
            lambda x: x.update({f"{RESNET}/conv2d": ("conv1_conv", [(3, 3, 3, 64)])}),
            r"conv1_conv\.kernel is \(3, 3, 3, 64\), which does not fit \(7, 7, 3, 64\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(config, tmp_path, change, message):
    layers = layers_of_a_resnet18()
    change(layers)
    write(tmp_path / "a.keras", layers, config, np.random.default_rng(0))
    with pytest.raises(WeightsError, match=rf"a\.keras: .*{message}") as caught:
        import_weights(tmp_path / "a.keras")
    assert "\n" not in str(caught.value)
