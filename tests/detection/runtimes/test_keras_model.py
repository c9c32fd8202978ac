"""A model over files: the same on one replica and several, and decoding that keeps ahead."""

import threading
import time

import numpy as np
import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.evaluation.coco_eval import COCO_FIGURES
from keras_retinanet.evaluation.evaluate import DatasetEvaluation
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.system.prefetch import prefetched

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=1, num_val=7)
    return load_dataset(path, "val")


def build(make_tiny, demo):
    """A RetinaNet that finds something everywhere."""
    model = make_tiny(
        channels=8,
        class_names=demo.class_names,
        prior=0.3,
        anchor_generator=AnchorGenerator(sizes=(8, 16, 24, 32, 48)),
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(max_detections=20),
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:  # further apart than the rounding of different batch sizes
        if "class_head" in weight.path and "kernel" in weight.path:
            weight.assign(rng.normal(0, 0.15, weight.shape))
    return model


@pytest.fixture(scope="module")
def mirrored(make_tiny, demo, two_replicas, small_resnet18):
    """One detector for the module: its graph takes most of the time."""
    with two_replicas.scope():
        model = build(make_tiny, demo)
    return KerasDetector(model)


def as_rows(evaluator):
    rows = [[r["image_id"], r["category_id"], r["score"], *r["bbox"]] for r in evaluator.results]
    return np.array(sorted(rows, key=lambda row: (row[0], -row[2], row[3:])))


def test_two_replicas_find_what_one_finds_each_image_once(make_tiny, demo, mirrored, monkeypatch):
    one = DatasetEvaluation(build(make_tiny, demo), demo, batch_size=4).run()
    evaluation = DatasetEvaluation(mirrored, demo, batch_size=4)
    assert mirrored.num_replicas == 2
    batches, run = [], mirrored._run

    def counted(images, sizes):
        batches.append(len(images))
        return run(images, sizes)

    monkeypatch.setattr(mirrored, "_run", counted)
    two = evaluation.run()
    # 7 images: some batch is odd, and is filled up.
    assert all(size % 2 == 0 for size in batches) and sum(batches) > len(demo)
    assert len(one.results) == 20 * len(demo)
    np.testing.assert_allclose(as_rows(two), as_rows(one), atol=2e-3)
    for name in COCO_FIGURES:
        assert two.metrics()[name] == pytest.approx(one.metrics()[name], abs=1e-6)
    again = evaluation.run()  # the inputs are made once and read twice
    np.testing.assert_array_equal(as_rows(again), as_rows(two))


def test_more_detections_may_be_kept(make_tiny, demo):
    few = KerasDetector(build(make_tiny, demo))
    many = few.keeping(150)
    assert (few.max_detections, many.max_detections) == (20, 150)
    rows = [
        as_rows(DatasetEvaluation(d, demo.select([0]), max_detections=300).run())
        for d in (few, many)
    ]
    assert len(rows[0]) == 20 < len(rows[1]) <= 150
    np.testing.assert_allclose(rows[1][:20], rows[0], atol=2e-3)


def test_replicas_share_a_batch_in_its_order(mirrored):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    sizes = np.array([[64, 96], [50, 96], [64, 40]], np.int32)
    together = mirrored(images, sizes)
    assert {len(values) for values in together.values()} == {3}
    for i in range(3):
        alone = mirrored(images[i : i + 1], sizes[i : i + 1])
        np.testing.assert_allclose(together["boxes"][i], alone["boxes"][0], atol=2e-3)
    assert np.ptp(together["boxes"][:, 0], axis=0).max() > 1  # not thrice the same


class TestAhead:
    def test_keeps_the_order_and_ends(self):
        assert list(prefetched(iter(range(20)), 3)) == list(range(20))

    def test_makes_items_in_advance_but_no_more_than_it_may(self):
        made = []

        def items():
            for i in range(10):
                made.append(i)
                yield i

        stream = prefetched(items(), 2)
        assert next(stream) == 0
        deadline = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(made) == 4  # the one in use, two that wait, and one in the making
        stream.close()
        assert not [t for t in threading.enumerate() if t.name == "prefetch"]

    def test_an_error_is_raised_where_the_items_are_used(self):
        def items():
            yield 1
            raise OSError("no such image")

        stream = prefetched(items(), 2)
        assert next(stream) == 1
        with pytest.raises(OSError, match="no such image"):
            next(stream)
