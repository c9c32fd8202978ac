"""A backbone that is a Keras model of one's own."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.optimizers.weight_decay import SGDWithL2

SMALL = {"num_classes": 2, "fpn_channels": 8, "head_channels": 8, "head_depth": 1}


def backbone(strides=(2, 2, 2), *, size=None, frozen_bn=False, nested=False):
    """Scaling, a stem of stride 4, and three stages of which the default strides end at 32."""
    keras.utils.set_random_seed(1)
    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, -1.0, name="scaling")(images)
    # Not 3 x 3, of which TFLite's XNNPACK makes zeros at stride 4.
    x = layers.Conv2D(8, 4, strides=4, padding="same", name="stem")(x)
    maps = []
    for i, stride in enumerate(strides):
        norm = layers.BatchNormalization(name=f"bn_{i}", trainable=not frozen_bn)
        stage = [layers.Conv2D(8, 3, strides=stride, padding="same", name=f"conv_{i}"), norm]
        if nested:
            stage = [keras.Sequential(stage, name=f"stage_{i}")]
        for layer in stage:
            x = layer(x)
        maps.append(keras.ops.relu(x))
        x = maps[-1]
    model = keras.Model(images, maps, name="mine")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0.01, 0.1, weight.shape))
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def features_of(model, images):
    names = ("conv_0", "conv_1", "conv_2")
    return keras.Model(model.input, [model.get_layer(name).output for name in names])(images)


@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("as_list", [False, True])
def test_features_and_weights_are_the_backbones(images, size, as_list):
    mine = backbone(size=size)
    model = RetinaNet(mine.outputs if as_list else mine, **SMALL)
    same_size = images[:, :64, :64]
    for ours, theirs in zip(
        features_of(model, same_size), features_of(mine, same_size), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert model.backbone_name == ("backbone" if as_list else "mine")
    # Images of any size, whatever the backbone was built for.
    assert model(images)["class_logits"].shape[1] == len(model.anchor_generator(64, 96))


def test_the_given_model_is_left_alone(images, make_batch):
    mine = backbone()
    before = [w.copy() for w in mine.get_weights()]
    model = RetinaNet(mine, **SMALL)
    model.compile(SGDWithL2(0.01), loss=DetectionLoss(), run_eagerly=True)
    stem = model.get_layer("stem").get_weights()[0].copy()
    model.train_on_batch(*make_batch(model, (2, 1)))
    assert not np.array_equal(model.get_layer("stem").get_weights()[0], stem)
    for now, then in zip(mine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("nested", [False, True])
def test_saving_keeps_all(images, tmp_path, nested):
    model = RetinaNet(backbone(frozen_bn=True, nested=nested), **SMALL)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    copy = copy_for_inference(model)
    for name, value in model(images).items():
        np.testing.assert_array_equal(loaded(images)[name], value)
        np.testing.assert_array_equal(copy(images)[name], value)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("mode", "frozen_bn", "trainable"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("frozen", False, False),
        ("trainable", True, True),
    ],
)
def test_batchnorm_is_as_the_model_has_it_unless_asked_for(mode, frozen_bn, trainable, nested):
    model = RetinaNet(backbone(frozen_bn=frozen_bn, nested=nested), batchnorm=mode, **SMALL)
    flat = [x for layer in model.layers for x in getattr(layer, "layers", [layer])]
    norms = [layer for layer in flat if isinstance(layer, layers.BatchNormalization)]
    assert [norm.trainable for norm in norms] == [trainable] * 3


def test_it_follows_the_models_precision():
    model = RetinaNet(backbone(), dtype="mixed_bfloat16", **SMALL)
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert model.get_layer("scaling").compute_dtype == "float32"  # pixels keep their precision
    assert copy_for_inference(model, dtype="float32").get_layer("stem").compute_dtype == "float32"


class Subclassed(keras.Model):
    def call(self, x):
        return [x, x, x]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: backbone((2, 2, 1)), "128 x 192 the maps of mine are 16 x 24, 8 x 12, 8 x 12"),
        (lambda: backbone((2, 2)), "got 1 inputs and 2 maps"),
        (lambda: backbone((1, 2, 2, 2)), "got 1 inputs and 4 maps"),
        (lambda: backbone().outputs[::-1], "maps of backbone are 4 x 6, 8 x 12, 16 x 24"),
        (lambda: backbone().outputs[:2] + backbone().outputs[2:], "got 2 inputs and 3 maps"),
        (lambda: Subclassed(), "Subclassed has no symbolic outputs"),
        (lambda: keras.Sequential([layers.Conv2D(1, 1)]), "Sequential has no symbolic outputs"),
        (lambda: [1, 2, 3], "got list"),
        (lambda: None, "got NoneType"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, what):
    with pytest.raises(ValueError, match=r"strides 8, 16 and 32") as error:
        RetinaNet(make(), **SMALL)
    assert what in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"frozen_stages": 1}, {"width": 0.5}])
def test_settings_of_named_backbones_are_refused(settings):
    with pytest.raises(ValueError, match="for backbones that are given by name"):
        RetinaNet(backbone(), **settings, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", [SavedModelExporter(), TFLiteExporter()])
def test_exports_compute_the_same(exporter, tmp_path):
    model = RetinaNet(backbone(), input_policy=InputPolicy("stretch", 64), prior=0.3, **SMALL)
    for head in ("class_head", "box_head"):  # scores far apart, and no two boxes alike
        kernel = model.get_layer(f"{head}_predictions").kernel
        kernel.assign(np.random.default_rng(0).normal(0, 0.3, kernel.shape))
    _, parity = export_model(model, tmp_path / "export", exporter)  # raises if it does not
    assert parity.num_detections > 20
