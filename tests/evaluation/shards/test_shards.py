"""Shares of an evaluation: together they are the evaluation of one process, to the last byte."""

import json
import threading
from collections import Counter

import numpy as np
import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.evaluation.evaluate import DatasetEvaluation, write_evaluation
from keras_retinanet.evaluation.shards.evaluate_shard import evaluate_shard, merge_parts
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.system.locks import file_lock
from keras_retinanet.system.shards.part_file import part_path, read_part
from keras_retinanet.system.shards.shard import Shard

pytestmark = pytest.mark.usefixtures("small_resnet18")

COUNT, BATCH = 3, 2
MODEL = "sha256 of a model"


@pytest.fixture(scope="module")
def demo_yaml(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=1, num_val=9)


@pytest.fixture(scope="module")
def demo(demo_yaml):
    return load_dataset(demo_yaml, "val")


@pytest.fixture(scope="module")
def detector(make_tiny, demo):
    """Images of several sizes have canvases of several sizes; every anchor is a detection."""
    model = make_tiny(
        channels=8,
        class_names=demo.class_names,
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(score_threshold=0.0, max_detections=5),
    )
    return KerasDetector(model)


def one_part(detector, dataset, shard, folder, **changes):
    options = {"model": MODEL, "batch_size": BATCH} | changes
    return evaluate_shard(detector, dataset, Shard(shard, COUNT), folder, **options)


@pytest.fixture
def parts(detector, demo, tmp_path):
    for shard in range(COUNT):
        one_part(detector, demo, shard, tmp_path)
    return tmp_path


def written(evaluator, folder):
    write_evaluation(evaluator.metrics(), evaluator.results, folder)
    return [(folder / name).read_bytes() for name in ("metrics.json", "detections.json")]


@pytest.fixture(scope="module")
def whole(detector, demo, tmp_path_factory):
    """The files of the evaluation in one process."""
    evaluator = DatasetEvaluation(detector, demo, batch_size=BATCH).run()
    assert len(evaluator.results) == 5 * len(demo)
    return written(evaluator, tmp_path_factory.mktemp("whole"))


def test_the_plan_holds_each_image_once_and_no_two_canvases_in_a_batch(detector):
    rng = np.random.default_rng(0)
    heights, widths = rng.choice([40, 50, 100], (2, 50)).astype(np.int32)
    policy = detector.input_policy
    sides = policy.canvas_size(*policy.scaled_size(heights, widths))
    canvas = [tuple(map(int, pair)) for pair in zip(*sides, strict=True)]
    plan = detector.batch_plan(heights, widths, batch_size=3)
    assert sorted(np.concatenate(plan).tolist()) == list(range(50))
    numbers = Counter(canvas)
    assert len(numbers) > 2
    assert len(plan) == sum(-(-number // 3) for number in numbers.values())
    assert all(len({canvas[image] for image in batch}) == 1 for batch in plan)
    # A share of the batches makes the same batches again.
    share = plan[1::2]
    images = np.concatenate(share)
    again = detector.batch_plan(heights[images], widths[images], batch_size=3)
    assert [images[batch].tolist() for batch in again] == [batch.tolist() for batch in share]


def test_merged_parts_are_the_evaluation_of_one_process(parts, demo, whole, tmp_path):
    assert written(merge_parts([parts], demo), tmp_path / "merged") == whole
    files = sorted(parts.glob("part-*.jsonl"), reverse=True)
    assert written(merge_parts(files, demo), tmp_path / "again") == whole


def test_more_parts_than_batches(detector, demo, whole, tmp_path):
    for shard in range(20):
        evaluate_shard(detector, demo, Shard(shard, 20), tmp_path, model=MODEL, batch_size=BATCH)
    assert written(merge_parts([tmp_path], demo), tmp_path / "merged") == whole


def test_a_finished_part_is_not_made_again(detector, demo, parts):
    path = part_path(parts, 1, COUNT)
    before = path.stat().st_mtime_ns
    assert one_part(detector, demo, 1, parts) == (path, 0)
    assert path.stat().st_mtime_ns == before
    assert not list(parts.glob("*.unfinished"))


class Killed(Exception):
    pass


class Dying(KerasDetector):
    """Dies before its second batch."""

    calls = 0

    def __call__(self, images, sizes):
        self.calls += 1
        if self.calls == 2:
            raise Killed
        return super().__call__(images, sizes)


def test_a_killed_part_goes_on_with_what_it_lacks(detector, demo, parts, whole, tmp_path):
    path = part_path(parts, 0, COUNT)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(Killed):
        one_part(Dying(detector.model), demo, 0, parts)
    (unfinished,) = parts.glob("*.unfinished")
    assert unfinished.read_bytes().count(b"\n") == 2  # the header, and a batch
    with pytest.raises(DataError, match=r"part-0-of-3.*is not finished: run its shard again"):
        merge_parts([parts], demo)
    with unfinished.open("ab") as file:
        file.write(b'{"batch": 3, "ima')  # cut short by the kill
    _, num_images = one_part(detector, demo, 0, parts)
    assert 0 < num_images < len(demo) / COUNT + BATCH
    assert path.read_bytes() == content
    assert written(merge_parts([parts], demo), tmp_path / "merged") == whole


def test_a_part_that_another_process_writes_is_left_to_it(detector, demo, tmp_path):
    unfinished = tmp_path / "part-0-of-3.jsonl.unfinished"
    held, done = threading.Event(), threading.Event()

    def hold():
        with file_lock(unfinished):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with pytest.raises(DataError, match="is being written by another process"):
            one_part(detector, demo, 0, tmp_path)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "other"}, "model"),
        ({"batch_size": BATCH + 1}, "batch size"),
        ({"max_detections": 300}, "max detections"),
    ],
)
def test_a_part_of_another_evaluation_is_not_overwritten(detector, demo, parts, changes, message):
    before = part_path(parts, 0, COUNT).read_bytes()
    with pytest.raises(DataError, match=rf"part of another evaluation \({message}.* differs\)"):
        one_part(detector, demo, 0, parts, **changes)
    assert part_path(parts, 0, COUNT).read_bytes() == before


def test_parts_of_another_model_are_refused(detector, demo, parts):
    part_path(parts, 2, COUNT).unlink()
    one_part(detector, demo, 2, parts, model="other")
    with pytest.raises(DataError, match="are of two evaluations: model differs"):
        merge_parts([parts], demo)


def test_parts_of_other_data_are_refused(parts, demo):
    with pytest.raises(DataError, match="the parts are of other data: 9 images"):
        merge_parts([parts], demo.select(range(8)))


def test_missing_and_doubled_parts_are_refused(parts, demo, tmp_path):
    first = part_path(parts, 0, COUNT)
    with pytest.raises(DataError, match="2 of 3 parts are missing: 1/3, 2/3"):
        merge_parts([first], demo)
    copy = tmp_path / "part-copy.jsonl"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="are the same part"):
        merge_parts([parts], demo)


def test_a_damaged_part_is_refused(parts, demo):
    path = part_path(parts, 0, COUNT)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1][:30]]))
    with pytest.raises(DataError, match=rf"jsonl:{len(lines)} is damaged: make this part again"):
        merge_parts([parts], demo)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match=r"the parts hold \d of 9 images"):
        merge_parts([parts], demo)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(DataError, match=r"holds image \d again"):
        merge_parts([parts], demo)
    path.write_text("[1, 2]\n")
    with pytest.raises(DataError, match="is no part that a command with --shard wrote"):
        merge_parts([parts], demo)
    path.write_text(json.dumps({**json.loads(lines[0]), "format": 99}) + "\n")
    with pytest.raises(DataError, match="has format 99; this version reads 2"):
        merge_parts([parts], demo)


def test_a_folder_without_parts_is_refused(demo, tmp_path):
    with pytest.raises(DataError, match="holds no parts"):
        merge_parts([tmp_path], demo)
    with pytest.raises(DataError, match="there is no file or folder"):
        merge_parts([tmp_path / "none"], demo)


def test_a_batch_is_a_line(parts, detector, demo):
    plan = detector.batch_plan(demo.heights, demo.widths, batch_size=BATCH)
    seen = {
        batch: sorted(row["image"] for row in rows)
        for path in parts.glob("*.jsonl")
        for batch, rows in read_part(path)
    }
    assert seen == {batch: sorted(images.tolist()) for batch, images in enumerate(plan)}


@pytest.mark.parametrize("text", ["8/8", "9/8", "1", "a/b", "-1/8", "1/0", "1/8/2", ""])
def test_what_is_no_shard(text):
    with pytest.raises(ConfigError, match="a shard is its number from 0 on"):
        Shard.parse(text)


def test_a_shard():
    assert Shard.parse("0/1") == Shard(0, 1)
    assert Shard.parse("7/8") == Shard(7, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "parts of an evaluation need --data"),
        (("--data", "data.yaml", "--format", "csv"), "--format is for predictions"),
    ],
)
def test_merging_that_does_not_fit(call, capsys, parts, options, message):
    assert call("merge", parts, *options) == 2
    assert message in capsys.readouterr().err


def test_parts_of_a_prediction_are_no_evaluation(parts, demo):
    path = part_path(parts, 0, COUNT)
    header, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(header.replace('"evaluation"', '"prediction"') + "".join(lines))
    with pytest.raises(DataError, match=r"another kind of work \(prediction\): no evaluation"):
        merge_parts([parts], demo)
