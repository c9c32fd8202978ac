"""What is read from buckets: listed once, fetched when needed, kept, and never an old content."""

import os

import pytest

from keras_retinanet.errors import BucketError
from keras_retinanet.system.buckets import incoming, remote_files
from keras_retinanet.system.buckets.bucket_address import path_of
from keras_retinanet.system.buckets.incoming import contents, fetched, is_elsewhere, staged

LABELS, IMAGE = b'{"images": []}', bytes(range(200))


@pytest.fixture(params=["memory", "file"])
def bucket(request, new_bucket):
    bucket = new_bucket(request.param)
    bucket.put("set/labels.json", LABELS)
    bucket.put("set/images/a.jpg", IMAGE)
    bucket.put("set/images/b.jpg", IMAGE[:100])
    return bucket


@pytest.fixture
def requests(monkeypatch):
    """What is asked of buckets, in order: (function, address)."""
    made = []
    for name in ("find", "files_in", "read", "download"):
        real = getattr(remote_files, name)

        def ask(address, *rest, name=name, real=real):
            made.append((name, address))
            return real(address, *rest)

        monkeypatch.setattr(remote_files, name, ask)
    return made


def restart():
    """Forget what this process knows, as another one would not."""
    incoming.forget()


def test_a_local_path_stays(tmp_path):
    assert staged(tmp_path) == fetched(str(tmp_path)) == tmp_path


def test_a_folder_is_listed_once_and_only_labels_are_fetched(bucket, requests):
    folder = staged(bucket / "set")
    assert (folder / "labels.json").read_bytes() == LABELS
    assert sorted(os.listdir(folder / "images")) == ["a.jpg", "b.jpg"]
    for _ in range(3):
        assert staged(bucket / "set/images") == staged(folder / "images") == folder / "images"
        staged(folder / "nothing")
    assert requests == [("find", bucket / "set"), ("download", bucket / "set/labels.json")]


def test_names_and_sizes_are_known_before_the_content(bucket):
    image = staged(bucket / "set") / "images" / "a.jpg"
    assert image.stat().st_size == len(IMAGE)
    assert is_elsewhere(image) and not image.stat().st_mode & 0o444
    assert contents(image, 10, 20) == IMAGE[10:30]
    assert is_elsewhere(image)  # of a range nothing is kept
    assert contents(image) == IMAGE
    assert not is_elsewhere(image) and image.read_bytes() == IMAGE


def test_what_was_fetched_is_used_again_by_the_next_process(bucket, requests):
    fetched(bucket / "set")
    restart()
    requests.clear()
    assert (fetched(bucket / "set") / "images" / "b.jpg").read_bytes() == IMAGE[:100]
    assert requests == [("find", bucket / "set")]


def test_what_changed_in_the_bucket_is_fetched_anew(bucket):
    folder = fetched(bucket / "set")
    bucket.put("set/images/b.jpg", IMAGE[100:])  # as long as before
    bucket.remove("set/images/a.jpg")
    restart()
    assert (fetched(bucket / "set") / "images" / "b.jpg").read_bytes() == IMAGE[100:]
    assert os.listdir(folder / "images") == ["b.jpg"]


def test_a_single_file_brings_no_others(bucket, requests):
    assert fetched(bucket / "set/images/a.jpg").read_bytes() == IMAGE
    assert os.listdir(path_of(bucket / "set")) == ["images"]
    assert [name for name, _ in requests] == ["find", "download"]


def test_nothing_is_there_where_nothing_is(bucket):
    path = staged(bucket / "set/none")
    assert not path.exists()
    assert sorted(os.listdir(path.parent)) == ["labels.json"]  # what the name may begin
    assert not fetched(bucket / "elsewhere/none").exists()


def test_the_beginning_of_names_means_the_files(bucket):
    for name in ("ckpt-10.index", "ckpt-10.data-00000-of-00001"):
        bucket.put(f"set/{name}", b"weights")
    path = fetched(bucket / "set/ckpt-10")
    assert {p.read_bytes() for p in path.parent.glob("ckpt-10.*")} == {b"weights"}


def test_what_is_gone_is_gone_here_too(bucket):
    fetched(bucket / "set")
    bucket.remove("set")
    restart()
    assert not staged(bucket / "set").exists()


def test_a_file_may_become_a_folder_and_back(bucket):
    bucket.put("thing", b"1")
    assert fetched(bucket / "thing").read_bytes() == b"1"
    bucket.remove("thing")
    bucket.put("thing/inside", b"2")
    restart()
    assert (fetched(bucket / "thing") / "inside").read_bytes() == b"2"
    bucket.remove("thing")
    bucket.put("thing", b"3")
    restart()
    assert fetched(bucket / "thing").read_bytes() == b"3"


def test_an_empty_file_is_there(bucket):
    bucket.put("set/images/empty.jpg", b"")
    assert not is_elsewhere(staged(bucket / "set") / "images" / "empty.jpg")


def test_a_pattern_lists_the_folder_before_it(bucket, requests):
    path = staged(bucket / "set/images/*.jpg")
    assert [p.name for p in sorted(path.parent.glob(path.name))] == ["a.jpg", "b.jpg"]
    assert requests == [("find", bucket / "set/images")]


def test_without_room_images_are_read_and_not_kept(bucket, monkeypatch):
    monkeypatch.setenv(incoming.ROOM_VARIABLE, str((len(LABELS) + 150) / 1e9))
    folder = staged(bucket / "set")
    images = folder / "images"
    assert contents(images / "b.jpg") == IMAGE[:100]
    assert contents(images / "a.jpg") == IMAGE
    assert not is_elsewhere(images / "b.jpg") and is_elsewhere(images / "a.jpg")
    with pytest.raises(BucketError, match=r"a\.jpg: there is no room for its .* GB below"):
        fetched(images / "a.jpg")


def test_room_is_a_number(bucket, monkeypatch):
    monkeypatch.setenv(incoming.ROOM_VARIABLE, "much")
    with pytest.raises(BucketError, match="is a number of gigabytes, not 'much'"):
        staged(bucket / "set")


def test_a_file_that_changes_while_it_is_read_stops(bucket):
    image = staged(bucket / "set") / "images" / "a.jpg"
    bucket.put("set/images/a.jpg", b"short")
    for read in (contents, fetched):
        with pytest.raises(BucketError, match="was changed while it was being read: start again"):
            read(image)
    assert is_elsewhere(image)


def test_a_file_that_vanished_is_an_error_and_no_bad_image(bucket):
    image = staged(bucket / "set") / "images" / "a.jpg"
    bucket.remove("set/images/a.jpg")
    with pytest.raises(BucketError, match=r"images/a\.jpg cannot be read: .*see that bucket and"):
        contents(image)
