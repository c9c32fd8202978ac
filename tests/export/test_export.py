"""The gates before publication: what is broken in any way is refused, and nothing is left."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.manifest import read_manifest
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.keras_exporter import KerasExporter
from keras_retinanet.export.saved_model import saved_model_exporter as saved_model_module
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.system.digests import sha256

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def model(make_finder, small_resnet18):
    return make_finder()


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text("image: {size: 64}\n")
    save_for_inference(model, run / "best.keras")
    version, _ = export_model(model, run / "export", KerasExporter(), model_file=run / "best.keras")
    return run, version


def test_a_keras_export_is_the_model(model, published):
    _, version = published
    assert {p.name for p in version.iterdir()} == {"model.keras", "manifest.json"}
    for a, b in zip(
        load_model(version / "model.keras").get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert load_detector(version).class_names == model.class_names


def test_the_manifest_says_what_it_is_and_where_it_came_from(model, published):
    run, version = published
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["format"] == "keras"
    assert manifest["class_names"] == list(model.class_names)
    assert manifest["inference"]["input_policy"]["size"] == 64
    assert manifest["source"]["sha256"] == sha256(run / "best.keras")
    assert manifest["source"]["config"] == "image: {size: 64}\n"
    assert manifest["files"] == {
        "model.keras": {
            "bytes": (version / "model.keras").stat().st_size,
            "sha256": sha256(version / "model.keras"),
        }
    }
    assert manifest["parity"]["model.keras"]["num_mismatches"] == 0
    assert manifest["packages"]["tensorflow"] == tf.__version__


def test_damaged_folders_are_named(published, tmp_path):
    _, version = published
    with pytest.raises(WeightsError, match=r"holds versions: name one, for example .*1"):
        load_detector(version.parent)
    with pytest.raises(WeightsError, match="there is no model file"):
        load_detector(tmp_path / "x")
    with pytest.raises(WeightsError, match=r"holds no saved_model\.pb"):
        load_detector(tmp_path)
    (tmp_path / "model.txt").touch()
    with pytest.raises(WeightsError, match="none of the kinds"):
        load_detector(tmp_path / "model.txt")
    with pytest.raises(WeightsError, match=r"no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"files": {"a": {"bytes": 3}}}')
    (tmp_path / "a").write_text("ab")
    with pytest.raises(WeightsError, match="not whole"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(WeightsError, match="damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(make_finder, tmp_path, value):
    model = make_finder()
    model.get_layer("fpn_p6").bias.assign([value] * 8)
    with pytest.raises(WeightsError, match="fpn_p6"):
        export_model(model, tmp_path, KerasExporter())
    assert list(tmp_path.iterdir()) == []


class Broken(KerasExporter):
    """A Keras export that something goes wrong with before it is verified."""

    def __init__(self, harm):
        object.__setattr__(self, "harm", harm)

    def write(self, model, folder):
        written = super().write(model, folder)
        self.harm(folder / "model.keras")
        return written


def other_weights(path):
    model = load_model(path)
    layer = model.get_layer("box_head_predictions")
    layer.bias.assign_add([0.1] * 36)
    model.save(path)


def other_labels(path):
    model = load_model(path)
    model.class_names = model.class_names[::-1]
    model.save(path)


def broken_numbers(path):
    model = load_model(path)
    model.get_layer("class_head_predictions").bias.assign([np.nan] * 27)
    model.save(path)


def killed(path):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (other_weights, WeightsError, "something else"),
        (other_labels, WeightsError, "labels"),
        pytest.param(broken_numbers, WeightsError, "nothing is published", marks=pytest.mark.slow),
        (lambda path: path.write_bytes(path.read_bytes()[:50_000]), WeightsError, "lost weights"),
        (killed, KeyboardInterrupt, None),
    ],
)
def test_a_broken_export_is_not_published(model, tmp_path, harm, error, message):
    """Faults 57 and 59."""
    with pytest.raises(error, match=message):
        export_model(model, tmp_path, Broken(harm))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_saved_model_without_its_weights_is_not_published(model, tmp_path, monkeypatch):
    freeze = saved_model_module.freeze

    def lose(model, precision):
        _, num_bytes = freeze(model, precision)

        def nothing(images):
            generator = model.anchor_generator
            shape = tf.shape(images)
            num_anchors = sum(generator.num_anchors_per_level(shape[1], shape[2]))
            return {
                "class_logits": tf.zeros((shape[0], num_anchors, 3)),
                "box_deltas": tf.zeros((shape[0], num_anchors, 4)),
            }

        return nothing, num_bytes

    monkeypatch.setattr(saved_model_module, "freeze", lose)
    with pytest.raises(WeightsError, match="lost weights"):
        export_model(model, tmp_path, SavedModelExporter())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_data_set_of_other_classes_is_refused(model, tmp_path):
    from keras_retinanet.data.demo.demo import write_demo_dataset
    from keras_retinanet.data.source import load_dataset

    data = write_demo_dataset(tmp_path / "set", num_train=1, num_val=2)
    dataset = load_dataset(data, "val")
    with pytest.raises(DataError):  # of classes that the model does not know
        export_model(model, tmp_path / "out", KerasExporter(), dataset=dataset)
    assert list((tmp_path / "out").iterdir()) == []
