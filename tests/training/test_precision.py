"""Mixed precision: steps near those of float32, overflows, and what stays float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.weight_decay import SGDWithL2
from keras_retinanet.training import train as training
from keras_retinanet.training.narrow_batches import NARROW_WIDTH, refuse_narrow_batches
from keras_retinanet.training.setup import prepare
from keras_retinanet.training.setup.model_and_loss import build_model
from keras_retinanet.training.setup.optimization import make_optimizer, resolve_jit_compile

pytestmark = pytest.mark.usefixtures("small_resnet18")

SETTINGS = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "optimizer.name=sgd",
    "optimizer.learning_rate=0.01",
    "optimizer.clip_norm=null",
    "schedule.warmup_iterations=0",
)


@pytest.fixture(scope="module")
def make_step(make_batch, small_resnet18):
    """A function: a step of the config's model and optimizer; its loss, and each weight's step."""

    def step(precision, strategy=None, scale=None):
        keras.utils.set_random_seed(0)
        config = load_config("quickstart", [*SETTINGS, f"model.precision={precision}"])
        with (strategy or tf.distribute.get_strategy()).scope():
            model = build_model(config, ("a", "b"))
            optimizer = make_optimizer(config, 100)
            if scale is not None:
                optimizer.initial_scale = scale
            model.compile(optimizer, loss=DetectionLoss(), run_eagerly=strategy is None)
        before = [v.numpy() for v in model.trainable_variables]
        # Wider than what TensorFlow trains wrongly in bfloat16.
        batch = tf.data.Dataset.from_tensors(make_batch(model, (2, 1), size=NARROW_WIDTH + 64))
        history = model.fit(batch, epochs=1, verbose=0)
        changes = [v.numpy() - old for v, old in zip(model.trainable_variables, before)]
        return model, history.history["loss"][0], np.concatenate([c.ravel() for c in changes])

    return step


@pytest.fixture(scope="module")
def float32_step(make_step):
    return make_step("float32")


def assert_near(step, expected):
    _, loss, change = step
    assert np.isfinite(loss) and np.isfinite(change).all()
    assert loss == pytest.approx(expected[1], rel=0.02)
    cosine = change @ expected[2] / np.linalg.norm(change) / np.linalg.norm(expected[2])
    assert cosine > 0.97
    assert np.linalg.norm(change) == pytest.approx(np.linalg.norm(expected[2]), rel=0.1)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_step_is_near_that_of_float32(precision, make_step, float32_step):
    step = make_step(precision)
    assert_near(step, float32_step)
    model = step[0]
    assert {v.dtype for v in model.weights} == {"float32"}
    assert {tensor.dtype for tensor in model.outputs} == {"float32"}
    assert model.get_layer("conv1_conv").compute_dtype == precision.removeprefix("mixed_")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_step_of_two_replicas(precision, make_step, float32_step, two_replicas):
    assert_near(make_step(precision, two_replicas), float32_step)


@pytest.mark.slow
def test_losses_are_float32(make_step, make_batch):
    model = make_step("mixed_bfloat16")[0]
    images, targets = make_batch(model, (2, 1))
    outputs = model(images)
    loss = model.compute_loss(tf.constant(images), targets, outputs)
    assert loss.dtype == tf.float32
    exact = {name: tf.cast(value, tf.float64) for name, value in outputs.items()}
    parts = DetectionLoss()(
        targets,
        {name: tf.cast(value, tf.float32) for name, value in exact.items()},
        anchors=model.anchor_generator(64, 64),
        box_coder=model.box_coder,
    )
    assert float(loss) == pytest.approx(float(parts["class_loss"] + parts["box_loss"]), rel=1e-6)


class TestNarrowBatches:
    @pytest.mark.parametrize(
        ("policy", "sizes", "is_refused"),
        [
            (InputPolicy("square", size=64), [(80, 60), (60, 80)], True),
            (InputPolicy("square", size=96), [(80, 60), (60, 80)], False),
            # 64 of 128 px are narrow, and 65 in a canvas of 96 not.
            (InputPolicy("shorter_side", 64, 128), [(128, 64), (128, 64)], True),
            (InputPolicy("shorter_side", 65, 130), [(130, 65), (130, 65)], False),
            # As wide as the widest image of the batch.
            (InputPolicy("shorter_side", 96, 1280), [(3200, 64), (128, 96)], False),
            (InputPolicy("shorter_side", 96, 1280), [(3200, 64), (3200, 64)], True),
            # Flat maps are right.
            (InputPolicy("shorter_side", 64, 3200), [(64, 3200), (64, 3200)], False),
        ],
    )
    def test_width_alone_counts(self, policy, sizes, is_refused):
        heights, widths = np.array(sizes).T
        plan = TrainingPlan(heights, widths, policy, batch_size=2)
        if not is_refused:
            refuse_narrow_batches(plan, ["a.jpg", "b.jpg"], num_epochs=2)
            return
        with pytest.raises(ConfigError, match=r"1 batches .*[ab]\.jpg.*model.precision=float32"):
            refuse_narrow_batches(plan, ["a.jpg", "b.jpg"], num_epochs=2)

    @pytest.mark.parametrize(
        ("gpus", "precision", "is_refused"),
        [
            ([], "mixed_bfloat16", True),
            ([], "float32", False),
            (["GPU:0"], "mixed_bfloat16", False),
        ],
    )
    def test_only_bfloat16_on_a_cpu_is_refused(
        self, gpus, precision, is_refused, tmp_path, monkeypatch
    ):
        class Reached(Exception):
            pass

        def build(*_, **__):
            raise Reached

        real = tf.config.list_logical_devices
        monkeypatch.setattr(
            tf.config,
            "list_logical_devices",
            lambda kind=None: gpus if kind == "GPU" else real(kind),
        )
        monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())
        monkeypatch.setattr(prepare, "compiled_model", build)
        data = load_dataset(write_demo_dataset(tmp_path / "set", num_train=4, num_val=2), "train")
        config = load_config("quickstart", ["image.size=64", f"model.precision={precision}"])
        with pytest.raises(ConfigError if is_refused else Reached):
            training.train(config, data, None, tmp_path / "run")


@pytest.mark.parametrize(
    "replicas", ["one", pytest.param("two", marks=pytest.mark.slow)], ids=["one", "two"]
)
def test_an_overflow_skips_the_step_and_halves_the_scale(replicas, make_step, request):
    strategy = request.getfixturevalue("two_replicas") if replicas == "two" else None
    scale = 2.0**40
    model, loss, change = make_step("mixed_float16", strategy, scale)
    assert np.isfinite(loss)
    np.testing.assert_array_equal(change, 0)
    assert model.optimizer.dynamic_scale.numpy() == scale / 2
    assert model.optimizer.iterations.numpy() == 0


def test_only_float16_scales_the_loss():
    kinds = {
        precision: type(
            make_optimizer(
                load_config("quickstart", [*SETTINGS, f"model.precision={precision}"]), 100
            )
        )
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    }
    expected = {"mixed_bfloat16": SGDWithL2, "mixed_float16": LossScaling}
    assert kinds == {"float32": SGDWithL2, **expected}


class TestJitCompile:
    @pytest.mark.parametrize(
        ("settings", "replicas", "expected"),
        [
            (("image.resize=square",), 1, "auto"),
            (("image.resize=square",), 2, False),
            (("image.resize=shorter_side",), 1, False),
            (("image.resize=square", "training.jit_compile=true"), 1, True),
            (("image.resize=square", "training.jit_compile=false"), 1, False),
        ],
    )
    def test_choices(self, settings, replicas, expected):
        config = load_config("quickstart", settings)
        assert resolve_jit_compile(config, replicas) == expected

    @pytest.mark.parametrize(
        ("resize", "replicas", "message"),
        [
            ("shorter_side", 1, "needs images of one size: image.resize=square"),
            ("square", 2, "does not go with 2 devices"),
        ],
    )
    def test_what_xla_cannot_do_is_refused(self, resize, replicas, message):
        config = load_config("quickstart", [f"image.resize={resize}", "training.jit_compile=true"])
        with pytest.raises(ConfigError, match=message):
            resolve_jit_compile(config, replicas)

    @pytest.mark.slow
    def test_a_compiled_step_is_the_same_step(self, make_batch, make_tiny):
        steps = []
        for jit_compile in (False, True):
            model = make_tiny(channels=8, head_depth=1)
            model.compile(SGDWithL2(0.01), loss=DetectionLoss(), jit_compile=jit_compile)
            assert model.jit_compile is jit_compile
            loss = model.train_on_batch(*make_batch(model, (2, 1)))
            steps.append([np.float32(loss[0]), *model.get_weights()])
        for plain, compiled in zip(*steps, strict=True):
            scale = np.abs(plain).max()
            np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4 * scale)
