"""Backbones of other projects: equal features, and what does not fit is refused."""

import pickle

import keras
import numpy as np
import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.training.setup.model_and_loss import build_model
from keras_retinanet.weights.import_backbone import has_others_values, import_backbone
from tests.models.torch_networks import import_torchvision, randomize_norms
from tests.weights.reference_networks import DETECTRON2, random_arrays
from tests.weights.torch_writer import write_torch

STATISTICS = ("weight", "bias", "running_mean", "running_var")


def small_model(backbone, **variant):
    return RetinaNet(
        backbone,
        num_classes=2,
        weights=None,
        fpn_channels=8,
        head_channels=8,
        head_depth=0,
        variant=NetworkVariant(**variant),
    )


def features(model, pixels):
    names = [model.get_layer(f"fpn_lateral_c{i}").input for i in (3, 4, 5)]
    return keras.Model(model.input, names)(pixels)


def pixels_of(height, width):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.float32)


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        b = b.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_torchvision(name, size, tmp_path):
    tv = import_torchvision()
    import torch

    torch.manual_seed(0)
    reference = getattr(tv.models, name)(weights=None).eval()
    randomize_norms(reference, epsilon=None)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    is_bottleneck = name in ("resnet50", "resnet101")
    variant = {} if is_bottleneck else {"padding": "symmetric"}
    model = small_model(f"{name}_v1_5" if is_bottleneck else name, **variant)
    import_backbone(model, tmp_path / "weights.pth")
    pixels = pixels_of(*size)
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x = torch.from_numpy((pixels / 255 - mean) / std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        maps = [x := getattr(reference, f"layer{i}")(x) for i in (1, 2, 3, 4)]
    assert_close(features(model, pixels), maps[1:])


def test_efficientnet_lite(tmp_path):
    torch = pytest.importorskip("torch", reason="pip install torch")
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch"
    )
    torch.manual_seed(0)
    reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 1.0)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    model = small_model("efficientnet_lite0")
    import_backbone(model, tmp_path / "weights.pth")
    pixels = pixels_of(224, 224)
    maps = []
    with torch.no_grad():
        x = torch.from_numpy((pixels - 127) / 128).permute(0, 3, 1, 2)
        x = reference._swish(reference._bn0(reference._conv_stem(x)))
        for block in reference._blocks:
            maps.append(x := block(x))
    assert_close(features(model, pixels), [maps[i] for i in (4, 10, 15)])


@pytest.fixture(scope="module")
def resnet50():
    return small_model("resnet50")


def blobs(arrays, statistics=("rm", "riv")):
    """A backbone under the names of Detectron's files."""
    parts = {
        "weight": "w",
        "norm.weight": "bn_s",
        "norm.bias": "bn_b",
        **{f"norm.{x}": f"bn_{y}" for x, y in zip(STATISTICS[2:], statistics, strict=False)},
    }
    branches = {
        "shortcut": "branch1",
        "conv1": "branch2a",
        "conv2": "branch2b",
        "conv3": "branch2c",
    }
    result = {}
    for name, array in arrays.items():
        if not name.startswith("backbone.bottom_up."):
            continue
        *place, conv, part = (
            name.removeprefix("backbone.bottom_up.").replace(".norm", "/norm").split(".")
        )
        conv, _, norm = conv.partition("/")
        part = parts.get(f"norm.{part}" if norm else part)
        if part is None:
            continue
        if place == ["stem"]:
            result[f"res_conv1_{part}" if norm else "conv1_w"] = array
        else:
            result[f"{place[0]}_{place[1]}_{branches[conv]}_{part}"] = array
    return result


@pytest.mark.parametrize("statistics", [("rm", "riv"), ("running_mean", "running_var"), ()])
def test_detectron(resnet50, tmp_path, caplog, statistics):
    caplog.set_level("INFO", "keras_retinanet")
    arrays = random_arrays(DETECTRON2, 2, np.random.default_rng(len(statistics)))
    more = {"fc1000_w": np.ones((4, 2)), "conv1_b": np.zeros(64), "conv1_w_momentum": np.ones(2)}
    file = tmp_path / "R-50.pkl"
    file.write_bytes(pickle.dumps({"blobs": blobs(arrays, statistics) | more}, protocol=2))
    import_backbone(resnet50, file)
    assert "left out: fc1000_w, conv1_b" in caplog.text
    assert "trained with model.pixel_scaling = PixelScaling(order='bgr'" in caplog.text
    body = "backbone.bottom_up"
    for layer, name in (
        ("conv1", "stem.conv1"),
        ("conv2_block1_0", "res2.0.shortcut"),
        ("conv4_block6_1", "res4.5.conv1"),
        ("conv5_block3_2", "res5.2.conv2"),
        ("conv5_block3_3", "res5.2.conv3"),
    ):
        kernel, bias = resnet50.get_layer(f"{layer}_conv").get_weights()
        theirs = arrays[f"{body}.{name}.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, theirs)
        assert not bias.any()
        expected = [arrays[f"{body}.{name}.norm.{part}"] for part in STATISTICS]
        if not statistics:
            expected[2:] = np.zeros_like(expected[2]), np.ones_like(expected[3])
        for ours, theirs in zip(
            resnet50.get_layer(f"{layer}_bn").get_weights(), expected, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def basic_resnet_arrays(blocks, rng):
    """Random arrays of a ResNet of two-convolution blocks in torch's layout, with a head."""
    arrays = {}

    def normed(conv, norm, *shape):
        arrays[f"{conv}.weight"] = rng.normal(size=shape).astype(np.float32)
        for part in STATISTICS:
            arrays[f"{norm}.{part}"] = rng.uniform(0.5, 1, shape[0]).astype(np.float32)
        arrays[f"{norm}.num_batches_tracked"] = np.ones(1, np.int64)

    normed("conv1", "bn1", 64, 3, 7, 7)
    inside = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            place = f"layer{stage + 1}.{block}"
            normed(f"{place}.conv1", f"{place}.bn1", width, inside, 3, 3)
            normed(f"{place}.conv2", f"{place}.bn2", width, width, 3, 3)
            if inside != width:
                normed(f"{place}.downsample.0", f"{place}.downsample.1", width, inside, 1, 1)
            inside = width
    arrays["fc.weight"] = np.ones((10, 512), np.float32)
    return arrays


@pytest.fixture(scope="module")
def arrays18():
    return basic_resnet_arrays((2, 2, 2, 2), np.random.default_rng(0))


@pytest.mark.parametrize("batchnorm", ["auto", "trainable"])
def test_a_config_names_the_file(arrays18, tmp_path, caplog, batchnorm):
    caplog.set_level("INFO", "keras_retinanet")
    file = write_torch(tmp_path / "resnet18.pth", arrays18)
    settings = [f"model.weights={file}", f"model.batchnorm={batchnorm}"]
    model = build_model(load_config("bccd_r18", settings), ("a", "b"))
    kernel = model.get_layer("conv3_block1_0_conv").kernel.numpy()
    theirs = arrays18["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, theirs)
    norm = model.get_layer("conv5_block2_2_bn")
    theirs = [arrays18[f"layer4.1.bn2.{part}"] for part in STATISTICS]
    for ours, value in zip(norm.get_weights(), theirs, strict=True):
        np.testing.assert_array_equal(ours, value)
    assert norm.trainable == (batchnorm == "trainable")
    assert "left out: fc.weight" in caplog.text
    assert "trained with model.padding = symmetric" in caplog.text


def test_what_does_not_fit_is_refused(arrays18, resnet50, tmp_path):
    model = small_model("resnet18")
    before = model.get_weights()

    def refused(arrays, message, model=model):
        file = write_torch(tmp_path / "a.pth", arrays)
        with pytest.raises(WeightsError, match=rf"model\.weights: .*a\.pth: .*{message}"):
            import_backbone(model, file)

    refused(arrays18, "weights of resnet18, and not of resnet50: set model.backbone=", resnet50)
    rng = np.random.default_rng(0)
    refused(basic_resnet_arrays((3, 4, 6, 3), rng), "of resnet34, and not of resnet18")
    refused(basic_resnet_arrays((1, 1, 1, 1), rng), "a ResNet of 1, 1, 1, 1 blocks is no")
    refused({k: v for k, v in arrays18.items() if k != "bn1.bias"}, r"bn1\.bias is missing")
    more = {"layer1.0.se.fc1.weight": np.ones(2, np.float32)}
    refused({**arrays18, **more}, r"layer1\.0\.se\.fc1\.weight is no part of resnet18")
    other = {"layer4.0.conv1.weight": np.ones((512, 256, 1, 1), np.float32)}
    refused({**arrays18, **other}, r"layer4\.0\.conv1\.weight is \(512, 256, 1, 1\), which does")
    refused({"head.weight": np.ones(2, np.float32)}, "not arrays called head.weight")
    for ours, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, then)
    with pytest.raises(WeightsError, match=r"cannot read nothing\.pth"):
        import_backbone(model, "nothing.pth")


TIMM_OTHERS = {
    "resnet18d": "its stem has several convolutions, as timm's resnet50d",
    "seresnet18": r"layer1\.0\.se\.fc1\.bias is no part of resnet18",
    "resnet50_gn": "weights of resnet50_v1_5, and not of resnet18",
    "resnext50_32x4d": "weights of resnet50_v1_5, and not of resnet18",
}


@pytest.mark.parametrize("name", ["resnet18", *TIMM_OTHERS])
def test_timm(name, tmp_path):
    """Its plain ResNets have torchvision's names, and others that are near are refused."""
    import_torchvision()
    timm = pytest.importorskip("timm", reason="what writes the file: pip install timm")
    import torch

    reference = timm.create_model(name, pretrained=False)
    file = tmp_path / "pytorch_model.bin"
    torch.save(reference.state_dict(), file)
    assert has_others_values(str(file))
    model = small_model("resnet18", padding="symmetric")
    if name in TIMM_OTHERS:
        with pytest.raises(WeightsError, match=TIMM_OTHERS[name]):
            import_backbone(model, file)
        return
    import_backbone(model, file)
    kernel = model.get_layer("conv4_block2_1_conv").kernel.numpy()
    theirs = reference.state_dict()["layer3.1.conv1.weight"].numpy()
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))


def test_stems_of_several_convolutions_are_refused(arrays18, tmp_path):
    deep = {f"conv1.{i}.weight": np.ones((32, 32, 3, 3), np.float32) for i in (0, 3, 6)}
    arrays = {name: value for name, value in arrays18.items() if name != "conv1.weight"} | deep
    file = write_torch(tmp_path / "resnet18d.pth", arrays)
    with pytest.raises(WeightsError, match=r"resnet18d\.pth: its stem has several convolutions"):
        import_backbone(small_model("resnet18"), file)


def test_what_counts_as_another_project_s():
    assert all(map(has_others_values, ("a/b.pth", "R-50.pkl", "torchvision-resnet50-v2")))
    assert not any(map(has_others_values, ("imagenet", "none", "a/b.weights.h5", "b.keras")))
