import keras
import numpy as np
import pytest

from keras_retinanet.conventions import STAGE_PREFIXES
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.optimizers.weight_decay import SGDWithL2

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def make(make_tiny, small_resnet18):
    return lambda **settings: make_tiny(channels=8, head_depth=1, **settings)


# Of a ResNet.
PREFIXES = tuple(prefixes[0] for prefixes in STAGE_PREFIXES)


def trained_prefixes(variables):
    return {p for p in PREFIXES for v in variables if v.path.startswith(p)}


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_so_many_stages_are_not_trained(make, count):
    model = make(frozen_stages=count)
    assert trained_prefixes(model.trainable_variables) == set(PREFIXES[count:])
    others = [v.path for v in model.weights if not v.path.startswith(PREFIXES)]
    assert {v.path for v in model.trainable_variables} >= set(others)


def test_with_frozen_batchnorm_too(make):
    model = make(frozen_stages=2, batchnorm="frozen")
    assert trained_prefixes(model.trainable_variables) == set(PREFIXES[2:])
    assert not [v.path for v in model.trainable_variables if "_bn/" in v.path]


def test_a_step_leaves_frozen_stages_and_their_statistics(make, make_batch):
    model = make(frozen_stages=3, batchnorm="trainable")
    model.compile(SGDWithL2(0.01, l2=0.1), loss=DetectionLoss(), run_eagerly=True)
    before = {v.path: v.numpy() for v in model.weights}
    model.train_on_batch(*make_batch(model, (2, 1)))
    changed = {v.path for v in model.weights if not np.array_equal(v.numpy(), before[v.path])}
    frozen = {path for path in before if path.startswith(PREFIXES[:3])}
    assert changed == set(before) - frozen
    assert any(path.endswith("moving_mean") for path in frozen)
    assert any(path.endswith("moving_mean") for path in changed)


def test_a_copy_is_frozen_alike(make):
    model = make(frozen_stages=2)
    copy = RetinaNet.from_config(model.get_config())
    assert copy.get_config()["frozen_stages"] == 2
    assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]


def test_files_from_before_have_none(make):
    config = make().get_config()
    del config["frozen_stages"]
    assert RetinaNet.from_config(config).get_config()["frozen_stages"] == 0


@pytest.mark.parametrize("count", [-1, 6])
def test_other_numbers_are_refused(make, count):
    with pytest.raises(ValueError, match="frozen_stages must be 0 to 5"):
        make(frozen_stages=count)


def test_a_weights_file_goes_with_frozen_stages(make, tmp_path):
    model = make()
    file = tmp_path / "backbone.weights.h5"
    keras.Model(model.input, model.get_layer("conv5_block1_1_relu").output).save_weights(file)
    loaded = make(weights=str(file), frozen_stages=2)
    kernels = [m.get_layer("conv1_conv").get_weights()[0] for m in (model, loaded)]
    np.testing.assert_array_equal(*kernels)
    assert not loaded.get_layer("conv1_conv").trainable
