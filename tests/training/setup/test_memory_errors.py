import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.training.setup.memory_errors import memory_error, memory_errors


def exhausted(message="OOM when allocating tensor with shape[2,256,800,1344]"):
    return tf.errors.ResourceExhaustedError(None, None, message)


@pytest.mark.parametrize(
    "error",
    [
        exhausted(),
        MemoryError(),
        tf.errors.InternalError(None, None, "Failed to allocate 2147483648 bytes"),
    ],
)
def test_names_the_settings_to_lower(error):
    message = memory_error(error, load_config("retinanet_r50_600"))
    assert isinstance(message, UserError)
    assert "training.batch_size (now 16) or image.size (now 600) or image.max_size" in str(message)
    assert "retinanet find-batch" in str(message)
    assert "\n" not in str(message)


def test_names_no_setting_that_cannot_be_lowered():
    config = load_config("quickstart", ["training.batch_size=1", "image.jitter_sizes=[64, 128]"])
    message = str(memory_error(exhausted(), config))
    assert "batch" not in message and "max_size" not in message
    assert "image.size (now 160) or image.jitter_sizes (now up to 128)" in message


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), tf.errors.InternalError(None, None, "cuDNN"), OSError()]
)
def test_other_errors_are_let_through(error):
    assert memory_error(error, load_config("quickstart")) is None
    with pytest.raises(type(error)), memory_errors(load_config("quickstart")):
        raise error


def test_around_a_training():
    with (
        pytest.raises(UserError, match="out of memory: lower training") as error,
        memory_errors(load_config("quickstart")),
    ):
        raise exhausted()
    assert isinstance(error.value.__cause__, tf.errors.ResourceExhaustedError)
