import socket

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.pipeline import plan_stream
from keras_retinanet.data.pipeline.augment.settings import Augmentation
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import MemoryCache
from keras_retinanet.data.pipeline.data_service import check_address
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss
from keras_retinanet.geometry.input_policy import InputPolicy

ANCHORS = AnchorGenerator(levels=(3, 5), sizes=(24, 64))
POLICY = InputPolicy(size=48, max_size=64)
SOME = Augmentation(scale=(0.5, 1.5), photometric=0.5, brightness=0.3, cutout=0.5)


@pytest.fixture(scope="module")
def service():
    """A function: number of workers -> the address of a tf.data service in this process."""
    running = []

    def start(num_workers):
        dispatcher = tf.data.experimental.service.DispatchServer()
        host = dispatcher.target.split("://")[1]
        config = tf.data.experimental.service.WorkerConfig(dispatcher_address=host)
        workers = [tf.data.experimental.service.WorkerServer(config) for _ in range(num_workers)]
        running.extend([*workers, dispatcher])
        return dispatcher.target

    yield start
    for server in running:
        server._stop()


@pytest.fixture
def dataset(coco, picture):
    for i in range(9):
        size = (48, 64) if i % 3 == 0 else (64, 48)
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), np.uint8)
        coco.add_image(f"{i}.png", size, content=picture(pixels=pixels, kind="PNG"))
        coco.add_box(f"{i}.png", (5, 5, 40, 40))
    return coco.load()


def batches_of(dataset, **settings):
    plan = TrainingPlan(dataset.heights, dataset.widths, POLICY, 2, mixup=0.5)
    stream = training_batches(
        dataset, plan, anchor_generator=ANCHORS, augmentation=SOME, num_epochs=2, **settings
    )
    return [(images, targets["matches"]) for images, targets in stream.as_numpy_iterator()]


@pytest.mark.parametrize("matching", [None, match_atss], ids=["iou", "atss"])
def test_a_worker_makes_the_plan_s_batches(dataset, service, matching):
    expected = batches_of(dataset, matching=matching)
    assert len(expected) == 2 * 5
    made = batches_of(dataset, data_service=service(1), matching=matching)
    for batch, other in zip(made, expected, strict=True):
        for array, expected_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, expected_array)


def test_two_workers_make_each_batch_once(dataset, service):
    def as_set(batches):
        return {(images.tobytes(), matches.tobytes()) for images, matches in batches}

    made = batches_of(dataset, data_service=service(2))
    expected = batches_of(dataset)
    assert len(made) == len(expected)
    assert as_set(made) == as_set(expected)


def test_a_later_epoch_is_the_same_as_in_this_process(dataset, service):
    expected = batches_of(dataset, first_epoch=1)
    made = batches_of(dataset, first_epoch=1, data_service=service(1))
    assert len(made) == len(expected) == 5
    np.testing.assert_array_equal(made[0][0], expected[0][0])


def test_an_address_without_a_service_is_refused():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ConfigError, match=f"localhost:{port}: no answer .*start the dispatcher"):
        check_address(f"grpc://localhost:{port}")
    for wrong in ("localhost:5000", "http://localhost:5000", "grpc://localhost"):
        with pytest.raises(ConfigError, match="expected grpc://host:port"):
            check_address(wrong)


def test_a_cache_or_an_endless_plan_cannot_travel(dataset):
    plan = TrainingPlan(dataset.heights, dataset.widths, POLICY, 2)
    given = {"anchor_generator": ANCHORS, "data_service": "grpc://localhost:1"}
    with pytest.raises(ConfigError, match=r"training\.cache"):
        training_batches(dataset, plan, cache=MemoryCache(dataset), num_epochs=1, **given)
    with pytest.raises(ValueError, match="needs num_epochs"):
        training_batches(dataset, plan, **given)


def test_a_plan_that_does_not_fit_into_a_graph_is_refused(dataset, monkeypatch):
    plan = TrainingPlan(dataset.heights, dataset.widths, POLICY, 2)
    monkeypatch.setattr(plan_stream, "MAX_CONSTANT_BYTES", 10_000)
    plan_stream.planned_batches(plan, first_epoch=0, num_epochs=10)
    with pytest.raises(ConfigError, match="plan of 20 epochs, 200 images"):
        plan_stream.planned_batches(plan, first_epoch=0, num_epochs=20)
