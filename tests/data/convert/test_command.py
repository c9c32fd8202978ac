"""`retinanet data convert`."""

import json
import shutil

import pytest

from keras_retinanet.data.source import load_dataset


@pytest.fixture
def call(call, capsys):
    """A function that runs the command line in this process: status, standard output, error."""
    return lambda *arguments: (call(*arguments), *capsys.readouterr())


@pytest.fixture
def data(coco):
    for name in ("a.jpg", "b.jpg"):
        coco.add_image(name)
        coco.add_box(name, (8, 4, 40, 30), ignored=name == "b.jpg")
    coco.write()
    return coco.root / "data.yaml"


def test_a_line_of_counts_and_the_findings(call, data, tmp_path):
    out = tmp_path / "out [red]"
    arguments = ("data", "convert", "--data", data, "--to", "yolo", "--output", out)
    status, stdout, stderr = call(*arguments)
    assert status == 0
    assert stdout.splitlines() == [
        f"yolo: 2 images, 1 box of 2 classes: {out / 'data.yaml'}",
        f"1 finding: {out / 'data_findings.json'}",
    ]
    assert "1 x a crowd or difficult object, which YOLO cannot hold: box dropped" in stderr
    assert len(load_dataset(out / "data.yaml", "train")) == 2
    status, stdout, _ = call(*arguments)
    assert status == 0
    assert "2 images (2 were there before)" in stdout


def test_options(call, data, tmp_path):
    for number, (to, *options) in enumerate(
        [("tfrecord", "--shards", 2), ("coco", "--link"), ("voc", "--splits", "train", "--copy")]
    ):
        out = tmp_path / str(number)
        arguments = ("--data", data, "--to", to, "--output", out, *options)
        assert call("data", "convert", *arguments, "--no-check-images")[0] == 0
    assert len(list(tmp_path.glob("0/train-*-of-00002.tfrecord"))) == 2
    assert (tmp_path / "1" / "images" / "train" / "a.jpg").is_symlink()
    assert not (tmp_path / "2" / "JPEGImages" / "a.jpg").is_symlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "cocoo"), "did you mean 'coco'"),
        (("--to", "voc", "--splits", "train,vall"), "has no split 'vall'"),
        (("--to", "voc", "--shards", "2"), "only tfrecord has shards"),
        (("--to", "voc", "--output", "."), "exists and is not empty: name a new folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(call, data, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    arguments = ("--data", data, "--output", tmp_path / "out", *options)
    status, stdout, stderr = call("data", "convert", *arguments)
    assert (status, stdout) == (2, "")
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("target", ["coco", "voc", "yolo", "tfrecord"])
def test_what_is_written_can_be_named_by_its_folder(call, data, tmp_path, target):
    out = tmp_path / "out"
    assert call("data", "convert", "--data", data, "--to", target, "--output", out)[0] == 0
    by_folder, by_yaml = (load_dataset(path, "train") for path in (out, out / "data.yaml"))
    assert by_folder.image_paths == by_yaml.image_paths and len(by_folder) == 2


def test_images_in_records_are_compared_by_content(call, tmp_path, coco):
    coco.add_image("a.jpg")
    coco.add_box("a.jpg", (8, 4, 40, 30))
    coco.write()
    out = tmp_path / "out"
    call("data", "convert", "--data", coco.root / "data.yaml", "--to", "tfrecord", "--output", out)
    record = next(out.rglob("*.tfrecord"))
    (tmp_path / "both").mkdir()
    for split in ("train", "val"):
        shutil.copy(record, tmp_path / "both" / f"{split}.tfrecord")
    status, stdout, _ = call("data", "check", "--data", tmp_path / "both", "--json")
    problems = {finding["problem"] for finding in json.loads(stdout)["findings"]}
    assert status == 1 and any("two splits" in problem for problem in problems), problems
