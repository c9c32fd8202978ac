"""A training whose data, run and export lie in a bucket, killed again and again: the same end.

Servers of this machine stand for S3 and Google Cloud Storage. No extra brings them (60 packages and
more): pip install s3fs "moto[server]" for the one, gcsfs gcp-storage-emulator for the other.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.models.checkpoint_files import newest_checkpoint
from keras_retinanet.training.runs.run_directory import read_run

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


@pytest.fixture(scope="module", params=["s3", "gs"])
def files(request):
    """The file system of a local server, which the environment leads to."""
    with pytest.MonkeyPatch.context() as patch:
        yield from {"s3": s3_server, "gs": gs_server}[request.param](patch)


def s3_server(patch):
    install = 'needs a local S3 server: pip install s3fs "moto[server]"'
    moto_server = pytest.importorskip("moto.server", reason=install)
    s3fs = pytest.importorskip("s3fs", reason=install)
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    yield s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    server.stop()


def gs_server(patch):
    install = "needs a local server: pip install gcsfs gcp-storage-emulator"
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason=install)
    gcsfs = pytest.importorskip("gcsfs", reason=install)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True)
    server.start()
    patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    # Without this, gcsfs asks Google itself of which type each bucket is.
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    yield gcsfs.GCSFileSystem(use_listings_cache=False, skip_instance_cache=True)
    server.stop()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of a small data set."""
    folder = tmp_path_factory.mktemp("s3") / "set"
    write_demo_dataset(folder, num_train=16, num_val=2)
    return folder


@pytest.fixture
def bucket(files, data):
    """A new bucket with the data set in it: its name, and its address."""
    name = f"test-{time.time_ns()}"
    files.mkdir(name)
    files.put(str(data), f"{name}/set", recursive=True)
    return name, f"{files.protocol[0]}://{name}"


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


def test_killed_and_gone_on_with_on_other_machines(files, bucket, data, tmp_path):
    (name, top), moments = bucket, random.Random(0)
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


def told(*arguments, folder):
    """The one line that a refused command prints."""
    log_file = folder / "log.txt"
    with open(log_file, "w") as log:
        assert start(*arguments, log=log, disk=folder / "disk").wait() == 2
    (line,) = log_file.read_text().splitlines()
    return line


def test_a_bucket_or_file_that_is_not_there(files, bucket, tmp_path):
    _, top = bucket
    missing = f"{files.protocol[0]}://no-such-bucket-here/run"
    new = ["train", "quickstart", "--data", f"{top}/set", "--output", missing]
    line = told(*new, folder=tmp_path)
    assert line.startswith(f"error: --output {missing} cannot be written: ")
    assert "see that bucket and name are right" in line
    line = told("evaluate", f"{top}/none.keras", "--data", f"{top}/set", folder=tmp_path)
    assert line == f"error: there is no model file or folder {top}/none.keras"


@pytest.mark.parametrize("files", ["s3"], indirect=True)  # the other server asks for no key
def test_a_key_that_is_not_there(bucket, tmp_path, monkeypatch):
    _, top = bucket
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    new = ["train", "quickstart", "--data", f"{top}/set", "--output", f"{top}/run2"]
    line = told(*new, folder=tmp_path)
    assert "see that credentials are set, and are allowed to do this" in line
