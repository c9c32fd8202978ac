"""Export for torchvision: it loads the file with strict=True and finds the same objects."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.export.export import EXPORTERS, export_model
from keras_retinanet.export.torchvision_exporter import TorchvisionExporter
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.weights.files.read_arrays import read_arrays
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from keras_retinanet.weights.to_torchvision import torchvision_weights
from tests.models.torch_networks import (
    ANCHORS,
    INFERENCE,
    VARIANTS,
    import_torchvision,
    our_model,
    torchvision_model,
)

SMALL = InputPolicy(
    size=96,
    max_size=128,
    pad_value=(123.675, 116.28, 103.53),
    pixels="float32",
    rounding="floor",
)
PAGE = Path(__file__).parents[2] / "docs" / "weights.md"
EXAMPLE = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_torchvision_loads_it_and_finds_the_same(version, tmp_path, monkeypatch):
    import_torchvision()
    import torch

    reference = torchvision_model(version)
    model = our_model(version, reference)
    folder = tmp_path / "torchvision" / "1"
    folder.mkdir(parents=True)
    contract = TorchvisionExporter().write(model, folder).contract
    (folder / "manifest.json").write_text(json.dumps({"contract": contract}))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(EXAMPLE, names)  # as docs/weights.md says
    loaded, state = names["model"], torch.load(folder / "model.pth")
    for name, value in reference.state_dict().items():
        assert version == "v1" or name in state  # v1's norms are frozen ones
        if "num_batches" not in name:
            np.testing.assert_array_equal(state[name], value, err_msg=name)
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (9, 7, 3)), np.ones((30, 40, 1))).astype(np.uint8)
    with torch.no_grad():
        theirs = loaded.eval()([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]
    ours = model.detect(image)
    assert len(ours.scores) == len(theirs["scores"]) > 0
    # Of equal scores either may come first.
    distances = np.abs(ours.boxes[:, None] - theirs["boxes"].numpy()).max(axis=-1)
    distances[ours.labels[:, None] != theirs["labels"].numpy()] = np.inf
    nearest = distances.argmin(axis=0)
    assert distances.min(axis=0).max() < 1e-2 and len({*nearest}) == len(nearest)
    np.testing.assert_allclose(ours.scores[nearest], theirs["scores"], atol=1e-4)


def ours(class_names, version="v2", **settings):
    arguments = {
        "class_names": class_names,
        "weights": None,
        "anchor_generator": ANCHORS,
        "input_policy": SMALL,
        "inference": INFERENCE,
        "variant": VARIANTS[version],
        **settings,
    }
    return RetinaNet(settings.pop("backbone", "resnet50_v1_5"), **arguments)


def test_coco_s_classes_are_torchvision_s_91_outputs(tmp_path):
    model = ours(tuple(COCO_CLASSES.values()))
    head = model.get_layer("class_head_predictions")
    # So that some are found, and few.
    head.bias.assign(np.random.default_rng(0).normal(-4, 0.5, head.bias.shape))
    folder, parity = export_model(model, tmp_path, EXPORTERS["torchvision"]())
    assert parity.num_detections > 0 and parity.box == parity.score == 0  # it was read back
    contract = json.loads((folder / "manifest.json").read_text())["contract"]
    assert contract["builder"] == "retinanet_resnet50_fpn_v2"
    assert contract["arguments"]["num_classes"] == 91
    assert contract["arguments"]["min_size"] == 96
    np.testing.assert_allclose(contract["arguments"]["image_mean"], [0.485, 0.456, 0.406])
    np.testing.assert_allclose(contract["arguments"]["image_std"], [0.229, 0.224, 0.225])
    assert contract["labels"]["1"] == "person" and contract["labels"]["90"] == "toothbrush"
    arrays = read_arrays(folder / "model.pth")
    bias = arrays["head.classification_head.cls_logits.bias"].reshape(9, 91)
    assert (bias[:, 0] < -20).all() and (bias[:, 12] < -20).all()
    np.testing.assert_array_equal(bias[:, [1, 13]], head.bias.numpy().reshape(9, 80)[:, [0, 11]])


def test_what_torchvision_cannot_do_is_refused():
    model = ours(
        ("a", "b"),
        variant=NetworkVariant(head_norm="group", p6_from="p5"),
        head_depth=2,
        input_policy=InputPolicy(size=96),
    )
    with pytest.raises(WeightsError) as caught:
        torchvision_weights(model)
    message = str(caught.value)
    for reason in (
        "model.head_depth is 2, not 4",
        "model.fpn_padding is same, not symmetric",
        "model.head_norm, p6_from is ('group', 'p5'), not ('none', 'p5') or ('group', 'c5')",
        "image.pixels is uint8, not float32",
        "image.pad_value is None, not (123.675, 116.28, 103.53)",
    ):
        assert reason in message
    assert "model.backbone" not in message and "anchors" not in message
    small = RetinaNet(
        "resnet18", num_classes=2, weights=None, fpn_channels=8, head_channels=8, head_depth=0
    )
    with pytest.raises(WeightsError, match=r"model\.backbone is resnet18, not resnet50_v1_5"):
        torchvision_weights(small)
