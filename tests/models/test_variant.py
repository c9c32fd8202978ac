"""What networks of other projects need: each setting against the same sum written out."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_retinanet.config.schema import ModelConfig, NetworkConfig
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.fpn_variant import NearestLike, variant_feature_pyramid
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import PAPER, PIXEL_SCALINGS, NetworkVariant, PixelScaling
from keras_retinanet.optimizers.weight_decay import KernelAdamW

CHANNELS = 8


def backbone(name="resnet18", **settings):
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    variant = NetworkVariant(**settings)
    maps = build_backbone(name, images, weights=None, batchnorm="auto", variant=variant)
    return keras.Model(images, maps)


def patches(count=1, height=64, width=96):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype("float32")


def conv(x, layer, strides=1, padding=0):
    """A convolution with zeros on all sides."""
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    return keras.ops.convert_to_numpy(keras.ops.conv(x, layer.kernel, strides, "valid"))


class TestSettings:
    def test_those_of_the_config_are_the_same(self):
        names = {field.name for field in dataclasses.fields(NetworkVariant)}
        assert set(NetworkConfig.model_fields) == names
        assert NetworkVariant.of(ModelConfig()) == PAPER

    def test_reach_the_variant_from_a_config(self):
        config = ModelConfig(
            pixel_scaling={"order": "bgr", "mean": [1, 2, 3]}, head_norm="group", p6_from="p5"
        )
        assert NetworkVariant.of(config) == NetworkVariant(
            pixel_scaling=PixelScaling("bgr", (1, 2, 3)), head_norm="group", p6_from="p5"
        )
        named = ModelConfig(pixel_scaling="torch")
        assert NetworkVariant.of(named).pixel_scaling == PIXEL_SCALINGS["torch"]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"padding": "valid"}, r"padding must be one of .*not 'valid'"),
            ({"head_norm": "layer"}, "head_norm must be one of"),
            ({"batchnorm_epsilon": -1e-3}, "batchnorm_epsilon must not be below 0"),
            ({"head_norm_epsilon": -1.0}, "head_norm_epsilon must not be below 0"),
            ({"pixel_scaling": "vgg"}, "pixel_scaling must be one of caffe, torch, tf"),
            ({"pixel_scaling": {"order": "gbr"}}, "order must be 'rgb' or 'bgr'"),
            ({"pixel_scaling": {"mean": [1, 2]}}, "mean needs three numbers"),
            ({"pixel_scaling": {"std": [1, 0, 1]}}, "std must be positive"),
        ],
    )
    def test_wrong_ones_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            NetworkVariant(**settings)

    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("resnet50", {"padding": "same"}),
            ("mobilenet_v2", {"padding": "symmetric"}),
            ("efficientnet_lite0", {"pool_padding": "symmetric"}),
        ],
    )
    def test_padding_that_a_backbone_does_not_have_is_refused(self, name, settings):
        with pytest.raises(ValueError, match="does not go with"):
            backbone(name, **settings)

    def test_a_backbone_of_ones_own_has_settled_them(self):
        with pytest.raises(ValueError, match="padding = 'symmetric' does not go with a backbone"):
            RetinaNet(backbone(), num_classes=2, variant=NetworkVariant(padding="symmetric"))

    def test_light_heads_have_norms_of_their_own(self):
        with pytest.raises(ValueError, match="head_norm = 'group' does not go with separable"):
            self.separable(head_norm="group")
        with pytest.raises(ValueError, match="box_level_scale = True does not go with separable"):
            self.separable(box_level_scale=True)
        with pytest.raises(ValueError, match=r"head_norm_epsilon = 0\.1 does not go with"):
            self.separable(head_norm_epsilon=0.1)

    @staticmethod
    def separable(**settings):
        variant = NetworkVariant(**settings)
        return RetinaNet("resnet18", num_classes=2, weights=None, separable=True, variant=variant)


class TestBackbone:
    @pytest.mark.parametrize("order", ["rgb", "bgr"])
    def test_pixels_are_scaled_as_asked(self, order):
        mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
        model = backbone(pixel_scaling=PixelScaling(order, mean, std))
        images = patches()
        scaled = keras.Model(model.input, model.get_layer("preprocessing").output)(images)
        channels = images if order == "rgb" else images[..., ::-1]
        np.testing.assert_allclose(scaled, (channels - mean) / std, atol=1e-5)

    def test_padding_is_symmetric(self):
        model = backbone(padding="symmetric")
        images = patches(height=65)
        stem = keras.Model(model.input, model.get_layer("conv1_conv").output)
        scaled = keras.Model(model.input, model.get_layer("preprocessing").output)(images)
        expected = conv(np.asarray(scaled), model.get_layer("conv1_conv"), strides=2, padding=3)
        np.testing.assert_allclose(stem(images), expected, atol=1e-4)

    def test_pooling_may_differ_from_the_rest(self):
        """fizyr's stem: symmetric convolution, pooling as "same"."""
        images = patches(height=64, width=64)
        model = backbone("resnet50", pool_padding="same")
        before = keras.Model(model.input, model.get_layer("conv1_relu").output)(images)
        after = keras.Model(model.input, model.get_layer("pool1_pool").output)(images)
        expected = keras.ops.max_pool(before, 3, strides=2, padding="same")
        np.testing.assert_array_equal(after, expected)
        plain = backbone("resnet50")
        plain.set_weights(model.get_weights())
        padded = keras.Model(plain.input, plain.get_layer("pool1_pool").output)(images)
        assert padded.shape == after.shape and np.any(np.asarray(padded) != np.asarray(after))

    def test_epsilon_is_of_all_norms(self):
        model = backbone(batchnorm_epsilon=0.25)
        norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
        assert len(norms) == 20 and {norm.epsilon for norm in norms} == {0.25}
        norm = model.get_layer("conv1_bn")
        x = np.random.default_rng(0).normal(size=(1, 4, 4, 64)).astype("float32")
        np.testing.assert_allclose(norm(x), x / np.sqrt(1.25), atol=1e-5)

    @pytest.mark.parametrize("size", [(64, 64), (65, 63), (33, 127)])
    @pytest.mark.parametrize("name", ["resnet50_v1_5", "efficientnet_lite0"])
    def test_strides_are_8_16_32_rounded_up(self, request, name, size):
        model = request.getfixturevalue(name)
        channels = (512, 1024, 2048) if name == "resnet50_v1_5" else (40, 112, 320)
        maps = model(np.zeros((1, *size, 3), "float32"))
        for features, stride, width in zip(maps, (8, 16, 32), channels, strict=True):
            assert features.shape == (1, -(-size[0] // stride), -(-size[1] // stride), width)

    @pytest.fixture(scope="class")
    def resnet50_v1_5(self):
        return backbone("resnet50_v1_5")

    @pytest.fixture(scope="class")
    def efficientnet_lite0(self):
        return backbone("efficientnet_lite0")

    def test_v1_5_has_torchvisions_parameters(self, resnet50_v1_5):
        norms = [x for x in resnet50_v1_5.layers if isinstance(x, keras.layers.BatchNormalization)]
        statistics = sum(2 * norm.gamma.shape[0] for norm in norms)
        classifier = 2048 * 1000 + 1000
        assert resnet50_v1_5.count_params() == 25_557_032 - classifier + statistics

    def test_v1_5_has_the_stride_in_the_3x3(self, resnet50_v1_5):
        strides = {x.name: x.strides for x in resnet50_v1_5.layers if hasattr(x, "kernel_size")}
        assert strides["conv3_block1_1_conv"] == (1, 1)
        assert strides["conv3_block1_2_conv"] == (2, 2)

    def test_frozen_stages_know_the_new_names(self):
        for name, last in (("resnet50_v1_5", "_3_conv"), ("efficientnet_lite0", "_project_conv")):
            images = keras.Input((None, None, 3))
            features = build_backbone(name, images, weights=None, batchnorm="auto", frozen_stages=2)
            model = keras.Model(images, features)
            trainable = [model.get_layer(f"conv{i}_block1{last}").trainable for i in (2, 3, 4, 5)]
            assert trainable == [False, True, True, True]
            assert not model.get_layer("conv1_conv").trainable


class TestPyramid:
    @staticmethod
    def pyramid(**settings):
        keras.utils.set_random_seed(0)
        maps = [keras.Input((None, None, c)) for c in (4, 6, 10)]
        variant = NetworkVariant(**settings)
        levels = variant_feature_pyramid(
            *maps, channels=CHANNELS, variant=variant, synchronized=False
        )
        return keras.Model(maps, levels)

    @staticmethod
    def features(height, width):
        rng = np.random.default_rng(0)
        shapes = [(-(-height // s), -(-width // s), c) for s, c in ((8, 4), (16, 6), (32, 10))]
        return [rng.normal(size=(2, *shape)).astype("float32") for shape in shapes]

    @pytest.mark.parametrize(
        ("top", "rows", "expected"),
        [
            (3, 5, [0, 0, 1, 1, 2]),  # i * 3 // 5
            (2, 3, [0, 0, 1]),
            (3, 6, [0, 0, 1, 1, 2, 2]),
            (4, 7, [0, 0, 1, 1, 2, 2, 3]),
            (5, 9, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
            (4, 4, [0, 1, 2, 3]),
        ],
    )
    def test_nearest_stretches_to_the_laterals_size(self, top, rows, expected):
        x = np.arange(top, dtype="float32").reshape(1, top, 1, 1) + np.zeros((1, 1, 2, 1))
        result = NearestLike()([x, np.zeros((1, rows, 3, 1))])
        assert result.shape == (1, rows, 3, 1)
        np.testing.assert_array_equal(result[0, :, 0, 0], expected)

    def test_p6_is_made_of_p5_with_symmetric_padding(self):
        model = self.pyramid(p6_from="p5", fpn_padding="symmetric", p7_relu=False)
        levels = [np.asarray(p) for p in model(self.features(128, 192))]
        layer = model.get_layer
        p6 = conv(levels[2], layer("fpn_p6"), strides=2, padding=1)
        p7 = conv(levels[3], layer("fpn_p7"), strides=2, padding=1)
        np.testing.assert_allclose(levels[3], p6, atol=1e-5)
        np.testing.assert_allclose(levels[4], p7, atol=1e-5)
        assert (levels[3] < 0).any()  # else the missing ReLU would not be seen

    def test_batch_norm_is_of_each_level_and_comes_last(self):
        model, plain = self.pyramid(fpn_norm="batch"), self.pyramid(p7_relu=True)
        for i in range(3, 8):
            norm = model.get_layer(f"fpn_norm_p{i}")
            norm.gamma.assign(np.full(CHANNELS, float(i)))
        features = self.features(64, 64)
        for i, (ours, expected) in enumerate(zip(model(features), plain(features), strict=True)):
            expected = np.asarray(expected) * (i + 3) / np.sqrt(1.001)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


class TestHeads:
    @pytest.fixture(scope="class")
    def images(self):
        return patches(2, 64, 64)

    @pytest.mark.parametrize("epsilon", [None, 0.1])
    def test_group_norm_is_written_out(self, make_tiny, images, epsilon):
        variant = NetworkVariant(head_norm="group", head_norm_epsilon=epsilon)
        model = make_tiny(channels=64, head_depth=1, variant=variant)
        conv_0, norm = (model.get_layer(f"class_head_{n}_0") for n in ("conv", "norm"))
        assert not conv_0.use_bias
        rng = np.random.default_rng(0)
        norm.set_weights([rng.uniform(0.5, 1.5, 64), rng.normal(size=64)])
        p6 = keras.Model(model.input, model.get_layer("fpn_p6").output)(images)
        x = conv(np.asarray(p6), conv_0, padding=1)
        groups = x.reshape(*x.shape[:3], 32, 2)
        mean = groups.mean(axis=(1, 2, 4), keepdims=True)
        variance = groups.var(axis=(1, 2, 4), keepdims=True)
        groups = (groups - mean) / np.sqrt(variance + (epsilon or 1e-5))
        gamma, beta = norm.get_weights()
        x = np.maximum(groups.reshape(x.shape) * gamma + beta, 0)
        predict = model.get_layer("class_head_predictions")
        expected = conv(x, predict, padding=1) + np.asarray(predict.bias)
        start = sum(model.anchor_generator.num_anchors_per_level(64, 64)[:3])
        ours = model(images)["class_logits"][:, start : start + 9]  # P6 is one cell
        np.testing.assert_allclose(ours, expected.reshape(2, 9, 3), rtol=1e-3, atol=1e-4)

    def test_group_norm_needs_groups(self, make_tiny):
        with pytest.raises(ValueError, match="head_channels to be a multiple of 32, got 16"):
            make_tiny(variant=NetworkVariant(head_norm="group"))

    def test_batch_norm_is_of_each_level(self, make_tiny, images):
        model = make_tiny(variant=NetworkVariant(head_norm="batch"))
        names = {layer.name for layer in model.layers}
        assert {f"box_head_norm_{i}_p{level}" for i in (0, 1) for level in range(3, 8)} <= names
        assert model.get_layer("box_head_conv_0").use_bias
        assert model.get_layer("box_head_norm_0_p3").epsilon == 1e-3  # Keras' own
        before = model(images)["class_logits"].numpy()
        model.get_layer("class_head_norm_1_p7").beta.assign(np.ones(16))
        changed = np.any(model(images)["class_logits"].numpy() != before, axis=(0, 2))
        assert not changed[:-9].any() and changed[-9:].all()

    @pytest.mark.parametrize("head_norm", ["none", "batch"])
    def test_scale_is_of_each_level_and_of_boxes_alone(self, head_norm, make_tiny, images):
        plain = make_tiny(variant=NetworkVariant(head_norm=head_norm))
        model = make_tiny(variant=NetworkVariant(head_norm=head_norm, box_level_scale=True))
        scales = [model.get_layer(f"box_head_scale_p{level}") for level in range(3, 8)]
        assert model.count_params() == plain.count_params() + len(scales)
        for layer in plain.layers:
            model.get_layer(layer.name).set_weights(layer.get_weights())
        before, expected = model(images), plain(images)
        for name, value in expected.items():
            np.testing.assert_allclose(before[name], value, rtol=1e-5, atol=1e-6)
        scales[-1].scale.assign(3.0)
        after = model(images)
        np.testing.assert_array_equal(after["class_logits"], before["class_logits"])
        factor = np.ones((1, after["box_deltas"].shape[1], 1))
        factor[:, -9:] = 3  # P7 is one cell
        np.testing.assert_allclose(after["box_deltas"], before["box_deltas"] * factor, rtol=1e-6)

    def test_scale_is_trained_and_does_not_decay(self, make_tiny, make_batch):
        model = make_tiny(variant=NetworkVariant(box_level_scale=True))
        model.compile(KernelAdamW(1e-3, weight_decay=0.5), loss=DetectionLoss())
        data = make_batch(model, (3, 5))
        model.train_on_batch(*data)
        moved = [abs(float(w) - 1) for w in model.trainable_weights if w.name == "scale"]
        assert len(moved) == 5 and max(moved) == pytest.approx(1e-3, rel=0.1), "Adam's first step"


class TestSaving:
    VARIANT = NetworkVariant(
        pixel_scaling=PixelScaling("bgr", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
        batchnorm_epsilon=1e-4,
        padding="symmetric",
        fpn_padding="symmetric",
        fpn_upsampling="nearest",
        head_norm="batch",
        box_level_scale=True,
        p6_from="p5",
    )

    def test_keeps_the_variant(self, make_tiny, tmp_path):
        model = make_tiny(variant=self.VARIANT)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.variant == self.VARIANT and loaded.get_config() == model.get_config()
        images = patches(1, 65, 97)
        for name, value in model(images).items():
            np.testing.assert_array_equal(loaded(images)[name], value)

    def test_files_from_before_there_were_variants_are_of_the_paper(self, make_tiny):
        config = make_tiny().get_config()
        del config["variant"]
        for name in ("integer_sizes", "step"):
            del config["anchor_generator"][name]
        assert RetinaNet.from_config(config).variant == PAPER
