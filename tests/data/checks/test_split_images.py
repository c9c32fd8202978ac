"""Image files of a split as arrays, and sets of paths as digests."""

import os

import numpy as np
import pytest

from keras_retinanet.data.checks.duplicates import unions
from keras_retinanet.data.checks.split_images import PathSet, SplitImages, real_path
from keras_retinanet.data.checks.unused_images import UsedImages, unused_images
from keras_retinanet.data.images.scan import LOOK_BITS, ScannedImage


def test_remarks_faults_and_looks_are_those_of_each_image(rng):
    look = rng.random(LOOK_BITS) < 0.5
    scans = [
        ScannedImage(None, b"a" * 15 + b"\0", ("gray", "turned"), look),
        ScannedImage("damaged"),
        ScannedImage("damaged", b"b" * 16, ("gray",)),
        ScannedImage(None, b"c" * 16, (), ~look),
    ]
    images = SplitImages("val", ["0", "1", "2", "3"], iter(scans))
    assert [(f.problem, f.where, f.action) for f in images.findings()] == [
        ("gray", "0", "noted"),
        ("turned", "0", "noted"),
        ("damaged", "1", "image skipped"),
        ("gray", "2", "noted"),
        ("damaged", "2", "image skipped"),
    ]
    assert images.damaged.tolist() == [1, 2] and images.with_looks.tolist() == [0, 3]
    assert (images.digests != b"").tolist() == [True, False, True, True]
    np.testing.assert_array_equal(np.unpackbits(images.looks, axis=1).astype(bool), [look, ~look])


def test_sets_of_paths_are_sets():
    paths = [f"{i}/{i * i}.jpg" for i in range(50)]
    some = PathSet([*paths[::3], *paths[::3]])
    assert len(some) == len(paths[::3])
    assert some.holds(paths).tolist() == [i % 3 == 0 for i in range(50)]
    every = PathSet(paths)
    assert every.is_above(some) and not some.is_above(every) and not every.is_above(every)
    assert not PathSet([*paths[1:], "a", "b"]).is_above(some)
    assert not PathSet([]).holds(paths).any()


def test_links_are_followed_as_realpath_does(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "real" / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "up").symlink_to("..")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "a.jpg").touch()
    (tmp_path / "far").symlink_to("deep/er")
    for name, target in {"c": "b.jpg", "d": "../link/up/link/b.jpg", "e": "..", "f": "f"}.items():
        (tmp_path / "real" / f"{name}.jpg").symlink_to(target)
    names = (
        "far/../a.jpg",
        "real/c.jpg",
        "link/d.jpg",
        "real/e.jpg",
        "real/f.jpg",
        "real/a.jpg",
        "real/b.jpg",
        "link/a.jpg",
        "link/b.jpg",
        "link/up/link/a.jpg",
        "gone/x",
    )
    for name in (*names, "real/../link/a.jpg", "link/..", "real/", "shard@3+4/c.jpg"):
        path = os.path.join(tmp_path, name)
        assert real_path(path) == os.path.realpath(path), name
    for folder in ("real", "link"):
        monkeypatch.chdir(tmp_path / folder)
        assert real_path("a.jpg") == os.path.realpath("a.jpg")
    monkeypatch.chdir(tmp_path)
    assert real_path("a.jpg") == os.path.realpath("a.jpg")


@pytest.mark.parametrize("block", [1, 3, 100])
def test_images_that_no_split_names(tmp_path, monkeypatch, block):
    monkeypatch.setattr("keras_retinanet.data.checks.unused_images._NAMES_AT_ONCE", block)
    monkeypatch.chdir(tmp_path)
    for name in ("a/0.jpg", "a/1.JPG", "a/2.jpg", "a/notes.txt", "b/0.jpg", "b/3.png", "c/4.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    used = [UsedImages([["a/0.jpg"], [f"{tmp_path}/b/0.jpg"]]), UsedImages([["gone/0.jpg"]])]
    found = [f.where for f in unused_images(used)]
    assert found == [f"{tmp_path}/{name}" for name in ("a/1.JPG", "a/2.jpg", "b/3.png")]


def images(split, *paths):
    return SplitImages(split, paths, [ScannedImage(None, path.encode()) for path in paths])


def test_a_split_of_all_of_train_and_more_is_a_union():
    train = images("train", "a", "b", "b")
    assert unions([train, images("both", "a", "b", "c"), images("same", "b", "a", "a")]) == ["both"]
    assert unions([train, images("other", "a", "c", "d", "e")]) == []
    assert unions([images("val", "a", "b"), images("test", "a", "b", "c")]) == []
    assert unions([images("train"), images("val", "a")]) == []
