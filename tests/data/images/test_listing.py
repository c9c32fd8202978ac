import os
from pathlib import Path

import pytest

from keras_retinanet.data.images.listing import list_files, list_images, walk
from keras_retinanet.errors import DataError


def test_list_images_looks_into_subfolders(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
    assert list_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in (
        "a.webp",
        ".b.jpg",
        ".ipynb_checkpoints/a.jpg",
        "sub/.hidden/c.png",
        "d.jxl",
        "e.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.webp", "d.jxl"]
    assert [p.name for p in list_files(tmp_path)] == ["a.webp", "d.jxl", "e.txt"]


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").touch()
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "real")
    (folder / "linked" / "back").symlink_to(folder)
    assert list_files(folder) == [folder / "linked" / "a.png"]


def test_the_root_of_the_file_system_is_refused():
    with pytest.raises(DataError, match="/ is the root of the file system"):
        list_files(Path("/"))


def test_an_unreadable_folder_is_no_empty_one(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    real = os.scandir

    def scandir(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot read the folder .*closed: Permission denied"):
        list_files(tmp_path)
    assert [parent for parent, _ in walk(tmp_path, skip_unreadable=True)] == [str(tmp_path)]


def test_depth_is_bounded(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert len(list(walk(tmp_path, max_depth=1))) == 2
    assert len(list(walk(tmp_path))) == 3
