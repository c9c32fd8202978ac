"""Archives of torch, written without torch."""

import numpy as np
import pytest

from keras_retinanet.weights.files.read_arrays import read_arrays
from keras_retinanet.weights.files.write_torch import write_torch

ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.array([1.5, -2], np.float32),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "größe": np.array([[300]], np.int64),
}


def assert_same(found):
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_our_reader_reads_it(tmp_path):
    write_torch(tmp_path / "a.pth", ARRAYS)
    assert_same(read_arrays(tmp_path / "a.pth"))


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_it(tmp_path, mmap):
    torch = pytest.importorskip("torch", reason="pip install torch")
    write_torch(tmp_path / "a.pth", ARRAYS)
    state = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
    assert_same({name: tensor.numpy() for name, tensor in state.items()})
    assert state["transposed"].is_contiguous()
