"""HDF5 files: arrays by their paths, and nothing that lies elsewhere."""

import h5py
import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.read_arrays import read_arrays, read_weights_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def test_arrays_and_texts(path):
    with h5py.File(path, "w") as file:
        file["a/b/kernel:0"] = np.arange(6, dtype="f4").reshape(2, 3)
        file["a/count"] = np.int64(7)
        file["a/name"] = "a text, which is no weight"
        file.attrs["model_config"] = b"{}"
        file.attrs["layer_names"] = [b"a", b"b"]
    found = read_weights_file(path)
    assert list(found.arrays) == ["a/b/kernel:0", "a/count"]
    np.testing.assert_array_equal(found.arrays["a/b/kernel:0"], [[0, 1, 2], [3, 4, 5]])
    assert found.about["model_config"] == "{}" and found.about["file_name"] == "a.h5"


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (h5py.ExternalLink("other.h5", "/secret"), "a/x points elsewhere"),
        (h5py.SoftLink("/a/kernel"), "a/x points elsewhere"),
    ],
)
def test_links_are_not_followed(path, tmp_path, link, message):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones(3)
    with h5py.File(path, "w") as file:
        file["a/kernel"] = np.ones(3)
        file["a/x"] = link
    with pytest.raises(WeightsError, match=message):
        read_arrays(path)


def test_numbers_in_other_files_are_not_read(path, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(80))
    with h5py.File(path, "w") as file:
        file["kernel"] = np.ones(100)
        file.create_dataset("x", (10,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 80)])
    with pytest.raises(WeightsError, match="x is packed, or its numbers lie in other files"):
        read_arrays(path)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(WeightsError, match="x is packed, or its numbers lie in other files"):
        read_arrays(path)


def test_files_that_are_larger_inside(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(10**6), compression="gzip")
    with pytest.raises(WeightsError, match="x is packed"):
        read_arrays(path)
    with h5py.File(path, "w") as file:  # none of its chunks is there
        file.create_dataset("x", (10**6, 10**6), "f4", chunks=(100, 100))
    with pytest.raises(WeightsError, match="stated as 4,000,000,000,000 bytes"):
        read_arrays(path)
    with h5py.File(path, "w") as file:
        file["a/x"] = np.zeros(1000)
        for i in range(100):
            file[f"a/y{i}"] = file["a/x"]
    with pytest.raises(WeightsError, match=r"stated as 808,000 bytes"):
        read_arrays(path)


def test_a_group_in_itself_ends(path):
    with h5py.File(path, "w") as file:
        file["a/x"] = np.ones(3)
        file["a/b"] = file["a"]
    with pytest.raises(WeightsError, match="'a/b/' is there twice"):
        read_arrays(path)


def test_damaged_files(path):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for layer in ("conv1", "P6"):
            file[f"{layer}/{layer}/kernel:0"] = rng.normal(size=(3, 3, 8, 8))
            file[f"{layer}/{layer}/bias:0"] = rng.normal(size=8)
    whole = path.read_bytes()
    for cut in range(0, len(whole), len(whole) // 40):
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
