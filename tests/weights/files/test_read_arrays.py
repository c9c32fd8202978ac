"""Files of weights are read without torch, and nothing in them is run."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.read_arrays import read_arrays
from tests.weights.torch_writer import write_torch

RNG = np.random.default_rng(0)
ARRAYS = {
    "a.weight": RNG.normal(size=(3, 2, 5, 4)).astype(np.float32),
    "a.bias": RNG.normal(size=7).astype(np.float16),
    "b.num_batches_tracked": np.array(12, np.int64),
    "c.transposed": np.asfortranarray(RNG.normal(size=(4, 6)).astype(np.float32)),
    "d.empty": np.zeros((0, 3), np.float32),
}


def check(found, expected=ARRAYS):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("wrapped", ["", "state_dict", "model"])
def test_torch(tmp_path, is_old, wrapped):
    def wrap(state):
        return {"epoch": 3, wrapped: state, "optimizer": {"lr": 0.1}} if wrapped else state

    # Of an array that lies in another order the numbers are written as they lie.
    arrays = {k: v for k, v in ARRAYS.items() if k != "c.transposed"}
    check(read_arrays(write_torch(tmp_path / "a.pth", arrays, wrap=wrap, is_old=is_old)), arrays)


def test_by_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
    state["view"] = torch.arange(24.0).reshape(4, 6)[1:3, ::2].t()
    state["half"] = torch.arange(8, dtype=torch.bfloat16)
    state["parameter"] = torch.nn.Parameter(torch.ones(2, 3))
    for number, options in enumerate([{}, {"_use_new_zipfile_serialization": False}]):
        torch.save(state, tmp_path / f"{number}.pth", **options)
        found = read_arrays(tmp_path / f"{number}.pth")
        check({name: found[name] for name in ARRAYS})
        np.testing.assert_array_equal(found["view"], state["view"].numpy())
        np.testing.assert_array_equal(found["half"], np.arange(8, dtype=np.float32))
        np.testing.assert_array_equal(found["parameter"], np.ones((2, 3)))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickles_of_arrays(tmp_path, protocol):
    content = {"model": ARRAYS, "__author__": "x", "lr": np.float64(0.5)}
    if protocol == 5:  # arrays as one lies, which others than NumPy's own reader cannot take
        content["model"] = {k: np.array(v) for k, v in ARRAYS.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    check(read_arrays(tmp_path / "a.pkl"))


def test_big_endian_arrays(tmp_path):
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array}, 2))
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.pkl")["a"], array)


def safetensors(entries, numbers, length=None):
    header = json.dumps(entries).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + numbers


def test_safetensors(tmp_path):
    numbers = np.arange(6, dtype="<f4").tobytes() + np.array([0x3F80], "<u2").tobytes()
    entries = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [1], "data_offsets": [24, 26]},
    }
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(entries, numbers))
    found = read_arrays(path)
    np.testing.assert_array_equal(found["a"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(found["b"], [1.0])
    for place in ([0, 28], [-4, 20], [0, 20], [0, "24"]):
        entries["a"]["data_offsets"] = place
        path.write_bytes(safetensors(entries, numbers))
        with pytest.raises(WeightsError, match="header is damaged"):
            read_arrays(path)
    for length in (10**12, 2**63):
        path.write_bytes(safetensors({}, b"", length))
        with pytest.raises(WeightsError, match="ends within its header"):
            read_arrays(path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["pkl", "archive", "old"])
def test_nothing_in_a_file_is_run(tmp_path, kind):
    done = tmp_path / "done"
    path = tmp_path / "a.pth"
    if kind == "pkl":
        path.write_bytes(pickle.dumps({"a": Bomb(done)}))
    else:
        write_torch(path, ARRAYS, wrap=lambda state: [Bomb(done), state], is_old=kind == "old")
    with pytest.raises(WeightsError, match=r"asks for \w+\.system, .* may run code"):
        read_arrays(path)
    assert not done.exists()
    pickle.loads(pickle.dumps(Bomb(done)))  # as others read it
    assert done.exists()


@pytest.mark.parametrize(
    "value", [print, np.load, eval, getattr, type, slice(3), np.dtype(object), {1, 2}]
)
def test_no_other_names_are_known(tmp_path, value):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": np.ones(2), "b": value}))
    if isinstance(value, set):
        assert list(read_arrays(tmp_path / "a.pkl")) == ["a"]
        return
    with pytest.raises(WeightsError):
        read_arrays(tmp_path / "a.pkl")


def test_an_archive_that_is_larger_inside(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(WeightsError, match="packed or overlap"):
        read_arrays(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/other", b"x")
    with pytest.raises(WeightsError, match="no weights of torch"):
        read_arrays(path)


def test_a_small_storage_is_no_large_array(tmp_path):
    wide = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (10**6, 10**6), (0, 0))
    content = {"a": np.zeros(4, np.float32)}
    path = write_torch(tmp_path / "a.pth", content)
    with pytest.raises(WeightsError):
        read_arrays(_with_shape(path, wide.shape, (0, 0)))


def _with_shape(path, shape, strides):
    """Write the archive again with another shape for its tensor."""
    import tests.weights.torch_writer as writer

    class Lying(writer._Tensor):
        def __reduce__(self):
            rebuild, args = super().__reduce__()
            return rebuild, (args[0], 0, shape, strides, *args[4:])

    def wrap(state):
        return {name: Lying(tensor.array, tensor.key) for name, tensor in state.items()}

    return write_torch(path, {"a": np.zeros(4, np.float32)}, wrap=wrap)


@pytest.mark.parametrize(
    ("shape", "strides"), [((2, 3), (3, 1)), ((5,), (1,)), ((2,), (-1,)), ((1,) * 9, (1,) * 9)]
)
def test_tensors_beyond_their_storage(tmp_path, shape, strides):
    with pytest.raises(WeightsError):
        read_arrays(_with_shape(tmp_path / "a.pth", shape, strides))


@pytest.mark.parametrize("kind", ["archive", "old", "pkl"])
def test_damaged_files(tmp_path, kind):
    path = tmp_path / "a.pth"
    if kind == "pkl":
        path.write_bytes(pickle.dumps({"model": ARRAYS}))
    else:
        write_torch(path, {"a": ARRAYS["a.weight"]}, is_old=kind == "old")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [*range(0, len(whole), max(len(whole) // 60, 1))]:
        path.write_bytes(whole[:cut])
        with pytest.raises(WeightsError, match=str(path)):
            read_arrays(path)
    for _ in range(200):  # either arrays, or one line
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = read_arrays(path)
        except WeightsError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
        else:
            assert sum(array.nbytes for array in found.values()) <= 2 * len(whole)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"\x89PNG", b"\x80\x04N."])
def test_files_of_other_kinds(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pth"):
        read_arrays(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="cannot read"):
        read_arrays(tmp_path / "none.pth")
