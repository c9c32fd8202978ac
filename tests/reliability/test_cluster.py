"""One device, two replicas, two workers, accumulation: the same training; and workers that die."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_retinanet.cli.local_cluster import cluster_environment
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.models.checkpoint_files import (
    checkpoint_path,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
)

pytestmark = pytest.mark.slow

STEPS = 20
EARLY_STEPS = 5
SETTINGS = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    # Batch statistics would be those of each replica's part of the batch.
    "model.batchnorm=frozen",
    "image.size=64",
    "optimizer.name=sgd",
    "optimizer.learning_rate=0.01",
    "optimizer.clip_norm=1.0",
    "optimizer.ema=0.9",
    "training.batch_size=4",
)
# A machine of two devices, as far as TensorFlow can tell.
TWO_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_retinanet.cli import main
sys.exit(main())
"""
CLI = ["-m", "keras_retinanet.cli"]
MANY = 8
# The command line, leaving each worker's own weights at the end of its training.
SAVING = """
import os, sys
import numpy as np
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.workers import this_worker
fit = RetinaNet.fit
def saving(model, *arguments, **options):
    history = fit(model, *arguments, **options)
    path = os.path.join(os.environ["WEIGHTS_FOLDER"], f"{this_worker().index}.npz")
    np.savez(path, **{variable.path: np.array(variable) for variable in model.variables})
    return history
RetinaNet.fit = saving
from keras_retinanet.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def one_batch(tmp_path_factory):
    """A data set of one batch: an epoch is a step, and metrics.csv tells of each."""
    return write_demo_dataset(tmp_path_factory.mktemp("batch") / "set", num_train=4, num_val=2)


def train(program, data, folder, *settings):
    command = ["train", "quickstart", *SETTINGS, *settings, "--data", data, "--output", folder]
    log = folder.with_suffix(".log")
    with open(log, "w") as file:
        status = subprocess.run(
            [sys.executable, *program, *map(str, command)], stdout=file, stderr=subprocess.STDOUT
        ).returncode
    assert status == 0, log.read_text()[-3000:]
    return folder


def train_on_workers(data, folder, *settings):
    return train_by_cluster(data, folder, *settings)[0]


def start_cluster(data, folder, *settings, workers=2):
    command = [workers, "quickstart", *SETTINGS, *settings, "--data", data, "--output", folder]
    return subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet.cli.local_cluster", *map(str, command)],
        stdout=open(folder.with_suffix(".log"), "w"),
        stderr=subprocess.STDOUT,
    )


def train_by_cluster(data, folder, *settings):
    status = start_cluster(data, folder, *settings).wait()
    log = folder.with_suffix(".log").read_text()
    assert status == 0, log[-3000:]
    return folder, log


def losses(folder):
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[n]) for n in ("loss", "class_loss", "box_loss")] for row in rows])


def test_all_ways_to_share_the_work_train_alike(one_batch, tmp_path):
    steps = (f"schedule.length={STEPS}", f"training.keep_checkpoints={STEPS}")
    reference = train(CLI, one_batch, tmp_path / "one", *steps)
    others = {
        "mirrored": train(["-c", TWO_DEVICES], one_batch, tmp_path / "mirrored", *steps),
        "workers": train_on_workers(one_batch, tmp_path / "workers", *steps),
        "workers, accumulated": train_on_workers(
            one_batch, tmp_path / "accumulated", *steps, "training.accumulate=2"
        ),
    }
    devices = json.loads((tmp_path / "mirrored" / "environment.json").read_text())["devices"]
    assert len(devices) == 2
    expected = losses(reference)
    assert expected.shape == (STEPS, 3) and np.ptp(expected[:, 0]) > 0.01
    for name, folder in others.items():
        np.testing.assert_allclose(losses(folder), expected, rtol=1e-4, err_msg=name)
        early = [
            difference(arrays_after(step, reference), arrays_after(step, folder))
            for step in range(1, EARLY_STEPS + 1)
        ]
        end = arrays_after(STEPS, reference)
        # Momenta are steps of weights, and in the end relative to those: sooner or later a ReLU's
        # input is 0 but for rounding, and has another gradient for each way to add up.
        last = difference(end, arrays_after(STEPS, folder), weights_of_momenta(end))
        print(
            f"{name}: losses within {np.abs(losses(folder) / expected - 1).max():.1e}, all state "
            f"within {max(early):.1e} in {EARLY_STEPS} steps and {last:.1e} in {STEPS}"
        )
        assert max(early) < 1e-4 and last < 1e-4, name


def arrays_after(step, folder):
    return read_checkpoint(checkpoint_path(folder / "checkpoints", step)).arrays


def difference(expected, found, measured_by=()):
    """Return the largest difference of a variable, relative to it or the one that measures it.

    Not value by value: single ones are as near to 0 as one likes.
    """
    assert found.keys() == expected.keys()
    largest = 0.0
    for key, array in expected.items():
        if key.startswith("metrics/"):  # counts of each replica's updates
            continue
        measure = expected[measured_by[key]] if key in measured_by else array
        scale = max(float(np.abs(measure).max()), 1e-6)
        largest = max(largest, float(np.abs(found[key] - array).max()) / scale)
    return largest


def weights_of_momenta(arrays):
    """Return the names of the weights by those of their momenta, which are named after them."""
    weights = {"_".join(key.split("/")[2:]): key for key in arrays if key.startswith("model/")}
    suffix = "_momentum"
    momenta = [key for key in arrays if key.endswith(suffix)]
    assert momenta
    return {key: weights[key.split("/")[2].removesuffix(suffix)] for key in momenta}


def test_a_worker_that_is_killed_comes_back(one_batch, tmp_path):
    """The cluster goes on from the last checkpoint, and ends as one that nothing befell."""
    length = "schedule.length=40"
    whole = train_on_workers(one_batch, tmp_path / "whole", length)
    folder = tmp_path / "killed"
    cluster = start_cluster(one_batch, folder, length)
    deadline = time.monotonic() + 300
    while len(list_checkpoints(folder / "checkpoints")) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(worker_process(cluster, 1), signal.SIGKILL)
    assert cluster.wait() == 0
    log = folder.with_suffix(".log").read_text()
    assert "cluster: a worker ended with" in log
    assert re.search(r"going on from .*step_\d+\.npz", log)
    one, two = (newest_checkpoint(f / "checkpoints")[1] for f in (whole, folder))
    for name, array in one.arrays.items():
        np.testing.assert_allclose(two.arrays[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)


def test_a_signal_to_the_cluster_is_agreed_upon(one_batch, tmp_path):
    folder = tmp_path / "stopped"
    cluster = start_cluster(one_batch, folder, "schedule.length=10000")
    deadline = time.monotonic() + 300
    while not list_checkpoints(folder / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(worker_process(cluster, 1), signal.SIGTERM)  # not the one that writes
    assert cluster.wait() == 75
    log = folder.with_suffix(".log").read_text()
    assert "stopped by a signal to another worker" in log and "stopped by SIGTERM" in log


def test_an_error_of_one_worker_ends_all_without_a_hang(tmp_path):
    """Its image cannot be read; the others wait for its gradients."""
    data = write_demo_dataset(tmp_path / "set", num_train=4, num_val=2)
    folder = tmp_path / "run"
    cluster = start_cluster(data, folder, "schedule.length=10000", "training.cache=none")
    deadline = time.monotonic() + 300
    while not list_checkpoints(folder / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.05)
    bad = sorted((tmp_path / "set").rglob("*.jpg"))[0]
    bad.write_bytes(b"no image any more")
    assert cluster.wait(timeout=120) == 2
    assert f"{bad}: not an image" in folder.with_suffix(".log").read_text()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Sixteen record files of two images each: two steps of sixteen images an epoch."""
    folder = tmp_path_factory.mktemp("records")
    data = write_demo_dataset(folder / "set", num_train=32, num_val=1)
    out, splits = folder / "out", ["train"]  # nothing to evaluate, which takes most of the time
    return convert(data, out, target="tfrecord", num_shards=16, splits=splits).data_yaml


def start_many(data, folder, weights):
    """Start eight workers, each with record files of its own, on a new run or one to go on with."""
    weights.mkdir(exist_ok=True)
    settings = [
        *SETTINGS,
        "schedule.length=6",
        "training.batch_size=16",
        f"training.file_shares={MANY}",
    ]
    new_run = ["quickstart", *settings, "--data", data, "--output", folder]
    is_begun = (folder / "run.json").is_file()
    command = ["train", *(["--resume", folder] if is_begun else new_run)]
    with open(folder.with_suffix(".log"), "a") as log:
        return [
            subprocess.Popen(
                [sys.executable, "-c", SAVING, *map(str, command)],
                env=os.environ | variables | {"WEIGHTS_FOLDER": str(weights)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for variables in cluster_environment(MANY)
        ]


def finish(workers, folder):
    statuses = [worker.wait() for worker in workers]
    assert statuses == [0] * MANY, folder.with_suffix(".log").read_text()[-3000:]


@pytest.fixture(scope="module")
def many(records, tmp_path_factory):
    """A run of eight workers that nothing befell, and the folder of their weights."""
    folder = tmp_path_factory.mktemp("many")
    finish(start_many(records, folder / "run", folder / "weights"), folder / "run")
    return folder / "run", folder / "weights"


def test_eight_workers_have_the_same_weights(many):
    own = [dict(np.load(many[1] / f"{index}.npz")) for index in range(MANY)]
    assert len(own[0]) > 50
    for other in own[1:]:
        assert own[0].keys() == other.keys()
        for name, array in own[0].items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
    log = many[0].with_suffix(".log").read_text()
    assert "16 files in 8 shares; each of 8 workers reads its own" in log


def test_eight_workers_train_as_one_process_does(records, many, tmp_path):
    settings = ("schedule.length=6", "training.batch_size=16", f"training.file_shares={MANY}")
    reference = train(CLI, records, tmp_path / "one", *settings)
    np.testing.assert_allclose(losses(many[0]), losses(reference), rtol=1e-4)
    steps = list_checkpoints(reference / "checkpoints")
    assert [path.name for path in steps] == [
        path.name for path in list_checkpoints(many[0] / "checkpoints")
    ]
    one, other = (newest_checkpoint(f / "checkpoints")[1].arrays for f in (reference, many[0]))
    largest = difference(one, other, weights_of_momenta(one))
    print(f"eight workers and one process: all state within {largest:.1e}")
    assert largest < 1e-4


def test_eight_workers_that_are_killed_go_on_to_the_same_weights(records, many, tmp_path):
    folder, weights = tmp_path / "killed", tmp_path / "weights"
    workers = start_many(records, folder, weights)
    deadline = time.monotonic() + 300
    while len(list_checkpoints(folder / "checkpoints")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    assert {worker.wait() for worker in workers} == {-signal.SIGKILL}, "the training is too short"
    finish(start_many(records, folder, weights), folder)
    assert re.search(r"going on from .*step_\d+\.npz", folder.with_suffix(".log").read_text())
    one, other = (newest_checkpoint(f / "checkpoints")[1].arrays for f in (many[0], folder))
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


def worker_process(cluster, index):
    """Return the process of a worker: children of the cluster's, in the order of their start."""
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(cluster.pid)], capture_output=True, text=True
    ).stdout.split()
    return sorted(map(int, children))[index]
