"""Our network with torchvision's values gives what torchvision's gives: v1 and v2."""

import keras
import numpy as np
import pytest

from keras_retinanet.data.pipeline.targets import make_targets
from keras_retinanet.losses import DetectionLoss, GIoULoss, SmoothL1
from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant
from tests.models.torch_networks import (
    NUM_CLASSES,
    import_torchvision,
    our_model,
    randomize_norms,
    take_values,
    torchvision_model,
)

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


class TestDetections:
    # Sides of the scaled images are multiples of nothing; the second is scaled by its longer side.
    # No two boxes of one class that overlap have scores equal to six digits, which is a toss-up.
    SIZES = ((427, 640), (333, 500))

    @pytest.fixture(scope="class")
    def pictures(self):
        return [images(size, 1)[0] for size in self.SIZES]

    @pytest.fixture(scope="class")
    def expected(self, both, pictures):
        import torch

        def of(batch):
            tensors = [torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in batch]
            with torch.no_grad():
                return [{k: v.numpy() for k, v in x.items()} for x in both[0](tensors)]

        return {"alone": [of([picture])[0] for picture in pictures], "pair": of([pictures[0]] * 2)}

    @staticmethod
    def assert_same_objects(found, expected, iou_of):
        assert len(found) == len(expected["scores"]) > 50
        # Scores that are equal to four digits may change places.
        iou = iou_of(found.boxes, expected["boxes"])
        same = (found.labels[:, None] == expected["labels"]) & (
            np.abs(found.scores[:, None] - expected["scores"]) < 1e-4
        )
        overlap = np.where(same, iou, 0)
        assert overlap.max(axis=1).min() > 0.999 and overlap.max(axis=0).min() > 0.999

    @pytest.mark.parametrize("index", [0, 1])
    def test_of_one_image(self, both, pictures, expected, index, iou_by_loops):
        found = both[1].detect(pictures[index])
        self.assert_same_objects(found, expected["alone"][index], iou_by_loops)

    def test_of_two(self, both, pictures, expected, iou_by_loops):
        for found, theirs in zip(both[1].detect([pictures[0]] * 2), expected["pair"], strict=True):
            self.assert_same_objects(found, theirs, iou_by_loops)


@pytest.mark.parametrize("num_objects", [(6, 3), (0, 4)])
def test_training_loss_is_torchvisions(both, random_boxes, num_objects):
    import torch
    from torchvision.models.detection.image_list import ImageList

    reference, model = both
    size, rng = SIZES[1], np.random.default_rng(0)
    batch = images(size, 2)
    boxes = [random_boxes(rng, count, 4.0, 300.0, *size) for count in num_objects]
    labels = [rng.integers(0, NUM_CLASSES, count) for count in num_objects]
    with torch.no_grad():
        tensor = as_torch(batch, reference)
        features = list(reference.backbone(tensor).values())
        anchors = reference.anchor_generator(ImageList(tensor, [size] * 2), features)
        targets = [
            {"boxes": torch.from_numpy(b), "labels": torch.from_numpy(n)}
            for b, n in zip(boxes, labels, strict=True)
        ]
        expected = reference.compute_loss(targets, reference.head(features), anchors)

    each = [
        make_targets(
            b,
            n,
            anchor_generator=model.anchor_generator,
            height=size[0],
            width=size[1],
            max_objects=max(num_objects),
            force_match="own_best",
        )
        for b, n in zip(boxes, labels, strict=True)
    ]
    is_v2 = reference.head.regression_head._loss_type == "giou"
    loss = DetectionLoss(
        box_loss=GIoULoss() if is_v2 else SmoothL1(beta=0.0), normalizer="per_image"
    )
    ours = loss(
        {name: np.stack([target[name] for target in each]) for name in each[0]},
        model(batch),
        anchors=model.anchor_generator(*size),
        box_coder=model.box_coder,
    )
    assert expected["bbox_regression"] > 0.01
    np.testing.assert_allclose(ours["class_loss"], expected["classification"], rtol=1e-4)
    np.testing.assert_allclose(ours["box_loss"], expected["bbox_regression"], rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet101"])
def test_backbones_are_torchvisions(name):
    resnet = getattr(import_torchvision().models, name)
    import torch

    torch.manual_seed(0)
    reference = resnet(weights=None)
    randomize_norms(reference, epsilon=None)
    reference.eval()
    ours = name if name == "resnet18" else f"{name}_v1_5"
    inputs = keras.Input((None, None, 3))
    variant = NetworkVariant(padding="symmetric")
    features = build_backbone(ours, inputs, weights=None, batchnorm="auto", variant=variant)
    model = keras.Model(inputs, features)
    take_values(model, {f"backbone.body.{k}": v for k, v in reference.state_dict().items()})
    batch = images((65, 127), 2)
    mean, std = (np.array(x) for x in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    with torch.no_grad():
        x = torch.from_numpy(((batch - mean) / std).astype("float32")).permute(0, 3, 1, 2)
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        x = reference.layer1(x)
        expected = [
            x := stage(x) for stage in (reference.layer2, reference.layer3, reference.layer4)
        ]
    for found, theirs in zip(model(batch), expected, strict=True):
        assert_close(found, theirs.permute(0, 2, 3, 1))
