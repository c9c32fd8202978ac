"""A training whose data, run and export lie in an S3 server, killed again and again: the same end.

Needs s3fs and the server of moto, which no extra brings (60 packages): pip install s3fs
"moto[server]".
"""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.models.checkpoint_files import newest_checkpoint
from keras_retinanet.training.runs.run_directory import read_run

INSTALL = 'pip install s3fs "moto[server]"'
moto_server = pytest.importorskip("moto.server", reason=f"needs a local S3 server: {INSTALL}")
s3fs = pytest.importorskip("s3fs", reason=f"needs s3fs: {INSTALL}")
pytestmark = pytest.mark.slow

KILLS = 2
SETTINGS = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=3",
    "schedule.warmup_iterations=4",
    "training.batch_size=4",
    "training.evaluate_every=3",
    "training.checkpoint_every=2",
    "training.deterministic=true",
    "inference.score_threshold=0.001",
)


@pytest.fixture(scope="module")
def server():
    """The environment that leads to an S3 server of this machine."""
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        yield
    server.stop()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of a small data set."""
    folder = tmp_path_factory.mktemp("s3") / "set"
    write_demo_dataset(folder, num_train=16, num_val=2)
    return folder


@pytest.fixture
def bucket(server, data):
    """A new bucket with the data set in it, and what looks into it."""
    files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    name = f"test-{time.time_ns()}"
    files.mkdir(name)
    files.put(str(data), f"{name}/set", recursive=True)
    return files, name


def start(*arguments, log, disk):
    """Start the command line with a local disk of its own, as on another machine."""
    return subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet.cli", *map(str, arguments)],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "KERAS_RETINANET_BUCKETS": str(disk)},
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_killed_and_gone_on_with_on_other_machines(bucket, data, tmp_path):
    files, name = bucket
    top, moments = f"s3://{name}", random.Random(0)
    whole = tmp_path / "whole"
    log_file = tmp_path / "log.txt"
    with open(log_file, "w") as log:
        local = ["train", "quickstart", *SETTINGS, "--data", data]
        assert start(*local, "--output", whole, log=log, disk=tmp_path / "0").wait() == 0
        arguments = ["train", "quickstart", *SETTINGS, "--data", f"{top}/set"]
        arguments += ["--output", f"{top}/run"]
        for kill in range(KILLS):
            before = checkpoints(files, name)
            process = start(*arguments, log=log, disk=tmp_path / f"disk-{kill}")
            went_on = wait_for(lambda b=before: checkpoints(files, name) - b, process)
            assert went_on, log_file.read_text()
            time.sleep(moments.uniform(0, 0.7))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the training is too short for this test"
            arguments = ["train", "--resume", f"{top}/run"]
        last = tmp_path / "last-disk"
        assert start(*arguments, log=log, disk=last).wait() == 0, log_file.read_text()
        export = ["export", f"{top}/run", "--format", "keras", "--output", f"{top}/exports"]
        assert start(*export, log=log, disk=last).wait() == 0, log_file.read_text()
        assert "Traceback" not in log_file.read_text()
        assert not list((last / "outputs").iterdir())
    copy = tmp_path / "copy"
    files.get(f"{name}/run", str(copy), recursive=True)
    files.get(f"{name}/exports", str(tmp_path / "exports"), recursive=True)
    assert read_run(copy).is_finished
    assert_same_weights(copy, whole)
    exported = load_model(tmp_path / "exports" / "1" / "model.keras")
    for one, two in zip(exported.weights, load_model(whole / "best.keras").weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def checkpoints(files, name):
    return set(files.glob(f"{name}/run/checkpoints/step_*.npz"))


def assert_same_weights(one, two):
    """All that training goes on from, and both models, bit for bit."""
    (_, here, _), (_, there, _) = (newest_checkpoint(run / "checkpoints") for run in (one, two))
    assert [here.state[k] for k in ("epoch", "step")] == [there.state[k] for k in ("epoch", "step")]
    assert here.arrays.keys() == there.arrays.keys()
    for key, array in here.arrays.items():
        np.testing.assert_array_equal(array, there.arrays[key], err_msg=key)
    for model in ("best.keras", "last.keras"):
        pairs = zip(load_model(one / model).weights, load_model(two / model).weights, strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=f"{model}: {a.path}")


def test_a_bucket_that_is_not_there_and_a_key_that_is_not_right(bucket, tmp_path, monkeypatch):
    _, name = bucket
    log_file = tmp_path / "log.txt"

    def told(*arguments):
        with open(log_file, "w") as log:
            assert start(*arguments, log=log, disk=tmp_path / "disk").wait() == 2
        (line,) = log_file.read_text().splitlines()
        return line

    new = ["train", "quickstart", "--data", f"s3://{name}/set"]
    line = told(*new, "--output", "s3://no-such-bucket-here/run")
    assert line.startswith("error: --output s3://no-such-bucket-here/run cannot be written: ")
    assert "see that bucket and name are right" in line
    line = told("evaluate", f"s3://{name}/none.keras", "--data", f"s3://{name}/set")
    assert line == f"error: there is no model file or folder s3://{name}/none.keras"
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    line = told(*new, "--output", f"s3://{name}/run2")
    assert "see that credentials are set, and are allowed to do this" in line
