"""Files of Keras 3: arrays by the names of layers, read from where they lie, and nothing built."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.keras_archive import MODEL_CONFIG, is_keras_archive
from keras_retinanet.weights.files.read_arrays import read_weights_file
from tests.weights.torch_writer import write_torch


@pytest.fixture
def model():
    """A model with a model in it, both with layers of the same kinds, and its optimizer."""
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")],
        name="inner",
    )
    model = keras.Sequential([inner, keras.layers.Dense(5, name="last")], name="outer")
    model.build((None, 4))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 4)), np.ones((2, 5)), verbose=0)
    return model


def test_arrays_have_the_names_of_their_layers(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    assert is_keras_archive(path)
    file = read_weights_file(path)
    names = [f"layers/inner/layers/{name}/{i}" for name in "ab" for i in (0, 1)]
    assert sorted(file.arrays) == sorted([*names, "layers/last/0", "layers/last/1"])
    for layer, place in ((model.layers[0].layers[1], names[2]), (model.layers[1], "layers/last/0")):
        np.testing.assert_array_equal(file.arrays[place], layer.kernel.numpy())
    assert file.about[MODEL_CONFIG]["class_name"] == "Sequential"


def rewrite(path, changed, *, replace=None, packing=zipfile.ZIP_STORED, more=None):
    """Write a copy of an archive with one entry replaced, and others added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, (replace or {}).get(name, old.read(name)))
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return changed


def test_archives_that_keras_does_not_write(model, tmp_path):
    path, other = tmp_path / "model.keras", tmp_path / "a.keras"
    model.save(path)
    with pytest.raises(WeightsError, match=r"a\.keras: config\.json in it is packed"):
        read_weights_file(rewrite(path, other, packing=zipfile.ZIP_DEFLATED))
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        pytest.raises(WeightsError, match=r"2 entries called model\.weights\.h5, and not one"),
    ):
        read_weights_file(rewrite(path, other, more={"model.weights.h5": b"again"}))
    for config in (b"{", b"[1]", b"[" * 10**5):
        with pytest.raises(WeightsError, match=r"config\.json is damaged") as caught:
            read_weights_file(rewrite(path, other, replace={"config.json": config}))
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="a damaged HDF5 file"):
        read_weights_file(rewrite(path, other, replace={"model.weights.h5": b"no HDF5"}))


def test_a_packed_entry_beside_a_whole_config(model, tmp_path):
    """What is packed may be as large as one likes, and is not unpacked."""
    path, other = tmp_path / "model.keras", tmp_path / "a.keras"
    model.save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        new.writestr("config.json", old.read("config.json"))
        new.writestr("model.weights.h5", bytes(10**7), zipfile.ZIP_DEFLATED)
    assert other.stat().st_size < 10**5
    with pytest.raises(WeightsError, match=r"model\.weights\.h5 in it is packed"):
        read_weights_file(other)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_archives_that_are_cut_off(model, tmp_path, share):
    path = tmp_path / "model.keras"
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"model\.keras"):
        read_weights_file(path)


def test_damaged_bytes_end_in_one_line(model, tmp_path):
    """Whatever bytes are changed, the arrays are read or a WeightsError tells why not."""
    path = tmp_path / "model.keras"
    model.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 20):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            read_weights_file(path)
        except WeightsError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 10


def test_links_in_the_weights_are_not_followed(model, tmp_path):
    path, other, weights = (tmp_path / name for name in ("model.keras", "a.keras", "w.h5"))
    model.save(path)
    with h5py.File(weights, "w") as file:
        file["layers/a/vars/0"] = h5py.ExternalLink("/etc/other.h5", "/secret")
    rewrite(path, other, replace={"model.weights.h5": weights.read_bytes()})
    with pytest.raises(WeightsError, match="layers/a/vars/0 points elsewhere"):
        read_weights_file(other)


def test_torch_archives_are_none(tmp_path):
    file = write_torch(tmp_path / "a.pth", {"weight": np.ones(3, "f4")})
    assert not is_keras_archive(file)
    assert list(read_weights_file(file).arrays) == ["weight"]


def test_folders(tmp_path):
    with pytest.raises(WeightsError, match=r"a preset of KerasHub, with config\.json"):
        read_weights_file(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(WeightsError, match=r"no task\.json: a preset of a backbone alone"):
        read_weights_file(tmp_path)
    (tmp_path / "task.json").write_text(json.dumps({}))
    (tmp_path / "model.weights.json").write_text("{}")
    with pytest.raises(WeightsError, match="its weights are in several files"):
        read_weights_file(tmp_path)
