"""Verbs on addresses: the same files and lines as with folders, and nothing half done."""

import json

import pytest

from keras_retinanet.system.buckets import remote_files
from keras_retinanet.system.buckets.bucket_address import OUTPUTS, top_folder


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture
def shop(bucket, call):
    """A bucket with a data set."""
    assert call("data", "demo", bucket / "set", "--num-train", 4, "--num-val", 2) == 0
    return bucket


@pytest.fixture
def model(shop, make_tiny, tmp_path):
    file = tmp_path / "model.keras"
    make_tiny(class_names=("coin", "screw", "gear", "leaf", "donut")).save(file)
    shop.put("models/model.keras", file.read_bytes())
    return shop / "models/model.keras"


@pytest.fixture
def lines(capfd):
    """A function: what was printed since, on both streams."""

    def read():
        printed = capfd.readouterr()
        return [line for line in (printed.out + printed.err).splitlines() if line.strip()]

    return read


def left_on_disk():
    folder = top_folder() / OUTPUTS
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_demo_and_check(bucket, call, lines):
    shop = bucket
    assert call("data", "demo", shop / "set", "--num-train", 4, "--num-val", 2) == 0
    assert lines()[-1].endswith(f"2 validation images: {shop / 'set/data.yaml'}")
    assert "set/data.yaml" in shop.names() and "set/images/val/val_00000.jpg" in shop.names()
    assert call("data", "check", "--data", shop / "set", "--output", shop / "checked") == 1
    printed = "\n".join(lines())
    assert shop / "checked/check.json" in printed and str(top_folder()) not in printed
    result = json.loads(shop.read("checked/check.json"))
    assert result["folder"] == shop / "set" and result["images"] == 6
    assert not left_on_disk()


def test_convert_and_split(shop, call, lines):
    assert (
        call("data", "convert", "--data", shop / "set", "--to", "voc", "--output", shop / "v") == 0
    )
    assert lines()[-1].endswith(f": {shop / 'v/data.yaml'}")
    assert call("data", "split", shop / "v", shop / "parts", "--split", "train", "--val", 0.5) == 2
    lines()
    assert call("data", "split", shop / "set", shop / "p", "--val", 0, "--test", 0.5) == 0
    assert f"images: {shop / 'v'}" not in shop.read("p/data.yaml").decode()
    assert shop / "set/images" in shop.read("p/data.yaml").decode()
    assert call("data", "check", "--data", shop / "p") in (0, 1)


def test_predict_and_merge(shop, model, call, lines):
    val, options = shop / "set/images/val", ["--min-score", 0, "--batch-size", 1]
    assert call("predict", model, val, *options, "--output", shop / "found") == 0
    found = json.loads(shop.read("found/predictions.json"))
    assert [image["file"] for image in found["images"]] == [
        f"{val}/val_00000.jpg",
        f"{val}/val_00001.jpg",
    ]
    assert "found/images/val_00000.jpg.jpg" in shop.names()
    assert call("predict", model, val, *options, "--output", shop / "found") == 2
    assert f"error: {shop / 'found'} holds predictions of an earlier call" in lines()[-1]
    for shard in ("0/2", "1/2"):
        parts = ["--output", shop / "parts", "--shard", shard]
        assert call("predict", model, f"{val}/*.jpg", *options, *parts) == 0
    assert {"parts/part-0-of-2.jsonl", "parts/part-1-of-2.jsonl"} <= set(shop.names())
    assert call("merge", shop / "parts", "--output", shop / "parts") == 0
    assert shop.read("parts/predictions.json") == shop.read("found/predictions.json")


def test_evaluate_export_and_compare(shop, model, call, lines):
    for name in ("one", "two"):
        evaluation = ["--data", shop / "set", "--output", shop / name, "--json"]
        assert call("evaluate", model, *evaluation) == 0
    record = json.loads(shop.read("one/evaluation.json"))
    assert (record["model"], record["data"]) == (model, shop / "set")
    assert call("compare", shop / "one", shop / "two", "--output", shop / "c", "--json") == 0
    assert "c/compare.html" in shop.names()
    lines()
    for version in ("1", "2"):
        assert call("export", model, "--format", "keras", "--output", shop / "serving") == 0
        told = f"{shop / 'serving'}/{version}: same as the model"
        assert any(line.startswith(told) for line in lines())
        manifest = json.loads(shop.read(f"serving/{version}/manifest.json"))
        assert manifest["source"]["model_file"] == model
    assert call("evaluate", shop / "serving/2", "--data", shop / "set") == 0
    assert call("evaluate", shop / "serving", "--data", shop / "set") == 2
    assert lines()[-1] == (
        f"error: {shop / 'serving'} holds versions: name one, for example {shop / 'serving/2'}"
    )


def test_configs_may_lie_in_buckets(shop, call, lines):
    shop.put("settings/base.yaml", b"schedule: {length: 7}")
    shop.put("settings/mine.yaml", b"base: base.yaml\nimage: {size: 64}")
    assert call("config", shop / "settings/mine.yaml", "--json") == 0
    settings = json.loads("\n".join(lines()))
    assert settings["schedule"]["length"] == 7 and settings["image"]["size"] == 64


def test_what_is_not_there_is_one_line(shop, call, lines):
    lines()
    for arguments in (
        ["evaluate", shop / "none.keras", "--data", shop / "set"],
        ["predict", shop / "none.keras", shop / "set/images", "--output", shop / "x"],
        ["data", "check", "--data", shop / "none"],
        ["train", "--resume", shop / "none"],
        ["merge", shop / "none", "--output", shop / "x"],
    ):
        assert call(*arguments) == 2
        (line,) = lines()
        assert line.startswith("error: ") and "memory://bucket/none" in line
    assert not [name for name in shop.names() if not name.startswith("set/")]
    assert not left_on_disk()


def test_a_file_is_no_output(shop, call, lines):
    shop.put("file", b"mine")
    lines()
    for place in ("file", "file/below"):
        assert call("reproduce", "figure-1", "--output", shop / place) == 2
        assert lines() == [
            f"error: --output {shop / place}: {shop / 'file'} is a file: name a folder"
        ]
    assert shop.read("file") == b"mine"


def test_what_cannot_be_sent_is_kept_and_no_result_is_told(shop, call, lines, monkeypatch):
    def fail(source, address):
        raise remote_files.BucketError(f"{address} cannot be written: no network")

    monkeypatch.setattr(remote_files, "upload", fail)
    lines()
    assert call("data", "check", "--data", shop / "set", "--output", shop / "c", "--json") == 2
    (line,) = lines()
    assert line.startswith("error: memory://bucket/c/") and "nothing is lost, all of it is" in line
    (kept,) = left_on_disk()
    assert line.endswith(f"/{kept}") and list((top_folder() / OUTPUTS / kept).rglob("check.json"))


def test_a_verb_that_fails_sends_nothing(shop, model, call):
    before = shop.names()
    arguments = ["--class", "none", "--output", shop / "found"]
    assert call("predict", model, shop / "set/images/val", *arguments) == 2
    assert shop.names() == before and not left_on_disk()


def test_addresses_that_cannot_be(shop, call, lines, tmp_path):
    lines()
    weights = tmp_path / "x.pth"
    weights.touch()
    assert call("weights", "import", weights, "--output", shop / "x.keras") == 2
    assert lines() == [
        f"error: --output {shop / 'x.keras'}: name a local file, and copy it into the bucket"
    ]
    (tmp_path / "local").mkdir(exist_ok=True)
    assert call("data", "demo", tmp_path / "here", "--num-train", 4, "--num-val", 2) == 0
    lines()
    assert call("data", "split", tmp_path / "here", shop / "split", "--test", 0.5, "--val", 0) == 2
    assert "the images stay in " in lines()[-1] and not shop.names("split")
