"""Files appear whole, with a plain file's permissions, and leave nothing behind."""

import os
import stat
import subprocess
import sys

import pytest

from keras_retinanet.system import atomic_files
from keras_retinanet.system.atomic_files import (
    remove_unfinished,
    sync_to_disk,
    whole_file,
    write_whole,
)


def test_until_the_end_the_old_file_is_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as unfinished:
        assert unfinished.parent == tmp_path
        unfinished.write_bytes(b"new")
        assert path.read_text() == "old"
        assert list(tmp_path.glob("a*")) == [path]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there_before", [True, False])
def test_an_error_changes_nothing(tmp_path, error, there_before):
    path = tmp_path / "a.txt"
    if there_before:
        path.write_text("old")
    before = list(tmp_path.iterdir())
    with pytest.raises(error), whole_file(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == before
    assert not there_before or path.read_text() == "old"


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        pass


def test_writers_in_the_same_moment_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
    assert path.read_text() == "first"  # the last to end
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        (tmp_path / "plain").write_text("")
        write_whole(tmp_path / "whole", "")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes == [0o666 & ~mask] * 2


def test_a_long_name_and_a_suffix(tmp_path):
    path = tmp_path / (250 * "x" + ".npy")
    with whole_file(path, suffix=".npy") as unfinished:
        assert unfinished.suffix == ".npy"
        unfinished.write_text("content")
    assert path.read_text() == "content"


def test_a_link_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("a file")
    with whole_file(path) as unfinished:
        unfinished.symlink_to(tmp_path / "elsewhere")
    assert path.readlink() == tmp_path / "elsewhere"


def test_text_is_utf_8(tmp_path):
    write_whole(tmp_path / "a.txt", "Käse 雪")
    assert (tmp_path / "a.txt").read_bytes() == "Käse 雪".encode()


def test_sync_is_of_the_file_before_it_is_renamed_and_of_the_folder_after(tmp_path, monkeypatch):
    path, calls = tmp_path / "a", []
    monkeypatch.setattr(
        atomic_files, "sync_to_disk", lambda place: calls.append((place, path.exists()))
    )
    with whole_file(path, sync=True) as unfinished:
        unfinished.write_text("content")
    assert calls == [(unfinished, False), (tmp_path, True)]


def test_what_is_synced_has_to_be_there(tmp_path):
    sync_to_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_to_disk(tmp_path / "missing")


KILLED = """
import os, sys
from pathlib import Path
from keras_retinanet.system.atomic_files import whole_file

with whole_file(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half")
    os._exit(9)
"""


def test_what_a_killed_process_leaves_can_be_removed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    (tmp_path / ".mine.tmp").write_text("mine")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 3
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine.tmp", "a.txt"]
    assert path.read_text() == "old"
