"""What goes wrong with buckets: one line that says what to do."""

import sys

import pytest

from keras_retinanet.errors import BucketError
from keras_retinanet.system.buckets import remote_files


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


def raising(monkeypatch, bucket, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(type(bucket.files), "find", fail)


class NoCredentialsError(Exception):
    """As botocore raises it: a class of its own."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoCredentialsError("Unable to locate credentials"), "see that credentials are set"),
        (PermissionError("Access Denied"), "see that credentials are set, and are allowed"),
        (ConnectionError("no route\nto host"), "see that the address is right, and the network"),
        (TimeoutError(), "cannot be read: TimeoutError: see that"),
    ],
)
def test_errors_are_one_line(monkeypatch, bucket, error, told):
    raising(monkeypatch, bucket, error)
    with pytest.raises(BucketError) as found:
        remote_files.find(bucket.address)
    text = str(found.value)
    assert text.startswith(f"{bucket.address} cannot be read: ") and told in text
    assert text.isprintable()


def test_an_unknown_scheme(new_bucket):
    new_bucket()
    with pytest.raises(BucketError, match=r"^nosuch://b/x cannot be opened: Protocol not known"):
        remote_files.find("nosuch://b/x")


def test_without_fsspec_the_extra_is_named(monkeypatch, new_bucket):
    new_bucket()
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(BucketError) as error:
        remote_files.find("s3://bucket/x")
    assert str(error.value) == (
        's3://bucket/x needs the package fsspec: pip install "retinanet-keras[buckets]"'
    )


def test_the_package_of_a_scheme_is_named(monkeypatch, new_bucket):
    new_bucket()
    monkeypatch.setitem(sys.modules, "ossfs", None)
    with pytest.raises(BucketError) as error:
        remote_files.find("oss://bucket/x")
    assert str(error.value) == "oss://bucket/x needs the package ossfs: pip install ossfs"


def test_a_name_that_leads_out_is_refused(monkeypatch, bucket):
    bucket.put("set/a", b"1")
    info = {"name": "/bucket/set/../../evil", "type": "file", "size": 1}
    monkeypatch.setattr(type(bucket.files), "find", lambda *_, **__: {info["name"]: info})
    with pytest.raises(BucketError, match=r"cannot be the name of a local file: rename it"):
        remote_files.find(bucket / "set")


def test_what_makes_a_folder_is_no_file(monkeypatch, bucket):
    infos = [
        {"name": "/bucket/set/", "type": "file", "size": 0},
        {"name": "/bucket/set/images", "type": "directory", "size": 0},
        {"name": "/bucket/set/images/a.jpg", "type": "file", "size": 3, "ETag": "x"},
        {"name": "/bucket/set/b.jpg.unfinished", "type": "file", "size": 3},
    ]
    monkeypatch.setattr(type(bucket.files), "find", lambda *_, **__: {i["name"]: i for i in infos})
    assert list(remote_files.find(bucket / "set")) == ["images/a.jpg"]


def test_an_upload_elsewhere_than_in_buckets_shows_no_half_file(new_bucket, monkeypatch, tmp_path):
    """A file system without whole writes keeps the old file until the new one is there."""
    bucket = new_bucket("file")
    bucket.put("a", b"old")
    (tmp_path / "new").write_bytes(b"new")

    def cut_off(self, source, target, **_):
        with open(target, "wb") as file:
            file.write(b"n")
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(type(bucket.files), "put_file", cut_off)
        with pytest.raises(BucketError, match="cut off"):
            remote_files.upload(tmp_path / "new", bucket / "a")
    assert bucket.read("a") == b"old"
    assert list(remote_files.find(bucket.address)) == ["a"]
    remote_files.upload(tmp_path / "new", bucket / "a")
    assert bucket.read("a") == b"new" and bucket.names() == ["a"]
