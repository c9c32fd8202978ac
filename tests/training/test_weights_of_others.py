"""Fine-tuning from other projects' weights: by name or file, with other classes."""

import hashlib

import numpy as np
import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.training.fine_tuning import load_source
from keras_retinanet.training.setup.model_and_loss import (
    make_anchor_generator,
    make_input_policy,
)
from keras_retinanet.training.setup.prepare import prepare
from keras_retinanet.weights import fetch
from keras_retinanet.weights.fetch import weights_folder
from keras_retinanet.weights.files.keras_archive import MODEL_CONFIG
from keras_retinanet.weights.published import PublishedWeights, published_weights
from keras_retinanet.weights.sources.detectron2_names import DETECTRON2
from keras_retinanet.weights.sources.keras_hub_names import KERAS_HUB
from keras_retinanet.weights.sources.model_garden_names import MODEL_GARDEN
from keras_retinanet.weights.sources.torchvision_names import TORCHVISION
from tests.weights import model_garden_network, reference_networks
from tests.weights.keras_hub_detectors import detector_config, object_detector
from tests.weights.torch_writer import write_torch


@pytest.fixture(scope="module")
def detectron2(tmp_path_factory):
    layout = reference_networks.DETECTRON2
    arrays = reference_networks.random_arrays(layout, 80, np.random.default_rng(0))
    path = tmp_path_factory.mktemp("theirs") / "model_final_ours.pth"
    return arrays, write_torch(path, arrays)


def test_a_name_in_a_config_is_fetched_imported_and_fine_tuned(
    detectron2, demo, tmp_path, monkeypatch
):
    arrays, file = detectron2
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    weights_folder().mkdir()
    (weights_folder() / file.name).write_bytes(file.read_bytes())  # as if fetched before
    checksum = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    entry = PublishedWeights("ours", "a", f"http://127.0.0.1:9/{file.name}", checksum, "MIT")
    monkeypatch.setattr(fetch, "published_weights", lambda: {"ours": entry})
    config = load_config("from_detectron2_r50", ["model.init_from=ours"])
    setup = prepare(config, demo[0])
    assert list(setup.transfer.fresh) == ["class_head_predictions"]
    assert setup.transfer.remarks == ()
    assert setup.transfer.classes_taken == ("donut",)  # a class of COCO
    assert set(setup.transfer.classes_fresh) == {*demo[0].class_names} - {"donut"}
    assert setup.model.num_classes == len(demo[0].class_names) != 80
    assert setup.model.batchnorm == "frozen"
    theirs = arrays["backbone.bottom_up.res4.5.conv3.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(setup.model.get_layer("conv4_block6_3_conv").kernel, theirs)
    theirs = arrays["head.bbox_pred.bias"]
    np.testing.assert_array_equal(setup.model.get_layer("box_head_predictions").bias, theirs)


def test_a_file_of_another_project_is_a_source(detectron2, tmp_path):
    _, file = detectron2
    assert load_source(file).class_names[0] == "person"
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(WeightsError, match=r"model\.init_from: .*notes\.txt: expected a \.pth"):
        load_source(tmp_path / "notes.txt")
    with pytest.raises(WeightsError, match=r"model\.init_from: torchvision-r60 is neither a file "):
        load_source("torchvision-r60")


def torchvision_arrays(*more):
    """What tells which of torchvision's networks it is."""
    shapes = {
        "head.classification_head.cls_logits.weight": (9 * 91, 1),
        "backbone.fpn.extra_blocks.p6.weight": (256, 2048 if more else 256),
        "backbone.fpn.extra_blocks.p7.weight": (256, 256),
        **{f"backbone.body.layer3.{i}.conv1.weight": (1,) for i in range(6)},
        **dict.fromkeys(more, (1,)),
    }
    return {name: np.empty(shape) for name, shape in shapes.items()}


def detectron2_arrays(num_blocks):
    names = [f"backbone.bottom_up.res4.{i}.conv1.weight" for i in range(num_blocks)]
    return {"head.cls_score.weight": np.empty((720, 1)), **dict.fromkeys(names, np.empty(1))}


@pytest.mark.parametrize(
    ("name", "source", "arrays"),
    [
        ("from_torchvision_v1", TORCHVISION, torchvision_arrays()),
        (
            "from_torchvision_v2",
            TORCHVISION,
            torchvision_arrays(
                "head.classification_head.conv.0.1.weight",
                "backbone.body.bn1.num_batches_tracked",
            ),
        ),
        ("from_detectron2_r50", DETECTRON2, detectron2_arrays(6)),
        ("from_detectron2_r101", DETECTRON2, detectron2_arrays(23)),
    ],
)
def test_the_shipped_configs_are_the_networks_of_the_files(name, source, arrays):
    config = load_config(name)
    assert config.model.init_from in published_weights()
    expected = source.network(arrays, {}).arguments
    assert_is_network(config, expected)
    assert InferenceSettings(**config.inference.model_dump()) == expected["inference"]


def assert_is_network(config, expected):
    assert config.model.backbone == expected["backbone"]
    assert NetworkVariant.of(config.model) == expected["variant"]
    assert make_anchor_generator(config) == expected["anchor_generator"]
    assert make_input_policy(config) == expected["input_policy"]


def model_garden_arrays():
    names = [f"block{stage}_{block}" for stage, n in ((2, 3), (3, 4), (4, 6), (5, 3))
             for block in range(n)]  # fmt: skip
    classifier = {"head/_classifier.kernel": np.empty((3, 3, 1, 9 * 91))}
    return {**classifier, **{f"{name}/_conv1.kernel": np.empty(1) for name in names}}


def test_the_configs_for_files_that_are_not_fetched():
    """Their files have no address that anyone may fetch from."""
    for version, kind in (("v1", {"use_p5": False, "norm": False}), ("v2", {})):
        config = load_config(f"from_keras_hub_{version}")
        assert config.model.init_from is None
        about = {MODEL_CONFIG: detector_config(**kind)}
        assert_is_network(config, KERAS_HUB.network({}, about).arguments)
    config = load_config("from_model_garden_r50")
    assert config.model.init_from is None
    expected = MODEL_GARDEN.network(model_garden_arrays(), {}).arguments
    assert_is_network(config, expected)
    assert InferenceSettings(**config.inference.model_dump()) == expected["inference"]


def assert_is_fine_tuned(setup, demo, *, kernel):
    assert list(setup.transfer.fresh) == ["class_head_predictions"]
    assert setup.transfer.remarks == ()
    assert setup.transfer.classes_taken == ("donut",)
    assert setup.model.num_classes == len(demo[0].class_names) != 80
    assert setup.model.batchnorm == "frozen"
    np.testing.assert_array_equal(setup.model.get_layer("fpn_p7").kernel, kernel)


def test_a_checkpoint_of_model_garden_is_fine_tuned(demo, tmp_path):
    arrays = model_garden_network.random_arrays(91, np.random.default_rng(0))
    prefix = model_garden_network.write_checkpoint(tmp_path / "ckpt-33264", arrays)
    config = load_config("from_model_garden_r50", [f"model.init_from={prefix}"])
    kernel = arrays[f"{model_garden_network.decoder('coarser_7')}/kernel"]
    assert_is_fine_tuned(prepare(config, demo[0]), demo, kernel=kernel)


def test_what_keras_hub_saved_is_fine_tuned(demo, tmp_path):
    pytest.importorskip("keras_hub", reason="what writes the preset: pip install keras-hub")
    detector = object_detector(num_classes=91)
    detector.save_to_preset(str(tmp_path / "preset"))
    detector.save(tmp_path / "detector.keras")
    for name in ("preset", "detector.keras"):
        config = load_config("from_keras_hub_v2", [f"model.init_from={tmp_path / name}"])
        setup = prepare(config, demo[0])
        kernel = detector.backbone.feature_pyramid.output_conv_layers["P7"].kernel
        assert_is_fine_tuned(setup, demo, kernel=kernel)
