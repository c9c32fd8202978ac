"""Runs in buckets: whatever lies there at any moment goes on to the same end, to the bit."""

import pytest

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import BucketError, ConfigError, TrainingInterrupted
from keras_retinanet.models.checkpoint_files import list_checkpoints
from keras_retinanet.system.buckets import remote_files
from keras_retinanet.system.buckets.incoming import fetched
from keras_retinanet.system.buckets.outgoing import drop_all
from keras_retinanet.training import train as training
from keras_retinanet.training.callbacks import save_checkpoints as saving
from keras_retinanet.training.runs.run_directory import read_run

RUN, CONFIG = "/bucket/run/run.json", "/bucket/run/config.yaml"

pytestmark = pytest.mark.usefixtures("small_resnet18", "one_device")


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture
def run(demo, tiny_config):
    def start(address, *overrides, **options):
        config = tiny_config("schedule.length=2", *overrides)
        try:
            training.train(config, *demo, address, progress=False, data="data.yaml", **options)
        finally:
            drop_all()  # what comes next is another process

    return start


@pytest.fixture
def moments(bucket, monkeypatch):
    """What lies in the bucket after each change, in order: (what was changed, all files)."""
    seen = []
    for name in ("upload", "remove"):
        real = getattr(remote_files, name)

        def change(*arguments, name=name, real=real):
            real(*arguments)
            content = {key: file.getvalue() for key, file in bucket.files.store.items()}
            seen.append((f"{name} {arguments[-1]}", content))

        monkeypatch.setattr(remote_files, name, change)
    # One at a time, so that there is an order.
    monkeypatch.setattr(remote_files, "in_parallel", lambda work, items: [*map(work, items)])
    return seen


def go_back(bucket, content):
    for key in list(bucket.files.store):
        bucket.files.rm(key)
    for key, value in content.items():
        bucket.files.pipe_file(key, value)


@pytest.fixture
def both(bucket, run, moments, tmp_path):
    """A training in a folder and the same in a bucket, where one checkpoint of two is kept."""
    run(tmp_path / "whole", "training.keep_checkpoints=1")
    run(bucket / "run", "training.keep_checkpoints=1")
    return tmp_path / "whole", list(moments)


def test_a_run_in_a_bucket_is_that_in_a_folder(both, bucket, run, tmp_path, assert_same_end):
    folder, moments = both
    whole = whole_copy(bucket, tmp_path / "copy")
    assert_same_end(folder, whole)
    assert read_run(whole).is_finished
    load_model(whole / "best.keras")
    assert names_in(whole) == names_in(folder) - {"run.lock"}
    # The newest moment before the checkpoint of an epoch: its best.keras is there, and goes again.
    names = [name for name, _ in moments]
    epoch = names.index(f"upload {bucket / 'run/checkpoints/step_00000003.npz'}")
    earlier = names.index(f"upload {bucket / 'run/checkpoints/step_00000002.npz'}")
    assert earlier < names.index(f"upload {bucket / 'run/best.keras'}") < epoch
    go_back(bucket, moments[epoch - 1][1])
    run(bucket / "run", resume=True)
    assert_same_end(whole_copy(bucket, tmp_path / "again"), folder)
    events = [name for name in bucket.names("run") if "tfevents" in name]
    assert len(events) > 1  # the first start's, too


@pytest.mark.slow
def test_a_process_that_died_at_any_moment_can_be_gone_on_from(
    both, bucket, run, tmp_path, assert_same_end
):
    """At fifteen moments, from the first one at which a run is there."""
    folder, moments = both
    there = [content for _, content in moments if {RUN, CONFIG} <= content.keys()]
    for number, content in enumerate(there[:: max(1, len(there) // 15)]):
        go_back(bucket, content)
        run(bucket / "run", resume=True)
        assert_same_end(whole_copy(bucket, tmp_path / str(number)), folder)


def names_in(folder):
    """The names of all files, but for those that hold a time."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in files if "tfevents" not in name}


def whole_copy(bucket, folder):
    for name in bucket.names("run"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.read(name))
    return folder / "run"


def test_only_the_newest_checkpoint_is_fetched(bucket, run, monkeypatch):
    run(bucket / "run", "schedule.length=1")
    asked, real = [], remote_files.download
    monkeypatch.setattr(
        remote_files, "download", lambda a, t: asked.append(a.rpartition("/")[2]) or real(a, t)
    )
    run(bucket / "run", "schedule.length=1", resume=True)
    assert "step_00000003.npz" in asked
    assert not {"step_00000002.npz", "step_00000001.npz", "last.keras"} & set(asked)
    assert not [name for name in asked if "tfevents" in name]


def test_a_signal_sends_the_state_before_it_ends(bucket, run, monkeypatch):
    monkeypatch.setattr(
        saving.SaveCheckpoints,
        "on_train_batch_end",
        lambda self, *_, **__: self._save_and_stop(),
    )
    with pytest.raises(TrainingInterrupted):
        run(bucket / "run")
    drop_all()
    assert "run/checkpoints/step_00000001.npz" in bucket.names()
    assert not [name for name in bucket.names() if "written-by" in name]


def test_an_upload_that_fails_is_tried_again_and_at_the_end_an_error(
    bucket, run, monkeypatch, caplog
):
    real = remote_files.upload

    def fail(source, address):
        if "checkpoints" in address or address.endswith("last.keras"):
            raise BucketError(f"{address} cannot be written: no network")
        real(source, address)

    monkeypatch.setattr(remote_files, "upload", fail)
    with pytest.raises(BucketError, match="nothing is lost, all of it is below ") as error:
        run(bucket / "run", "schedule.length=1")
    assert caplog.text.count("tried again with the next checkpoint") == 3  # a training goes on
    drop_all()
    place = str(error.value).rpartition(" ")[2]
    (kept,) = [p.parent for p in fetched(place).rglob("last.keras")]
    assert read_run(kept).is_finished and list_checkpoints(kept / "checkpoints")


def test_a_used_folder_is_refused(bucket, run):
    bucket.put("run/mine.jpg", b"mine")
    with pytest.raises(ConfigError, match="exists and is not empty: name a new folder"):
        run(bucket / "run")
    assert bucket.names() == ["run/mine.jpg"]


def test_a_start_that_fails_leaves_nothing(bucket, run):
    with pytest.raises(ConfigError):
        run(bucket / "run", "training.batch_size=3", "training.accumulate=2")
    assert not bucket.names()


def test_there_is_nothing_to_resume(bucket, run):
    with pytest.raises(ConfigError, match="holds no run to resume"):
        run(bucket / "run", resume=True)
    assert not bucket.names()
