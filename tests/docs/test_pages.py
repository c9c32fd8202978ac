"""The pages that lead by the hand: their commands and examples run in order, smaller."""

import json
import re
import shlex
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import split_names
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.training.runs.run_directory import CONFIG_FILE, RUN_FILE

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^([ \t]*)```(sh|python)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
# Verbs that need no model; they run in the default suite.
FAST = {"doctor", "configs", "config", "data", "anchors"}
# The same calls, smaller. A later setting or option takes the place of an earlier one.
SMALLER = {
    "train": "schedule.length=1 image.size=64 image.max_size=64 model.fpn_channels=8 "
    "model.head_channels=8 model.head_depth=1 model.weights=none",
    "find-batch": "image.size=64 image.max_size=64 model.fpn_channels=8 model.head_channels=8",
    "data demo": "--num-train 8 --num-val 4",
}
# Statuses that are no failure: warnings of doctor (no GPU) and of check.
FINE = {"doctor": {0, 1}, "data check": {0, 1}}


def steps(page):
    """The commands and Python examples of a page, in order."""
    found = []
    for match in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        text = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        if match[2] == "python":
            found.append(text)
        else:
            lines = text.replace("\\\n", " ").splitlines()
            assert all(line.startswith("retinanet ") for line in lines), lines
            found += [shlex.split(line)[1:] for line in lines]
    return found


def prepare(page, folder, make_tiny):
    """Put what a page takes for granted into a folder."""
    if page == "quickstart.md":
        return
    demo = write_demo_dataset(folder / "demo", num_train=8, num_val=4).parent
    (folder / "data.yaml").write_text(
        "format: coco\nsplits:\n"
        "  train: {images: demo/images/train, annotations: demo/annotations/train.json}\n"
        "  val: {images: demo/images/val, annotations: demo/annotations/val.json}\n"
    )
    assert split_names(folder / "data.yaml") == ["train", "val"]
    (folder / "DATA").symlink_to(demo)
    if page == "troubleshooting.md":
        (folder / "photos").symlink_to(demo / "images" / "val")
    if page in ("hard_data.md", "troubleshooting.md"):
        names = json.loads((demo / "annotations" / "train.json").read_text())["categories"]
        model = make_tiny(
            class_names=[each["name"] for each in names],
            channels=8,
            head_depth=1,
            prior=0.4,
            input_policy=InputPolicy("shorter_side", 64, 64),
        )
        (folder / "runs" / "first").mkdir(parents=True)
        model.save(folder / "runs" / "first" / "best.keras")
        for file in (RUN_FILE, CONFIG_FILE):  # what makes a folder a run
            (folder / "runs" / "first" / file).write_text("{}")


def labelimg(folder, call):
    """The photos of the page on own photos: XML files of LabelImg's kind beside the images."""
    source = folder / "demo" / "data.yaml"
    write_demo_dataset(source.parent, num_train=12, num_val=1)
    assert call("data", "convert", "--data", source, "--to", "voc", "--output", folder / "voc") == 0
    photos = folder / "photos"
    (folder / "voc" / "JPEGImages").rename(photos)
    for file in (folder / "voc" / "Annotations").iterdir():
        file.rename(photos / file.name)


def run(page, folder, call, *, only_fast):
    for step in steps(page):
        if isinstance(step, str):
            if only_fast and "best.keras" in step:
                continue
            exec(step, {})
            continue
        if only_fast and (step[0] not in FAST or "--fit" in step):
            continue
        verb = " ".join(step[:2]) if step[0] == "data" else step[0]
        smaller = SMALLER.get(verb, "").split()
        assert call(*step, *smaller) in FINE.get(verb, {0}), step


PAGES = ["quickstart.md", "hard_data.md", "troubleshooting.md", "ecosystem.md"]


@pytest.mark.parametrize("page", PAGES)
def test_what_needs_no_model(page, call, tmp_path, monkeypatch, make_tiny):
    prepare(page, tmp_path, make_tiny)
    monkeypatch.chdir(tmp_path)
    run(page, tmp_path, call, only_fast=True)
    if page == "quickstart.md":
        assert (tmp_path / "look" / "sample.html").is_file()
    if page == "ecosystem.md":
        assert (tmp_path / "records" / "label_map.pbtxt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["quickstart.md", "hard_data.md", "troubleshooting.md", "migrating.md"]
)
def test_every_step(page, call, tmp_path, monkeypatch, make_tiny, small_resnet18):
    prepare(page, tmp_path, make_tiny)
    monkeypatch.chdir(tmp_path)
    run(page, tmp_path, call, only_fast=False)


@pytest.mark.slow
def test_own_photos(call, tmp_path, monkeypatch, small_resnet18):
    labelimg(tmp_path, call)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # of timed steps
    run("your_own_photos.md", tmp_path, call, only_fast=False)
    first = tmp_path / "runs" / "first"
    assert (first / "report.html").is_file() and (first / "evaluation" / "report.html").is_file()
    assert len(json.loads((first / "pictures" / "predictions.json").read_text())["images"]) == 13
    assert (tmp_path / "serving" / "detector" / "1" / "saved_model.pb").is_file()
    assert sorted(split_names(tmp_path / "photos-split" / "data.yaml")) == ["train", "val"]


def test_own_photos_until_training(call, tmp_path, monkeypatch):
    labelimg(tmp_path, call)
    monkeypatch.chdir(tmp_path)
    run("your_own_photos.md", tmp_path, call, only_fast=True)
    assert (tmp_path / "look" / "sample.html").is_file()
