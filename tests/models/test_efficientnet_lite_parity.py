"""EfficientNet-Lite0 with the values of the PyTorch original gives its features."""

import keras
import numpy as np
import pytest

from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.variant import NetworkVariant, PixelScaling

# The original's blocks whose outputs are C3, C4 and C5.
LAST_BLOCKS = (4, 10, 15)
STAGES = {1: 1, 2: 2, 3: 2, 4: 6, 5: 5}
SIZE = (224, 320)


@pytest.fixture(scope="module")
def original():
    torch = pytest.importorskip("torch", reason="pip install torch")
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch"
    )
    torch.manual_seed(0)
    model = package.EfficientNet.from_name("efficientnet-lite0")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 1.0)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def torch_values(state, conv, norm, *, depthwise):
    kernel = np.transpose(state[f"{conv}.weight"], (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    parts = ("weight", "bias", "running_mean", "running_var")
    return [kernel], [state[f"{norm}.{part}"] for part in parts]


def test_features_are_the_originals(original):
    import torch

    images = keras.Input((None, None, 3))
    plain = NetworkVariant(pixel_scaling=PixelScaling())  # the original takes scaled pixels
    maps = build_backbone(
        "efficientnet_lite0", images, weights=None, batchnorm="auto", variant=plain
    )
    model = keras.Model(images, maps)
    state = {name: value.numpy() for name, value in original.state_dict().items()}
    names = {"conv1": ("_conv_stem", "_bn0")}
    blocks = [f"conv{stage}_block{i + 1}" for stage, n in STAGES.items() for i in range(n)]
    for i, block in enumerate(blocks):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if i > 0 or part != "expand":
                prefix = f"_blocks.{i}."
                names[f"{block}_{part}"] = (f"{prefix}_{part}_conv", f"{prefix}{norm}")
    set_layers = set()
    for name, (conv, norm) in names.items():
        is_depthwise = name.endswith("depthwise")
        kernel, statistics = torch_values(state, conv, norm, depthwise=is_depthwise)
        for layer, values in ((f"{name}_conv", kernel), (f"{name}_bn", statistics)):
            model.get_layer(layer).set_weights(values)
            set_layers.add(layer)
    assert set_layers == {layer.name for layer in model.layers if layer.weights}

    pixels = np.random.default_rng(0).normal(size=(2, *SIZE, 3)).astype("float32")
    expected = []
    with torch.no_grad():
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        x = original._swish(original._bn0(original._conv_stem(x)))
        for i, block in enumerate(original._blocks):
            x = block(x)
            if i in LAST_BLOCKS:
                expected.append(x.permute(0, 2, 3, 1).numpy())
    for ours, theirs in zip(model(pixels), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
