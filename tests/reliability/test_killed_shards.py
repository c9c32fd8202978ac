"""Shards that SIGKILL ends in the middle, and that are run again: what is merged is to the byte
what one process writes."""

import signal
import subprocess
import sys
import time

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.system.shards.part_file import part_path

pytestmark = pytest.mark.slow

COUNT = 2
# The command line, but slow after each batch: to be killed between two, or within one.
SLOW = """
import sys, time
from keras_retinanet.system.shards.part_file import PartWriter
add = PartWriter.add
def slow(writer, batch, rows):
    add(writer, batch, rows)
    time.sleep(0.2)
PartWriter.add = slow
from keras_retinanet.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("shards") / "set", num_train=24, num_val=16)


@pytest.fixture(scope="module")
def model(make_tiny, data, tmp_path_factory):
    """Every anchor is a detection."""
    tiny = make_tiny(
        channels=8,
        class_names=load_dataset(data, "val").class_names,
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(score_threshold=0.0, max_detections=5),
    )
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    tiny.save(path)
    return path


def run_killed(command, part, num_batches):
    """Run a shard, and kill it when its part has so many batches, header left out."""
    unfinished = part.with_name(part.name.removesuffix(".jsonl") + ".jsonl.unfinished")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 150
    lines = 0
    while lines <= num_batches and time.monotonic() < end and process.poll() is None:
        lines = unfinished.read_bytes().count(b"\n") if unfinished.exists() else 0
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the shard is too short for this test"
    assert lines > num_batches and not part.exists()


def contents(folder, *names):
    paths = [folder / name for name in names] or sorted(folder.rglob("*"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if p.is_file()}


def check_killed(call, command, folder, parts, *, kills=(1, 3)):
    """Run all shards of a command, the first one killed on its way and run again."""
    for num_batches in kills:
        shard = [*command, "--output", folder, "--shard", f"0/{COUNT}"]
        run_killed(shard, part_path(parts, 0, COUNT), num_batches)
    for i in reversed(range(COUNT)):
        assert call(*command, "--output", folder, "--shard", f"{i}/{COUNT}") == 0


def test_evaluate(call, model, data, tmp_path):
    command = ["evaluate", model, "--data", data, "--batch-size", 1]
    whole, parts, merged = (tmp_path / name for name in ("whole", "parts", "merged"))
    assert call(*command, "--output", whole) == 0
    check_killed(call, command, parts, parts)
    assert call("merge", parts, "--data", data, "--output", merged) == 0
    names = ("metrics.json", "detections.json")
    assert contents(merged, *names) == contents(whole, *names)


def test_predict(call, model, data, tmp_path):
    command = ["predict", model, data.parent / "images" / "val", "--batch-size", 1]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call(*command, "--output", whole) == 0
    check_killed(call, command, parts, parts)
    assert call("merge", parts, "--output", parts) == 0
    found = {k: v for k, v in contents(parts).items() if not k.startswith("part-")}
    assert found == contents(whole) and "predictions.json" in found


def test_convert(call, data, tmp_path):
    command = ["data", "convert", "--data", data, "--to", "tfrecord", "--shards", 8]
    whole, records = tmp_path / "whole", tmp_path / "records"
    assert call(*command, "--output", whole) == 0
    check_killed(call, command, records, records / "parts")
    assert contents(records) == contents(whole) and "data.yaml" in contents(whole)


def test_check(call, data, tmp_path):
    for path in sorted((data.parent / "images").rglob("*.jpg"))[::7]:
        path.write_bytes(path.read_bytes()[:-300])
    records = tmp_path / "records"
    status = call(
        "data", "convert", "--data", data, "--to", "tfrecord", "--shards", 8, "--output", records
    )
    assert status == 0
    command = ["data", "check", "--data", records / "data.yaml", "--decode"]
    whole, parts, merged = (tmp_path / name for name in ("whole", "parts", "merged"))
    status = call(*command, "--output", whole)
    check_killed(call, command, parts, parts)
    assert call("merge", parts, "--data", records / "data.yaml", "--output", merged) == status
    assert contents(merged, "check.json") == contents(whole, "check.json")
