"""What is written to buckets: sent when it is whole, in its order, by one process; never lost."""

import json
import os
import socket
import subprocess
import sys

import psutil
import pytest

from keras_retinanet.errors import BucketError, ConfigError
from keras_retinanet.system.buckets import outgoing as module
from keras_retinanet.system.buckets import remote_files
from keras_retinanet.system.buckets.bucket_address import OUTPUTS, top_folder
from keras_retinanet.system.buckets.incoming import is_elsewhere, staged
from keras_retinanet.system.buckets.outgoing import (
    claimed_in_bucket,
    drop_all,
    outgoing,
    send,
    send_all,
)
from keras_retinanet.system.buckets.sent_folder import CLAIM


@pytest.fixture(params=["memory", "file"])
def bucket(request, new_bucket):
    return new_bucket(request.param)


@pytest.fixture
def sent(monkeypatch):
    """The names of what is sent or removed, in order."""
    names = []
    for name, sign in (("upload", ""), ("remove", "-")):
        real = getattr(remote_files, name)

        def do(*arguments, sign=sign, real=real):
            names.append(sign + arguments[-1].rpartition("/")[2])
            return real(*arguments)

        monkeypatch.setattr(remote_files, name, do)
    return names


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_a_local_folder_stays_and_is_not_sent(tmp_path):
    assert outgoing(tmp_path / "x") == tmp_path / "x"
    send(tmp_path / "x")
    with claimed_in_bucket(tmp_path / "x", last=()):
        pass
    assert not list(tmp_path.iterdir())


def test_a_new_folder_is_not_there_and_what_is_written_is_sent(bucket):
    folder = outgoing(bucket / "out")
    assert not folder.exists()
    fill(folder, "a.txt", "sub/b.txt", ".unfinished-1.tmp", "run.lock")
    send(folder)
    assert bucket.names() == ["out/a.txt", "out/sub/b.txt"]
    assert bucket.read("out/sub/b.txt") == b"sub/b.txt"


def test_only_what_is_new_is_sent_and_what_is_gone_removed(bucket, sent):
    folder = outgoing(bucket / "out")
    fill(folder, "a", "b", "c")
    send(folder)
    sent.clear()
    (folder / "a").unlink()
    (folder / "b").write_text("changed")
    send(folder / "b")  # of any place in it
    send_all()
    assert sent == ["b", "-a"]
    assert bucket.names() == ["out/b", "out/c"] and bucket.read("out/b") == b"changed"


def test_marks_come_last_and_in_their_order(bucket, sent):
    folder = outgoing(bucket / "out", last=("*/first-mark", "mark"))
    sent.clear()
    fill(folder, "1/first-mark", "1/x", "1/y", "mark", "z")
    send(folder)
    assert set(sent[:3]) == {"x", "y", "z"} and sent[3:] == ["first-mark", "mark"]


def test_if_anything_fails_no_mark_is_sent_and_nothing_is_lost(bucket, monkeypatch):
    folder = outgoing(bucket / "out", last=("mark",))
    fill(folder, "bad", "good", "mark")
    real = remote_files.upload

    def fail(source, address):
        if address.endswith("bad"):
            raise BucketError("no network")
        real(source, address)

    monkeypatch.setattr(remote_files, "upload", fail)
    with pytest.raises(
        BucketError, match="no network; nothing is lost, all of it is below "
    ) as error:
        send(folder)
    place = str(error.value).rpartition(" ")[2]
    assert "out/mark" not in bucket.names()
    drop_all()
    kept = list((top_folder() / OUTPUTS).iterdir())
    assert [str(path) for path in kept] == [place]
    assert {path.name for path in kept[0].rglob("*")} >= {"bad", "good", "mark"}
    outgoing(bucket / "other")  # another process' folders are left alone
    assert kept[0].is_dir()


def test_what_failed_is_sent_the_next_time(bucket, monkeypatch, caplog):
    folder = outgoing(bucket / "out")
    fill(folder, "a")
    with monkeypatch.context() as patch:
        patch.setattr(remote_files, "upload", lambda *_: (_ for _ in ()).throw(BucketError("gone")))
        send(folder, is_last_word=False)
    assert "gone" in caplog.text and "tried again with the next checkpoint" in caplog.text
    send(folder)
    assert bucket.names() == ["out/a"]
    drop_all()
    assert not list((top_folder() / OUTPUTS).iterdir())


def test_what_lies_there_is_seen_and_stays(bucket, sent):
    bucket.put("out/old.jpg", b"old")
    bucket.put("out/old.json", b"{}")
    folder = outgoing(bucket / "out")
    sent.clear()
    assert (folder / "old.json").read_text() == "{}" and is_elsewhere(folder / "old.jpg")
    assert staged(bucket / "out/old.jpg") == folder / "old.jpg"  # for what is read, too
    fill(folder, "new")
    send(folder)
    assert sent == ["new"]
    assert bucket.names() == ["out/new", "out/old.jpg", "out/old.json"]


def test_the_same_address_is_the_same_folder(bucket):
    folder = outgoing(bucket / "out")
    assert outgoing(bucket / "out") == outgoing(folder) == folder
    assert outgoing(bucket / "out/1") == outgoing(folder / "1") == folder / "1"


def test_a_file_is_no_folder(bucket):
    bucket.put("file", b"mine")
    for name in ("file", "file/below"):
        with pytest.raises(ConfigError) as error:
            outgoing(bucket / name, option="--output ")
        file = bucket / "file"
        assert str(error.value) == f"--output {bucket / name}: {file} is a file: name a folder"
    assert bucket.names() == ["file"]


def test_local_folders_go_with_their_process(bucket):
    folder = outgoing(bucket / "out")
    fill(folder, "a")
    drop_all()
    assert not folder.exists() and not list((top_folder() / OUTPUTS).iterdir())
    dead = top_folder() / OUTPUTS / "1-dead"
    fill(dead, "memory/bucket/out/a", ".alive")
    outgoing(bucket / "out")
    assert not dead.exists()


def test_a_folder_is_sent_however_the_work_ends(bucket):
    folder = outgoing(bucket / "out")
    with pytest.raises(KeyboardInterrupt), claimed_in_bucket(folder, last=()):
        assert CLAIM in bucket.names("out")[0]
        fill(folder, "a")
        raise KeyboardInterrupt
    assert bucket.names() == ["out/a"]  # and the claim is gone
    with claimed_in_bucket(folder, last=()):
        (folder / "a").unlink()
    assert not bucket.names()


def test_a_living_process_of_this_machine_is_not_disturbed(bucket):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        claim = {
            "token": "theirs",
            "host": socket.gethostname(),
            "process": other.pid,
            "since": psutil.Process(other.pid).create_time(),
        }
        bucket.put(f"out/{CLAIM}", json.dumps(claim).encode())
        folder = outgoing(bucket / "out")
        assert not folder.exists()  # a claim alone makes no used folder
        with pytest.raises(ConfigError) as error, claimed_in_bucket(folder, last=()):
            pass
        assert str(error.value) == (
            f"{bucket / 'out'} is being written by process {other.pid} on "
            f"{socket.gethostname()}: wait for it, stop it, or name another folder"
        )
        other.kill()
    with claimed_in_bucket(folder, last=()):  # it is dead
        fill(folder, "a")
    assert bucket.names() == ["out/a"]


@pytest.mark.parametrize("left", ["no JSON", '{"token": "x", "host": "another", "process": 1}'])
def test_a_claim_of_elsewhere_is_taken_over(bucket, left):
    bucket.put(f"out/{CLAIM}", left.encode())
    with claimed_in_bucket(outgoing(bucket / "out"), last=()):
        pass
    assert not bucket.names()


def test_who_was_taken_over_stops_and_overwrites_nothing(bucket):
    bucket.put("out/run.json", b"theirs")
    folder = outgoing(bucket / "out")
    told = "is being written by another process since: this one stops"
    with pytest.raises(ConfigError, match=told), claimed_in_bucket(folder, last=()):
        fill(folder, "run.json")
        bucket.put(f"out/{CLAIM}", json.dumps({"token": "newer"}).encode())
        send(folder, is_last_word=False)
    assert bucket.read("out/run.json") == b"theirs"
    assert json.loads(bucket.read(f"out/{CLAIM}")) == {"token": "newer"}


def test_files_that_vanish_while_they_are_sent_do_not_stop(bucket, monkeypatch):
    folder = outgoing(bucket / "out")
    fill(folder, "checkpoint", "metrics.csv")
    real = remote_files.upload

    def remove_first(source, address):
        if source.name == "checkpoint":
            os.unlink(source)
        real(source, address)

    monkeypatch.setattr(remote_files, "upload", remove_first)
    send(folder)
    assert bucket.names() == ["out/metrics.csv"]
    send(folder)
    assert bucket.names() == ["out/metrics.csv"]


def test_every_process_has_its_own_folder(bucket):
    one = outgoing(bucket / "out")
    drop_all()
    two = outgoing(bucket / "out")
    assert one != two
    assert not module._every.keys() & {one}
