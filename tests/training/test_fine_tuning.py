import json

import keras
import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.heads import prior_bias
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.optimizers.weight_average import averaged_weights
from keras_retinanet.optimizers.weight_decay import SGDWithL2
from keras_retinanet.training.fine_tuning import load_source, take_weights
from keras_retinanet.training.runs.description import report_transfer

pytestmark = pytest.mark.usefixtures("small_resnet18")

CLASSES, BOXES = "class_head_predictions", "box_head_predictions"
QUALITY = "box_quality_predictions"
SMALL_ANCHORS = AnchorGenerator(ratios=(0.5, 2.0), scales=(1.0,))


@pytest.fixture(scope="module")
def make(make_tiny, small_resnet18):
    def model(*class_names, **settings):
        settings = {"anchor_generator": SMALL_ANCHORS, "head_depth": 1, **settings}
        return make_tiny(class_names=class_names, channels=8, **settings)

    return model


@pytest.fixture(scope="module")
def source(make):
    """A model with values that no fresh one has."""
    model = make("cat", "dog", "owl")
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def rows(model, layer=CLASSES):
    """A last layer's kernel and bias as [..., A, outputs]."""
    weights = model.get_layer(layer).get_weights()
    anchors = model.anchor_generator.num_per_cell
    return [w.reshape(*w.shape[:-1], anchors, -1) for w in weights]


def assert_same(layer, model, source):
    for a, b in zip(
        model.get_layer(layer).get_weights(), source.get_layer(layer).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=layer)


def test_equal_classes_take_everything(make, source):
    model = make("cat", "dog", "owl")
    report = take_weights(model, source)
    for a, b in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(report.taken) == {layer.name for layer in model.layers if layer.weights}
    assert (report.fresh, report.classes_fresh, report.remarks) == ({}, (), ())


def test_classes_are_matched_by_name(make, source):
    model = make("owl", "emu", "cat")
    fresh = rows(model)
    report = take_weights(model, source)
    for now, before, theirs in zip(rows(model), fresh, rows(source)):
        np.testing.assert_array_equal(now[..., 0], theirs[..., 2])
        np.testing.assert_array_equal(now[..., 1], before[..., 1])
        np.testing.assert_array_equal(now[..., 2], theirs[..., 0])
    np.testing.assert_allclose(rows(model)[1][:, 1], prior_bias(0.01), rtol=1e-6)
    for layer in model.layers:
        if layer.weights and layer.name != CLASSES:
            assert_same(layer.name, model, source)
    assert report.classes_taken == ("owl", "cat") and report.classes_fresh == ("emu",)
    assert list(report.fresh) == [CLASSES] and CLASSES not in report.taken
    text = "\n".join(report.lines())
    assert f"{CLASSES} has fresh values for 1 classes that are not there (emu)" in text


def test_other_classes_begin_from_the_prior(make, source):
    model = make("emu", "yak")
    fresh = rows(model)
    report = take_weights(model, source)
    for now, before in zip(rows(model), fresh):
        np.testing.assert_array_equal(now, before)
    assert_same(BOXES, model, source)
    assert report.classes_fresh == ("emu", "yak")
    assert (
        "none of the 2 classes (emu, yak) is among the 3 there (cat, dog, owl)"
        in (report.fresh[CLASSES])
    )


@pytest.mark.parametrize(
    ("settings", "layers", "reason"),
    [
        (
            {"anchor_generator": AnchorGenerator(ratios=(0.5, 1, 2), scales=(1,))},
            [BOXES, CLASSES],
            "2 ratios x 1 scales of anchors there, 3 ratios x 1 scales here",
        ),
        # as many, and others
        (
            {"anchor_generator": AnchorGenerator(ratios=(1,), scales=(1, 1.5))},
            [BOXES, CLASSES],
            "2 ratios x 1 scales of anchors there, 1 ratios x 2 scales here",
        ),
        ({"box_coder": BoxCoder("corner")}, [BOXES], "coded as BoxCoder(coding='centre'"),
        ({"class_activation": "softmax"}, [CLASSES], "a sigmoid there and of a softmax here"),
    ],
    ids=["anchors", "as many other anchors", "box coding", "softmax"],
)
def test_last_layers_of_another_meaning_stay_fresh(make, source, settings, layers, reason):
    model = make("cat", "dog", "owl", **settings)
    before = {name: model.get_layer(name).get_weights() for name in (BOXES, CLASSES)}
    report = take_weights(model, source)
    assert sorted(report.fresh) == layers
    for name in (BOXES, CLASSES):
        if name in layers:
            assert reason in report.fresh[name]
            for a, b in zip(model.get_layer(name).get_weights(), before[name], strict=True):
                np.testing.assert_array_equal(a, b)
        else:
            assert_same(name, model, source)


@pytest.mark.parametrize("theirs", ["none", "centerness"])
def test_quality_that_the_source_does_not_predict_stays_fresh(make, source, theirs):
    source = source if theirs == "none" else make("cat", "dog", "owl", box_quality=theirs)
    model = make("cat", "dog", "owl", box_quality="iou")
    before = model.get_layer(QUALITY).get_weights()
    report = take_weights(model, source)
    assert report.fresh == {QUALITY: f"has fresh values: box_quality is {theirs} there"}
    for a, b in zip(model.get_layer(QUALITY).get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_same(BOXES, model, source)


def test_quality_of_the_same_kind_is_taken(make):
    source, model = (make("cat", box_quality="iou") for _ in range(2))
    rng = np.random.default_rng(1)
    source.set_weights([rng.normal(size=w.shape) for w in source.get_weights()])
    report = take_weights(model, source)
    assert report.fresh == {} and QUALITY in report.taken
    assert_same(QUALITY, model, source)
    other = make("cat", box_quality="iou", anchor_generator=AnchorGenerator())
    assert "of anchors there" in take_weights(other, source).fresh[QUALITY]


def test_quality_that_the_model_does_not_predict_is_left_out(make):
    source, model = make("cat", box_quality="iou"), make("cat")
    report = take_weights(model, source)
    assert report.fresh == {}
    assert "box_quality: iou there, none here: it is left out" in report.lines()


def test_anchors_in_another_order_are_put_into_ours(make):
    shape = {"ratios": (0.5, 2.0), "scales": (1.0, 1.3, 1.6)}
    theirs = make("a", "b", anchor_generator=AnchorGenerator(**shape, order="scale"))
    rng = np.random.default_rng(1)
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    ours = make("a", "b", anchor_generator=AnchorGenerator(**shape))
    report = take_weights(ours, theirs)
    assert report.fresh == {} and report.remarks == ()
    base = [m.anchor_generator.base_anchors(32.0) for m in (ours, theirs)]
    for layer in (CLASSES, BOXES):
        for here, there in zip(rows(ours, layer), rows(theirs, layer)):
            for i, anchor in enumerate(base[0]):
                (j,) = np.flatnonzero((abs(base[1] - anchor) < 1e-3).all(axis=1))
                np.testing.assert_array_equal(here[..., i, :], there[..., j, :])


def test_what_fits_and_means_something_else_is_told(make, source):
    anchors = AnchorGenerator((16, 32, 64, 128, 256), SMALL_ANCHORS.ratios, SMALL_ANCHORS.scales)
    model = make("cat", "dog", "owl", anchor_generator=anchors, input_policy=InputPolicy(size=160))
    remarks = "\n".join(take_weights(model, source).remarks)
    assert "anchors.sizes: (32, 64, 128, 256, 512) there, (16, 32, 64, 128, 256) here" in remarks
    assert "image.size: 600 there, 160 here" in remarks


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"fpn_channels": 12}, "fpn_channels is 8 there and 12 here"),
        ({"head_depth": 2}, "head_depth is 1 there and 2 here"),
    ],
)
def test_another_architecture_is_refused_untouched(make, make_tiny, source, settings, difference):
    if "fpn_channels" in settings:
        model = type(source).from_config({**source.get_config(), **settings})
    else:
        model = make("cat", "dog", "owl", **settings)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=difference):
        take_weights(model, source)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_difference_that_no_setting_tells_is_refused(make, source, monkeypatch):
    model = make("cat", "dog", "owl", head_depth=2)
    config = {**model.get_config(), "head_depth": 1}
    monkeypatch.setattr(model, "get_config", lambda: config)
    with pytest.raises(WeightsError, match=r"layer class_head_conv_1 has the shapes \[\] there"):
        take_weights(model, source)


class TestLoadSource:
    @pytest.mark.slow
    def test_an_average_counts(self, make, make_batch, tmp_path):
        model = make("cat", "dog")
        optimizer = SGDWithL2(0.1, use_ema=True, ema_momentum=0.9)
        model.compile(optimizer, loss=DetectionLoss(), run_eagerly=True)
        for _ in range(2):
            model.train_on_batch(*make_batch(model, (2, 1)))
        model.save(tmp_path / "checkpoint.keras")
        loaded = load_source(tmp_path / "checkpoint.keras")
        kernel = model.trainable_variables[0].numpy()
        with averaged_weights(model):
            for a, b in zip(loaded.trainable_variables, model.trainable_variables, strict=True):
                np.testing.assert_array_equal(a, b)
        assert not np.array_equal(loaded.trainable_variables[0], kernel)

    def test_no_retinanet(self, tmp_path):
        other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        other.save(tmp_path / "other.keras")
        with pytest.raises(WeightsError, match="Sequential and not a RetinaNet"):
            load_source(tmp_path / "other.keras")
        with pytest.raises(WeightsError, match=r"model\.init_from: there is no model file"):
            load_source(tmp_path / "nothing.keras")


class TestSeparableModels:
    """Their last layers have a 3x3 kernel [3, 3, C, 1] that all outputs share."""

    @pytest.fixture(scope="class")
    def source(self, make):
        model = make("cat", "dog", "owl", separable=True)
        rng = np.random.default_rng(1)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    def test_equal_classes_take_everything(self, make, source):
        model = make("cat", "dog", "owl", separable=True)
        report = take_weights(model, source)
        for a, b in zip(model.get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert report.fresh == {}

    def test_classes_are_matched_by_name(self, make, source):
        model = make("owl", "emu", "cat", separable=True)
        before = model.get_layer(CLASSES).get_weights()
        report = take_weights(model, source)
        assert (report.classes_taken, report.classes_fresh) == (("owl", "cat"), ("emu",))
        theirs, now = (m.get_layer(CLASSES).get_weights() for m in (source, model))
        np.testing.assert_array_equal(now[0], theirs[0])  # the shared kernel
        for ours, fresh, other in zip(now[1:], before[1:], theirs[1:], strict=True):
            ours, fresh, other = (w.reshape(*w.shape[:-1], -1, 3) for w in (ours, fresh, other))
            np.testing.assert_array_equal(ours[..., 0], other[..., 2])
            np.testing.assert_array_equal(ours[..., 1], fresh[..., 1])
            np.testing.assert_array_equal(ours[..., 2], other[..., 0])
        assert_same(BOXES, model, source)

    def test_without_a_common_class_the_last_layer_stays_fresh(self, make, source):
        model = make("emu", "fox", separable=True)
        before = model.get_layer(CLASSES).get_weights()
        report = take_weights(model, source)
        assert "none of the 2 classes" in report.fresh[CLASSES]
        for now, then in zip(model.get_layer(CLASSES).get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)


def test_training_begins_from_a_model(make, source, tmp_path, caplog):
    """What `train` does with the setting, up to the first step."""
    caplog.set_level("INFO", "keras_retinanet")
    save_for_inference(source, tmp_path / "cats.keras")
    path = tmp_path / "cats.keras"
    model = make("emu", "cat")
    source = load_source(path)
    report_transfer(take_weights(model, source), tmp_path)
    assert_same("conv1_conv", model, source)
    assert "has fresh values for 1 classes that are not there (emu)" in caplog.text
    written = json.loads((tmp_path / "init_from.json").read_text())
    assert written["classes_taken"] == ["cat"]


def test_networks_of_other_projects_are_told_apart_by_setting(make_tiny):
    source = make_tiny(variant=NetworkVariant(p7_relu=False, padding="symmetric"))
    message = "padding is 'symmetric' there and None here, p7_relu is False there and True here"
    with pytest.raises(WeightsError, match=message):
        take_weights(make_tiny(), source)
