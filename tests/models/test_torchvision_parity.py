"""Our network with torchvision's values gives what torchvision's gives: v1 and v2."""

import keras
import numpy as np
import pytest

from keras_retinanet.models.retinanet import RetinaNet
from tests.models.torch_networks import import_torchvision, our_model, torchvision_model

# The second is odd, and no multiple of 32: maps have odd sides on all levels.
SIZES = [(256, 320), (427, 640)]


@pytest.fixture(scope="module", params=["v1", "v2"])
def both(request):
    import_torchvision()
    reference = torchvision_model(request.param)
    return reference, our_model(request.param, reference)


@pytest.fixture(scope="module")
def pyramid(both):
    model = both[1]
    names = [*(f"fpn_output_p{i}" for i in (3, 4, 5)), "fpn_p6", "fpn_p7"]
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


def images(size, count):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 3))  # patches, and some noise on them
    image = np.kron(coarse, np.ones((1, size[0] // 8 + 1, size[1] // 8 + 1, 1)))
    image = image[:, : size[0], : size[1]] + rng.integers(-20, 21, (count, *size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def as_torch(batch, reference):
    import torch

    tensor = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
    return torch.stack([reference.transform.normalize(image) for image in tensor])


def assert_close(ours, theirs):
    theirs = theirs.numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pyramid_logits_deltas_and_anchors_are_torchvisions(both, pyramid, size, count):
    import torch
    from torchvision.models.detection.image_list import ImageList

    reference, model = both
    batch = images(size, count)
    with torch.no_grad():
        tensor = as_torch(batch, reference)
        features = list(reference.backbone(tensor).values())
        outputs = reference.head(features)
        anchors = reference.anchor_generator(ImageList(tensor, [size] * count), features)
    for ours, theirs in zip(pyramid(batch), features, strict=True):
        assert_close(ours, theirs.permute(0, 2, 3, 1))
    ours = model(batch)
    assert np.std(ours["class_logits"]) > 0.1 and np.std(ours["box_deltas"]) > 0.05
    assert_close(ours["class_logits"], outputs["cls_logits"])
    assert_close(ours["box_deltas"], outputs["bbox_regression"])
    np.testing.assert_allclose(model.anchor_generator(*size), anchors[0].numpy(), atol=1e-4)


def test_a_saved_model_gives_the_same(both, tmp_path):
    _, model = both
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, RetinaNet) and loaded.get_config() == model.get_config()
    batch = images(SIZES[0], 1)
    for name, value in model(batch).items():
        np.testing.assert_array_equal(loaded(batch)[name], value)
