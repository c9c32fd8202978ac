"""`retinanet data convert`."""

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
        f"yolo: 2 images, 1 boxes of 2 classes: {out / 'data.yaml'}",
        f"1 findings: {out / 'data_findings.json'}",
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
