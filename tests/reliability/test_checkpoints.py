"""Checkpoint files: whole or absent, checked when read, and never lost to a failed write."""

import errno
import os

import numpy as np
import pytest

from keras_retinanet.errors import CheckpointError
from keras_retinanet.models.checkpoint_files import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    remove_old_checkpoints,
    write_checkpoint,
)
from keras_retinanet.system import atomic_files


def example(step):
    rng = np.random.default_rng(step)
    arrays = {
        "model/0000/conv/kernel": rng.normal(size=(3, 3, 4, 8)).astype(np.float32),
        "optimizer/0000/iterations": np.array(step, np.int64),
        "metrics/0000/total": np.float32(rng.normal()),
    }
    return Checkpoint(arrays, {"epoch": 1, "step": step, "callbacks": {"a": {"best": 0.1 + 0.2}}})


def assert_same(found, expected):
    assert found.state == expected.state
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_reads_what_was_written(tmp_path):
    path = checkpoint_path(tmp_path / "new", 7)
    write_checkpoint(path, example(7))
    assert_same(read_checkpoint(path), example(7))
    assert [p.name for p in path.parent.iterdir()] == ["step_00000007.npz"]


def test_any_cut_is_refused(tmp_path):
    path = checkpoint_path(tmp_path, 1)
    write_checkpoint(path, example(1))
    content = path.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"step_00000001.npz is damaged"):
            read_checkpoint(path)


def test_any_flipped_bit_of_the_values_is_refused(tmp_path):
    path = checkpoint_path(tmp_path, 1)
    write_checkpoint(path, example(1))
    content = path.read_bytes()
    values = example(1).arrays["model/0000/conv/kernel"].tobytes()
    start = content.index(values)
    for offset in range(start, start + len(values), 97):
        damaged = bytearray(content)
        damaged[offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(path)


def test_flips_anywhere_never_change_what_is_read(tmp_path, rng):
    path = checkpoint_path(tmp_path, 1)
    write_checkpoint(path, example(1))
    content = path.read_bytes()
    for offset in rng.integers(0, len(content), 200):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            continue
        for name, array in found.arrays.items():  # dates and the like in ZIP's headers
            np.testing.assert_array_equal(array, example(1).arrays[name])


def test_falls_back_to_the_newest_good_one(tmp_path):
    for step in (9, 10, 11):  # not in the order of their digits
        write_checkpoint(checkpoint_path(tmp_path, step), example(step))
    checkpoint_path(tmp_path, 11).write_bytes(b"PK")
    path, found, faults = newest_checkpoint(tmp_path)
    assert path == checkpoint_path(tmp_path, 10)
    assert_same(found, example(10))
    assert len(faults) == 1 and "step_00000011.npz is damaged" in faults[0]


def test_none_and_none_good(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, None, [])
    assert newest_checkpoint(tmp_path / "missing") == (None, None, [])
    checkpoint_path(tmp_path, 3).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        newest_checkpoint(tmp_path)


def test_keeps_the_newest_and_clears_what_a_kill_left(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(checkpoint_path(tmp_path, step), example(step))
    (tmp_path / ".unfinished-0123.npz").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert newest_checkpoint(tmp_path)[0] == checkpoint_path(tmp_path, 3)
    remove_old_checkpoints(tmp_path, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["notes.txt", "step_00000002.npz", "step_00000003.npz"]
    assert [path.name for path in list_checkpoints(tmp_path)] == names[1:]


@pytest.mark.parametrize("failing", ["savez", "fsync", "replace"])
def test_disk_full_leaves_the_old_ones(tmp_path, monkeypatch, failing):
    write_checkpoint(checkpoint_path(tmp_path, 1), example(1))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "savez":
        monkeypatch.setattr(np, "savez", full)
    else:
        monkeypatch.setattr(os, failing, full)
    for step in (1, 2):  # over an old one, and a new one
        with pytest.raises(CheckpointError, match=r"No space left on device.*free some space"):
            write_checkpoint(checkpoint_path(tmp_path, step), example(5))
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.npz"]
    assert_same(newest_checkpoint(tmp_path)[1], example(1))


def test_disk_really_full(tmp_path, monkeypatch):
    """The file system itself says so."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    monkeypatch.setattr(atomic_files.secrets, "token_hex", lambda _: "0123")
    (tmp_path / ".unfinished-0123.npz").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_checkpoint(checkpoint_path(tmp_path, 2), example(2))
    assert list(tmp_path.iterdir()) == []
