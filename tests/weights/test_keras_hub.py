"""KerasHub's presets and .keras files: the imported model computes and finds what KerasHub does."""

import dataclasses
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_retinanet.cli.app import app
from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.weights.import_weights import import_weights
from tests.weights.keras_hub_detectors import image_converter, network_inputs, object_detector
from tests.weights.parity_checks import assert_close, assert_same_objects, pictures

pytest.importorskip("keras_hub", reason="the reference: pip install keras-hub")

# The published presets: torchvision's v2 and v1, of which the latter is a .keras file here.
KINDS = {
    "v2": {"use_p5": True, "norm": True},
    "v1": {"use_p5": False, "norm": False},
    "r18": {"use_p5": True, "norm": True, "depth": 18, "pre_logits_num_conv_layers": 2},
}


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    """KerasHub's detector, and the model imported from what it saved."""
    detector = object_detector(**KINDS[request.param])
    path = tmp_path_factory.mktemp("files") / "detector"
    if request.param == "v1":
        path = path.with_suffix(".keras")
        detector.save(path)
    else:
        detector.save_to_preset(str(path))
    imported = import_weights(path)
    assert imported.source == "keras-hub" and not imported.left_out
    depth = KINDS[request.param].get("depth", 50)
    assert imported.description == f"KerasHub's RetinaNet, ResNet-{depth}"
    assert imported.num_values == detector.count_params()
    return detector, imported.model


def on_canvas(images, sides):
    """Return images at the top left of black canvases."""
    canvas = np.zeros((len(images), *sides, 3), np.float32)
    canvas[:, : images.shape[1], : images.shape[2]] = images
    return canvas


@pytest.mark.parametrize(("size", "sides"), [((256, 320), (256, 320)), ((427, 640), (448, 640))])
def test_pyramid_logits_deltas_and_anchors(both, size, sides):
    """KerasHub takes sides of whole 32s only: an odd image is padded for both."""
    detector, model = both
    names = [*(f"fpn_output_p{i}" for i in (3, 4, 5)), "fpn_p6", "fpn_p7"]
    levels = [model.get_layer(name).output for name in names]
    outputs = [model.output[name] for name in ("box_deltas", "class_logits")]
    network = keras.Model(model.input, [*levels, *outputs])
    batch = on_canvas(pictures(size, 2), sides)
    theirs = detector.backbone(network_inputs(batch))
    expected = [theirs[f"P{level}"] for level in range(3, 8)]
    theirs = detector(network_inputs(batch))
    expected = [*expected, theirs["bbox_regression"], theirs["cls_logits"]]
    expected = [value.numpy() for value in expected]
    assert np.std(expected[-1]) > 0.1 and np.std(expected[-2]) > 0.05
    for count in (1, 2):
        for ours, there in zip(network(batch[:count]), expected, strict=True):
            assert_close(ours, there[:count])
    anchors = np.concatenate([a.numpy() for a in detector.anchor_generator(batch).values()])
    np.testing.assert_allclose(
        model.anchor_generator(*sides), anchors[:, [1, 0, 3, 2]], rtol=0, atol=1e-4
    )


def test_detections_alone_and_in_a_batch(both, iou_by_loops):
    detector, model = both
    # Smaller than 800, for time; images of these sizes are not scaled.
    side = 320
    model.input_policy = dataclasses.replace(model.input_policy, size=side)
    images = pictures((213, side), 2)
    canvas = network_inputs(on_canvas(images, (side, side)))
    expected = detector.decode_predictions(detector(canvas), canvas)
    expected = {name: np.asarray(value) for name, value in expected.items()}
    for i, found in enumerate(model.detect([*images])):
        count = int(expected["num_detections"][i])
        there = {
            "boxes": expected["boxes"][i, :count][:, [1, 0, 3, 2]],
            "scores": expected["confidence"][i, :count],
            "labels": expected["labels"][i, :count],
        }
        for ours in (found, model.detect(images[i])):
            assert_same_objects(ours, there, iou_by_loops, most=100)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A preset of KerasHub's ResNet-18."""
    folder = tmp_path_factory.mktemp("files") / "small"
    object_detector(depth=18, pre_logits_num_conv_layers=1).save_to_preset(str(folder))
    return folder


@pytest.fixture
def preset(small, tmp_path):
    return shutil.copytree(small, tmp_path / "preset")


def change_config(preset, change):
    path = preset / "task.json"
    task = json.loads(path.read_text())
    change(task["config"])
    path.write_text(json.dumps(task))


def converter_of(config):
    return config["preprocessor"]["config"]["image_converter"]["config"]


def set_value(*names, value):
    """Return a change of a detector's config: the value of a setting, by the names on its way."""

    def change(config):
        for name in names[:-1]:
            config = config[name]["config"]
        config[names[-1]] = value

    return change


ENCODER = ("backbone", "image_encoder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_value("backbone", "max_level", value=6), "backbone has max_level = 6, and only 7 is"),
        (set_value("backbone", "use_fpn_batch_norm", value=True), "use_fpn_batch_norm = True"),
        (set_value(*ENCODER, "block_type", value="basic_block_vd"), "of the kind basic_block_vd"),
        (set_value(*ENCODER, "use_pre_activation", value=True), "use_pre_activation = True"),
        (set_value(*ENCODER, "stackwise_num_blocks", value=[2, 2, 2, 3]), "of 2, 2, 2, 3 blocks"),
        (set_value("anchor_generator", "min_level", value=2), "min_level = 2"),
        (set_value("anchor_generator", "anchor_size", value="4"), "anchor_size = 4, which is not"),
        (set_value("anchor_generator", "num_scales", value=10**9), "num_scales = 1000000000"),
        (set_value("anchor_generator", "aspect_ratios", value=[0.0, 1]), "its anchors have"),
        (set_value("prediction_decoder", "from_logits", value=False), "from_logits = False"),
        (set_value("prediction_decoder", "iou_threshold", value=2), "iou_threshold must be betw"),
        (set_value("num_classes", value=8), r"logits_layer.kernel is \(3, 3, 256, 63\), which"),
        (set_value("num_classes", value="8"), "num_classes = 8, which is not a number"),
        (set_value("use_prediction_head_norm", value=False), "group_norm_0.beta is no part of it"),
        (set_value("backbone", value={"class_name": "ViT"}), "backbone is ViT, and only RetinaNet"),
        (lambda c: converter_of(c).update(scale=[1, 2]), "2 numbers of scale, and not 3"),
        (lambda c: converter_of(c).update(scale=0), "expected above 0"),
        (lambda c: converter_of(c).update(image_size=[0, 5]), "expected two sides"),
        (lambda c: c.clear(), "its backbone is None, and only RetinaNetBackbone is read"),
    ],
)
def test_other_networks_are_refused(preset, change, message):
    change_config(preset, change)
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(preset)
    assert "\n" not in str(caught.value) and str(preset) in str(caught.value)


def test_what_the_converter_does_otherwise_is_told(preset):
    def imported(**settings):
        change_config(preset, lambda config: converter_of(config).update(settings))
        return import_weights(preset, class_names=list("abcdefg"))

    found = imported()
    assert found.remarks == (
        "it puts images in the middle of the square; here they are at the top left",
    )
    assert found.model.input_policy.resize == "square" and found.model.input_policy.size == 800
    found = imported(pad_to_aspect_ratio=False, image_size=[320, 320])
    assert found.remarks == ()
    assert found.model.input_policy == InputPolicy(
        "stretch", size=320, pad_value=(0, 0, 0), pixels="float32"
    )
    found = imported(crop_to_aspect_ratio=True, image_size=[256, 320], interpolation="nearest")
    assert found.remarks == (
        "it scales images nearest, antialias False; here bilinear, without",
        "it makes images 256x320, and cuts what is too much; here they are scaled whole, and "
        "padded to 320x320",
    )
    (remark,) = imported(image_size=None).remarks
    assert "it does not resize images" in remark
    scaling = imported(scale=0.5, offset=None).model.variant.pixel_scaling
    assert (scaling.mean, scaling.std) == ((0, 0, 0), (2, 2, 2))
    change_config(preset, lambda config: config.update(preprocessor=None))
    remark, _ = import_weights(preset).remarks
    assert remark.startswith("it has no preprocessor")


def test_the_command_writes_a_model_and_tells_the_remarks(small, tmp_path):
    output = tmp_path / "model.keras"
    command = ["weights", "import", str(small), "--from", "keras-hub", "--output", str(output)]
    result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["source"] == "KerasHub's RetinaNet, ResNet-18" and told["classes"] == 7
    assert told["remarks"] == [
        "it puts images in the middle of the square; here they are at the top left"
    ]
    loaded = keras.models.load_model(output)
    assert loaded.inference.nms_across_classes and loaded.box_coder.max_size_ratio is None
    again = CliRunner().invoke(app, ["weights", "import", str(output), "--output", "b.keras"])
    assert "a model of this package already" in str(again.exception)


def test_settings_of_a_detector_of_one_s_own(tmp_path):
    """Anchors, thresholds and pixel scaling are those of the file."""
    import keras_hub

    anchors = keras_hub.layers.AnchorGenerator("xyxy", 3, 7, 2, [0.7, 1.3], 3.0)
    decoder = keras_hub.layers.NonMaxSuppression("xyxy", True, 0.4, 0.3, 17)
    detector = object_detector(
        depth=18,
        num_classes=91,
        bounding_box_format="xyxy",
        anchor_generator=anchors,
        prediction_decoder=decoder,
        converter=image_converter(image_size=(256, 256), pad_to_aspect_ratio=False),
    )
    detector.save(tmp_path / "a.keras")
    model = import_weights(tmp_path / "a.keras").model
    theirs = np.concatenate([*anchors(np.zeros((1, 96, 160, 3))).values()])
    np.testing.assert_allclose(model.anchor_generator(96, 160), theirs, rtol=0, atol=1e-4)
    inference = model.inference
    assert (inference.score_threshold, inference.nms_iou_threshold) == (0.3, 0.4)
    assert inference.max_detections == 17 and inference.nms_across_classes
    # 91 outputs are COCO's ids.
    assert len(model.class_names) == 80 and model.class_names[0] == "person"
    bias = detector.classification_head.prediction_layer.bias.numpy().reshape(4, 91)
    ours = model.get_layer("class_head_predictions").bias.numpy().reshape(4, 80)
    np.testing.assert_array_equal(ours[:, [0, 79]], bias[:, [1, 90]])


def test_damaged_and_incomplete_presets(preset, tmp_path):
    for name, message in (
        ("task.weights.h5", "has no task.weights.h5"),
        ("task.json", "alone has"),
    ):
        part = shutil.copytree(preset, tmp_path / f"without {name}")
        (part / name).unlink()
        with pytest.raises(WeightsError, match=message):
            import_weights(part)
    weights = preset / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"preset: model\.weights\.h5: a damaged HDF5 file"):
        import_weights(preset)
    (preset / "task.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        import_weights(preset)


def test_nothing_in_a_file_is_built(preset, tmp_path):
    """A layer that Keras would run code for is looked at by its class' name alone."""
    marker = tmp_path / "made"
    code = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": str(marker)}}
    change_config(preset, lambda config: config.update(anchor_generator=code))
    with pytest.raises(WeightsError, match="anchor_generator is Lambda, and only AnchorGenerator"):
        import_weights(preset)
    assert not marker.exists()


def test_keras_files(small, tmp_path, make_tiny):
    """A .keras file that is packed, or holds another model, or one of ours."""
    detector = object_detector(depth=18, pre_logits_num_conv_layers=1)
    path = tmp_path / "a.keras"
    detector.save(path)
    packed = tmp_path / "packed.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match=r"packed\.keras: config\.json in it is packed"):
        import_weights(packed)
    make_tiny().save(tmp_path / "ours.keras")
    with pytest.raises(WeightsError, match="a model of this package already"):
        import_weights(tmp_path / "ours.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    with pytest.raises(WeightsError, match="no RetinaNet of torchvision"):
        import_weights(tmp_path / "dense.keras")
