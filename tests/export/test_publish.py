"""Versions: whole or not there, whatever happens."""

import os
import signal
import subprocess
import sys
import time

import pytest

from keras_retinanet.export.publish import next_version, publish
from keras_retinanet.system.buckets import remote_files
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.outgoing import drop_all


def write(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("content")


def test_versions_count_up_from_the_highest_number(tmp_path):
    """A version that exists is never written to."""
    assert publish(tmp_path / "new", write) == tmp_path / "new" / "1"
    for name in ("9", "notes", "10.tmp", "²"):
        (tmp_path / "new" / name).mkdir()
    assert next_version(tmp_path / "new") == 10
    version = publish(tmp_path / "new", write)
    assert version.name == "10"
    assert (version / "sub" / "file").read_text() == "content"


def test_nothing_can_be_seen_before_it_is_whole(tmp_path):
    def look(folder):
        write(folder)
        assert folder.parent == tmp_path
        assert not [p for p in tmp_path.iterdir() if not p.name.startswith(".")]

    publish(tmp_path, look)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_nothing(tmp_path, error):
    def fail(folder):
        write(folder)
        raise error

    with pytest.raises(error):
        publish(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from keras_retinanet.export.publish import publish

def write(folder):
    (folder / "half").write_text("content")
    print("writing", flush=True)
    time.sleep(60)

publish(Path(sys.argv[1]), write)
"""


def test_a_killed_export_leaves_no_version_and_the_next_clears_up(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        # While it runs, its work is nobody else's to remove.
        assert publish(tmp_path, write).name == "1"
        (work,) = tmp_path.glob(".*")
        assert (work / "half").exists()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["1"]
    assert publish(tmp_path, write).name == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


def test_two_exports_at_once_get_versions_of_their_own(tmp_path):
    def write_another(folder):
        write(folder)
        publish(tmp_path, write)
        time.sleep(0.01)

    assert publish(tmp_path, write_another).name == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


def test_in_a_bucket_the_files_that_make_a_version_come_last(new_bucket, monkeypatch):
    bucket, sent = new_bucket(), []
    real = remote_files.upload
    monkeypatch.setattr(
        remote_files, "upload", lambda s, a: sent.append(a.rpartition("/")[2]) or real(s, a)
    )

    def write(place):
        for name in ("manifest.json", "saved_model.pb", "labels.txt", "variables"):
            (place / name).write_text(name)

    for number in (1, 2):
        assert told(str(publish(bucket / "serving", write))) == f"{bucket / 'serving'}/{number}"
        assert set(sent[:-2]) == {"labels.txt", "variables"}
        assert sent[-2:] == ["saved_model.pb", "manifest.json"]
        sent.clear()
    assert len(bucket.names("serving")) == 8


def test_what_fails_publishes_nothing_in_a_bucket(new_bucket):
    bucket = new_bucket()

    def write(place):
        (place / "half").touch()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        publish(bucket / "serving", write)
    drop_all()
    assert not bucket.names()
