"""Addresses and local paths stand for each other, and nothing else is taken for an address."""

from pathlib import Path

import pytest

from keras_retinanet.errors import BucketError
from keras_retinanet.system.buckets.bucket_address import (
    FOLDER_VARIABLE,
    address_of,
    is_address,
    parent_of,
    path_of,
    place_in,
    told,
)

ADDRESSES = [
    "s3://bucket/runs/1",
    "gs://bucket",
    "hdfs://host:8020/data/train",
    "memory://b/a file",
    "file:///data/set",
    "abfs://box@account.dfs.core.windows.net/x",
]


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_and_its_path_tell_each_other(address, tmp_path):
    path = path_of(address)
    assert path.is_relative_to(tmp_path)
    assert address_of(address) == address
    assert address_of(path) == address
    assert told(f"error: {path}/x.jpg is {path}") == f"error: {address}/x.jpg is {address}"


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_pathlib_makes_of_an_address_is_understood(address):
    assert address_of(Path(address)) == address
    assert address_of(f"{address}/") == address


@pytest.mark.parametrize(
    "name",
    [
        *("/data/set", "data", ".", "C:/data", r"C:\data", "http://host/a.jpg", "tfds:coco"),
        *("https://host/a.jpg", "rtsp://camera/1", "camera:0", "train:2", "-", "model.fpn=8"),
    ],
)
def test_other_names_are_no_addresses(name):
    assert not is_address(name)
    assert address_of(name) is None
    assert told(name) == name


@pytest.mark.parametrize("name", ["s3://", "s3:///", "s3://../x", "s3://."])
def test_an_address_needs_a_bucket(name):
    with pytest.raises(BucketError, match=r"names no bucket: expected SCHEME://BUCKET/NAME"):
        address_of(name)


def test_paths_with_dots_mean_what_they_lead_to(tmp_path):
    assert address_of(path_of("s3://bucket/a") / ".." / "images") == "s3://bucket/images"
    assert address_of("s3://bucket/a/../images") == "s3://bucket/images"
    assert address_of(tmp_path / "inputs") is None  # of no bucket


def test_what_a_process_writes_has_an_address_too():
    assert address_of(path_of("s3://bucket/run", "outputs/17-ab")) == "s3://bucket/run"


def test_the_folder_around():
    assert parent_of("s3://bucket/a/b") == "s3://bucket/a"
    assert parent_of("s3://bucket") is None
    assert parent_of("file:///data/set") == "file:///data"


def test_a_text_names_an_address_or_what_is_in_a_folder():
    assert place_in(Path("set"), "images") == Path("set/images")
    assert place_in(Path("set"), "s3://bucket/images") == path_of("s3://bucket/images")
