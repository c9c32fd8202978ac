import dataclasses
import inspect
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_retinanet.errors import WeightsError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import DetectionLoss, FocalLoss
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.optimizers.weight_decay import SGDWithL2


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@contextmanager
def dtype_policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def batch_norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def train_steps(model, batch, count=2, **settings):
    """Train for some steps; the values of all variables before and after, by path."""
    optimizer = settings.pop("optimizer", None) or SGDWithL2(0.01, momentum=0.9, l2=1e-4)
    model.compile(optimizer, loss=DetectionLoss(**settings), run_eagerly=True)
    model.reset_metrics()  # Keras before 3.13 keeps them over compile
    before = {v.path: v.numpy() for v in model.weights}
    logs = [model.train_on_batch(*batch, return_dict=True) for _ in range(count)]
    return before, {v.path: v.numpy() for v in model.weights}, logs


class TestOutputs:
    @pytest.mark.parametrize("size", [(64, 64), (65, 63), (33, 127), (1, 1), (128, 96)])
    def test_there_is_one_for_each_anchor(self, tiny, size):
        outputs = tiny(np.zeros((2, *size, 3), np.uint8))
        count = len(tiny.anchor_generator(*size))
        assert {name: value.shape for name, value in outputs.items()} == {
            "class_logits": (2, count, 3),
            "box_deltas": (2, count, 4),
        }

    def test_anchor_settings_decide_their_number(self, make_tiny, images):
        generator = AnchorGenerator(scales=(1.0,), ratios=(1.0, 2.0))
        outputs = make_tiny(anchor_generator=generator)(images)
        assert (
            outputs["class_logits"].shape[1] == len(generator(64, 64)) == 2 * (64 + 16 + 4 + 1 + 1)
        )

    def test_in_a_graph_of_unknown_size(self, tiny, images):
        graph = tf.function(tiny, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
        for name, value in tiny(images).items():
            np.testing.assert_allclose(graph(images)[name], value, atol=1e-4)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
    def test_of_other_number_types_are_those_of_uint8(self, tiny, images, dtype):
        other = tiny(images.astype(dtype))
        for name, value in tiny(images).items():
            np.testing.assert_array_equal(other[name], value)

    def test_images_of_a_batch_are_independent(self, tiny, images):
        both, alone = tiny(images), tiny(images[1:])
        for name in both:
            np.testing.assert_allclose(both[name][1], alone[name][0], atol=1e-4)

    def test_an_object_is_seen_at_the_anchors_near_it(self, tiny):
        """Outputs are laid out as the anchors are: a changed pixel changes P3's cells around it."""
        image = np.full((1, 128, 160, 3), 114, np.uint8)
        changed = image.copy()
        changed[0, 80:88, 24:32] = 255
        difference = tiny(changed)["class_logits"] - tiny(image)["class_logits"]
        num_p3 = tiny.anchor_generator.num_anchors_per_level(128, 160)[0]
        by_cell = np.abs(difference[0, :num_p3]).sum(axis=-1).reshape(16, 20, 9).sum(axis=-1)
        row, column = np.unravel_index(by_cell.argmax(), by_cell.shape)
        assert abs(row - 10) <= 2 and abs(column - 3) <= 2


class TestStart:
    @pytest.mark.parametrize("prior", [0.01, 0.2])
    def test_every_anchor_is_its_own_box_and_foreground_with_the_prior(
        self, make_tiny, images, prior
    ):
        outputs = make_tiny(prior=prior)(images, training=True)
        np.testing.assert_allclose(sigmoid(outputs["class_logits"]), prior, rtol=0.1)
        assert 0 < np.abs(outputs["box_deltas"]).max() < 0.05

    def test_losses_of_the_papers_model(self, retinanet50, make_batch):
        images, targets = make_batch(retinanet50, (3, 1), size=128)
        weights = retinanet50.get_weights()
        outputs = retinanet50(images, training=True)
        # The model is the session's, and a pass in training mode moves its batch statistics.
        retinanet50.set_weights(weights)
        np.testing.assert_allclose(sigmoid(outputs["class_logits"]).mean(), 0.01, rtol=0.2)
        parts = DetectionLoss()(
            targets,
            outputs,
            anchors=retinanet50.anchor_generator(128, 128),
            box_coder=retinanet50.box_coder,
        )
        assert 0.5 < parts["class_loss"] < 3
        assert 0.5 < parts["class_loss"] + parts["box_loss"] < 6


class TestStructure:
    def test_parameters_of_the_papers_model(self, retinanet50):
        def conv(kernel, inputs, outputs):
            return kernel * kernel * inputs * outputs + outputs

        backbone = 23_587_712  # Keras' table for ResNet50, 25,636,712, without its classifier
        fpn = sum(conv(1, c, 256) for c in (512, 1024, 2048)) + 3 * conv(3, 256, 256)
        fpn += conv(3, 2048, 256) + conv(3, 256, 256)
        heads = 8 * conv(3, 256, 256) + conv(3, 256, 9 * 80) + conv(3, 256, 9 * 4)
        assert retinanet50.count_params() == backbone + fpn + heads

    def test_layer_names(self, retinanet50, tiny):
        expected = {"images", "preprocessing"}
        expected |= {f"fpn_lateral_c{i}" for i in (3, 4, 5)}
        expected |= {f"fpn_output_p{i}" for i in (3, 4, 5)} | {"fpn_p6", "fpn_p6_relu", "fpn_p7"}
        expected |= {f"fpn_upsample_p{i}" for i in (3, 4)} | {f"fpn_merge_p{i}" for i in (3, 4)}
        for head in ("class_head", "box_head"):
            expected |= {f"{head}_conv_{i}" for i in range(4)}
            expected |= {f"{head}_predictions", f"{head}_outputs"}
        assert expected | {"conv4_block6_out"} <= {layer.name for layer in retinanet50.layers}
        tiny_names = {layer.name for layer in tiny.layers}
        assert {"conv1_conv", "conv2_block1_1_conv", "conv5_block2_out"} <= tiny_names
        assert "class_head_conv_2" not in tiny_names  # its heads have two hidden convolutions

    def test_names_and_values_are_the_same_in_a_second_model(self, make_tiny, tiny):
        """The names of layers with weights, that is: importers rely on them."""
        second = make_tiny()
        assert [v.path for v in second.weights] == [v.path for v in tiny.weights]
        for ours, others in zip(second.get_weights(), tiny.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, others)

    def test_heads_are_shared_by_levels_but_not_by_each_other(self, tiny):
        for head in ("class_head", "box_head"):
            assert sum(v.path.startswith(head) for v in tiny.weights) == 2 * 3
        kernels = [tiny.get_layer(f"{h}_conv_0").kernel.numpy() for h in ("class_head", "box_head")]
        assert np.any(kernels[0] != kernels[1])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_classes": None}, "give num_classes or class_names"),
            ({"num_classes": 2, "class_names": ["a"]}, "num_classes is 2 and class_names has 1"),
            ({"class_names": ["a", "a"]}, "different names"),
            ({"class_names": []}, "one or more"),
            ({"num_classes": 2, "backbone": "vgg"}, "backbone must be one of"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            RetinaNet(**{"backbone": "resnet18", "weights": None, **settings})

    def test_weights_that_cannot_be_had_are_named(self):
        with pytest.raises(WeightsError, match="no ImageNet weights"):
            RetinaNet("resnet18", num_classes=2, weights="imagenet")


def changed(before, after, part=""):
    paths = [path for path in before if part in path]
    assert paths, part
    return [path for path in paths if np.any(before[path] != after[path])]


class TestTraining:
    @pytest.fixture(scope="class")
    def frozen_run(self, make_tiny, make_batch):
        model = make_tiny(batchnorm="frozen")
        return train_steps(model, make_batch(model, (2, 1)))

    @pytest.fixture(scope="class")
    def model(self, make_tiny):
        return make_tiny(batchnorm="trainable")

    def test_frozen_batchnorm_stays_as_it_is(self, frozen_run):
        before, after, _ = frozen_run
        assert sum("_bn/" in path for path in before) == 20 * 4
        assert not changed(before, after, "_bn/")

    def test_all_else_is_trained(self, frozen_run):
        before, after, _ = frozen_run
        assert set(changed(before, after)) == {path for path in before if "_bn/" not in path}

    def test_logs_hold_both_parts(self, frozen_run):
        for logs in frozen_run[2]:
            assert logs.keys() == {"loss", "class_loss", "box_loss"}
            total = logs["class_loss"] + logs["box_loss"]
            np.testing.assert_allclose(logs["loss"], total, rtol=1e-6)

    def test_trained_batchnorm_moves(self, model, make_batch):
        before, after, _ = train_steps(model, make_batch(model, (2, 1)), count=1)
        for part in ("moving_mean", "moving_variance", "gamma", "beta"):
            assert len(changed(before, after, part)) == 20

    def test_images_without_objects_are_trained_on(self, model, make_batch):
        before, after, (logs,) = train_steps(model, make_batch(model, (0, 0)), count=1)
        assert np.isfinite(logs["loss"]) and logs["box_loss"] == 0 and logs["class_loss"] > 0
        assert all(np.isfinite(value).all() for value in after.values())
        assert changed(before, after, "class_head")

    def test_losses_of_layers_count(self, model, make_batch, monkeypatch):
        images, targets = make_batch(model, (2, 1))
        model.compile(loss=DetectionLoss())

        def loss():
            return float(model.compute_loss(images, targets, model(images)))

        plain = loss()
        penalties = [tf.constant(3.0), tf.constant(0.5)]
        monkeypatch.setattr(type(model), "losses", property(lambda self: penalties))
        assert loss() == pytest.approx(plain + 3.5, rel=1e-5)


class TestSaving:
    SETTINGS = {
        "class_names": ("cat", "dog", "ключ"),
        "anchor_generator": AnchorGenerator(
            sizes=(16, 32, 64, 128, 256), scales=(1.0, 1.5), order="scale", offset=0.0, rounded=True
        ),
        "box_coder": BoxCoder("corner", (0.2, 0.2, 0.2, 0.2), 50.0),
        "input_policy": InputPolicy("square", size=96, pad_multiple=8),
        "batchnorm": "frozen",
        "prior": 0.05,
        "inference": InferenceSettings(0.3, 77, 0.45, 33),
        "name": "mine",
    }

    @pytest.fixture(scope="class")
    def model(self, make_tiny):
        model = make_tiny(**self.SETTINGS)
        rng = np.random.default_rng(0)
        for weight in model.weights:  # values that no fresh model has
            weight.assign(weight + 0.01 * rng.random(weight.shape))
        return model

    @pytest.fixture(scope="class")
    def path(self, model, tmp_path_factory):
        path = tmp_path_factory.mktemp("saved") / "model.keras"
        model.save(path)
        return path

    @pytest.fixture(scope="class")
    def loaded(self, path):
        return keras.models.load_model(path)

    def test_keeps_all_settings(self, model, loaded):
        assert isinstance(loaded, RetinaNet)
        for name, value in self.SETTINGS.items():
            assert (
                loaded.get_config()[name] if name == "prior" else getattr(loaded, name)
            ) == value
        assert loaded.num_classes == 3 and loaded.backbone_name == "resnet18"
        assert loaded.get_config() == model.get_config()
        assert not any(norm.trainable for norm in batch_norms(loaded))

    def test_keeps_outputs_to_the_bit(self, model, loaded, images):
        for name, value in model(images).items():
            np.testing.assert_array_equal(loaded(images)[name], value)

    def test_loads_in_a_program_that_has_set_another_policy(self, path, model, images):
        with dtype_policy("mixed_bfloat16"):
            loaded = keras.models.load_model(path)
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
        for name, value in model(images).items():
            np.testing.assert_array_equal(loaded(images)[name], value)

    def test_keeps_loss_and_optimizer(self, make_tiny, make_batch, tmp_path):
        model = make_tiny()
        model.compile(
            SGDWithL2(0.01, momentum=0.9, l2=1e-4),
            loss=DetectionLoss(FocalLoss(1.5, 0.5), normalizer="per_image"),
            run_eagerly=True,
        )
        model.train_on_batch(*make_batch(model, (2, 1)))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.loss.get_config() == model.loss.get_config()
        assert loaded.optimizer.get_config() == model.optimizer.get_config()
        assert loaded.optimizer.iterations == 1
        variables = zip(loaded.optimizer.variables, model.optimizer.variables, strict=True)
        for ours, theirs in variables:
            np.testing.assert_array_equal(ours, theirs)

    def test_a_copy_may_have_other_inference_settings(self, model, images):
        other = dataclasses.replace(model.inference, max_detections=5)
        copy = copy_for_inference(model, inference=other)  # as `retinanet export` makes one
        assert (copy.inference, copy.box_coder) == (other, model.box_coder)
        assert model.inference.max_detections == 33
        for name, value in model(images).items():
            np.testing.assert_array_equal(copy(images)[name], value)

    def test_every_setting_of_the_signature_is_saved(self, model):
        signature = set(inspect.signature(RetinaNet.__init__).parameters)
        assert set(model.get_config()) == signature - {"self", "num_classes", "weights"}

    def test_needs_no_weights_of_the_backbone(self, make_tiny, tiny, tmp_path):
        """A model built from a file does not look for that file again."""
        file = tmp_path / "backbone.weights.h5"
        keras.Model(tiny.input, tiny.get_layer("conv5_block2_out").output).save_weights(file)
        model = make_tiny(weights=str(file))
        assert model.batchnorm == "frozen"
        file.unlink()
        copy = RetinaNet.from_config(model.get_config())
        assert copy.batchnorm == "frozen"
        assert not any(norm.trainable for norm in batch_norms(copy))


class TestMixedPrecision:
    @pytest.fixture(scope="class")
    def model(self, make_tiny):
        return make_tiny(dtype="mixed_bfloat16")

    def test_global_policy_is_left_alone(self, model):
        assert keras.config.dtype_policy().name == "float32"

    def test_global_policy_survives_a_failed_model(self, make_tiny):
        with pytest.raises(ValueError):
            make_tiny(dtype="mixed_bfloat16", batchnorm="no")
        assert keras.config.dtype_policy().name == "float32"

    def test_global_policy_is_the_default(self, make_tiny):
        with dtype_policy("mixed_bfloat16"):
            model = make_tiny()
        assert model.get_layer("conv1_conv").compute_dtype == "bfloat16"

    def test_network_is_bfloat16_and_predictions_float32(self, model, images):
        for name in (
            "conv1_conv",
            "conv5_block2_2_bn",
            "fpn_p6",
            "fpn_merge_p3",
            "class_head_conv_1",
        ):
            assert model.get_layer(name).compute_dtype == "bfloat16", name
        assert model.get_layer("preprocessing").compute_dtype == "float32"
        assert all(v.dtype == "float32" for v in model.weights)
        assert {value.dtype for value in model(images).values()} == {tf.float32}

    def test_outputs_are_near_those_of_float32(self, model, tiny, images):
        expected = tiny(images)
        for name, value in model(images).items():
            spread = np.std(expected[name])
            np.testing.assert_allclose(value, expected[name], atol=0.3 * spread)

    def test_trains(self, model, make_batch):
        before, after, logs = train_steps(model, make_batch(model, (2, 1)), count=1)
        assert np.isfinite(logs[0]["loss"])
        assert changed(before, after, "class_head_conv_0")

    def test_saving_keeps_the_policy(self, model, images, tmp_path):
        model.save(tmp_path / "model.keras", include_optimizer=False)
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert keras.config.dtype_policy().name == "float32"
        assert [x.dtype_policy for x in loaded.layers] == [x.dtype_policy for x in model.layers]
        for name, value in model(images).items():
            np.testing.assert_array_equal(loaded(images)[name], value)
