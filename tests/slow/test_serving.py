"""The SavedModel of a trained model on real images: parity, requests at once, memory, size.

Needs `KERAS_RETINANET_MODEL`, a .keras file trained on coco_subset, and its images.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.detection.runtimes.keras_model import detect_files
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

NUM_IMAGES = 32
MODEL = os.environ.get("KERAS_RETINANET_MODEL")
DATA = Path(os.environ.get("KERAS_RETINANET_DATA", "../shared/data")) / "coco_subset"


@pytest.fixture(scope="module")
def dataset():
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}: set KERAS_RETINANET_DATA")
    return load_dataset(DATA, "val")


@pytest.fixture(scope="module")
def model():
    if not MODEL:
        pytest.skip("no trained model: set KERAS_RETINANET_MODEL to a .keras file")
    return load_model(MODEL)


@pytest.fixture(scope="module")
def version(model, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return export_model(model, folder, SavedModelExporter(), images=dataset.image_paths[:2])[0]


def test_parity_on_real_images(model, version, dataset):
    files = (
        dataset.image_paths[:NUM_IMAGES],
        dataset.heights[:NUM_IMAGES],
        dataset.widths[:NUM_IMAGES],
    )
    expected = dict(detect_files(model, *files, batch_size=1))
    found = dict(load_detector(version).detect_files(*files, batch_size=1))
    count = sum(len(e["scores"]) for e in expected.values())
    assert count > 100
    box, score = (
        max(np.abs(found[i][name] - expected[i][name]).max(initial=0) for i in expected)
        for name in ("boxes", "scores")
    )
    print(f"{count} detections: boxes within {box:.1e} px, scores within {score:.1e}")
    for i, each in expected.items():
        np.testing.assert_array_equal(found[i]["classes"], each["classes"])
        np.testing.assert_allclose(found[i]["boxes"], each["boxes"], rtol=0, atol=0.01)
        np.testing.assert_allclose(found[i]["scores"], each["scores"], rtol=0, atol=1e-5)


def test_weights_are_stored_once(model, version):
    weights = sum(w.numpy().nbytes for w in model.weights)
    stored = (version / "saved_model.pb").stat().st_size
    stored += sum(p.stat().st_size for p in (version / "variables").iterdir())
    assert 0.99 * weights <= stored <= 1.05 * weights


def test_64_requests_at_once_are_as_one_by_one(version, dataset, assert_same_at_once):
    serve = tf.saved_model.load(str(version)).signatures["serve_bytes"]
    assert_same_at_once(serve, [Path(path).read_bytes() for path in dataset.image_paths[:64]])


def test_2000_requests_leave_memory_flat(version, dataset):
    serve = tf.saved_model.load(str(version)).signatures["serve_bytes"]
    files = [Path(path).read_bytes() for path in dataset.image_paths[:16]] + [b"no image"]

    def run(count):
        for i in range(count):
            serve(image_bytes=tf.constant([files[i % len(files)]]))["num_detections"].numpy()
        with open("/proc/self/statm") as numbers:
            return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    before = run(300)
    after = run(2000)
    print(f"resident: {before:.0f} MB after a warm-up, {after:.0f} MB after 2,000 requests")
    assert after - before < 20


def test_bfloat16_keeps_ap(model, dataset, tmp_path):
    version, parity = export_model(
        model, tmp_path, SavedModelExporter(precision="bfloat16"), images=dataset.image_paths[:4]
    )
    ap, model_ap = (evaluate(m, dataset)[0]["AP"] for m in (load_detector(version), model))
    print(f"AP {100 * ap:.2f} in bfloat16, {100 * model_ap:.2f} in float32; {parity}")
    assert model_ap - ap <= 0.005
