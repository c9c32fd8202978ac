"""TensorFlow's checkpoints: arrays by paths, damage told in one line, no objects made."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.read_arrays import read_weights_file, weights_exist
from keras_retinanet.weights.files.tensorflow_checkpoint import checkpoint_prefix


@pytest.fixture
def prefix(tmp_path):
    """A checkpoint of a module with an optimizer's slots, as TensorFlow writes it."""
    module = tf.Module()
    module.part = tf.Module()
    module.part.kernel = tf.Variable(np.arange(5000.0).reshape(50, 100), dtype=tf.float32)
    module.part.count = tf.Variable(7, dtype=tf.int64)
    module.part.name_of_it = tf.Variable("a text, which is no weight")
    optimizer = tf.Module()
    optimizer.rate = tf.Variable(0.1)
    saved = tf.train.Checkpoint(model=module, optimizer=optimizer)
    return tmp_path / saved.save(str(tmp_path / "ckpt")).rpartition("/")[2]


def test_arrays_of_numbers_without_an_optimizer_s(prefix):
    arrays = read_weights_file(prefix).arrays
    assert sorted(arrays) == ["model/part/count", "model/part/kernel", "save_counter"]
    np.testing.assert_array_equal(arrays["model/part/kernel"], np.arange(5000.0).reshape(50, 100))
    assert arrays["model/part/kernel"].dtype == np.float32


def test_names_of_a_checkpoint(prefix, tmp_path):
    assert prefix.name == "ckpt-1"
    for name in ("ckpt-1", "ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        assert checkpoint_prefix(tmp_path / name) == prefix
        assert weights_exist(tmp_path / name)
    assert checkpoint_prefix(tmp_path) == prefix
    assert checkpoint_prefix(tmp_path / "ckpt-2") is None and not weights_exist(tmp_path / "ckpt-2")
    (tmp_path / "ckpt-2.index").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"2 checkpoints: name one of them, such as ckpt-2"):
        read_weights_file(tmp_path)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_files_that_are_cut_off(prefix, suffix, share):
    path = prefix.with_name(prefix.name + suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        WeightsError, match=r"ckpt-1: (a damaged checkpoint|its arrays are st)"
    ) as e:
        read_weights_file(prefix)
    assert "\n" not in str(e.value)


def test_data_that_are_missing_or_damaged(prefix):
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[100] ^= 255  # within the kernel, which has a checksum
    data.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a damaged checkpoint: .*[Cc]hecksum"):
        read_weights_file(prefix)
    data.unlink()
    with pytest.raises(WeightsError, match=r"its arrays are stated as 20,0\d\d bytes, and its d"):
        read_weights_file(prefix)


def test_damaged_bytes_of_the_index_end_in_one_line(prefix):
    index = prefix.with_name(f"{prefix.name}.index")
    whole, rng = index.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 5):
            content[place] = rng.integers(0, 256)
        index.write_bytes(content)
        try:
            read_weights_file(prefix)
        except WeightsError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 10
