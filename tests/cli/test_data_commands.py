"""The verbs that look at a data set: data check, data show, anchors."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.cli.console import describe
from keras_retinanet.config.load import load_config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.demo.demo import write_demo_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=24, num_val=8)


@pytest.fixture
def broken(data, tmp_path):
    """The demo with a box that is turned inside out, and one that is no number."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "images").symlink_to(data.parent / "images")
    for path in data.parent.rglob("*.json"):
        target = folder / path.relative_to(data.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    (folder / data.name).write_text(data.read_text())

    def spoil(**boxes):
        path = next(p for p in folder.rglob("*.json") if "train" in p.name)
        content = json.loads(path.read_text())
        for place, box in boxes.items():
            content["annotations"][int(place[1:])]["bbox"] = box
        path.write_text(json.dumps(content))
        return folder / data.name

    return spoil


def test_check_prints_tables_and_writes_json_and_plots(call, data, tmp_path, capfd):
    assert call("data", "check", "--data", data, "--decode", "--output", tmp_path) == 0
    printed = capfd.readouterr().out
    assert "32 images read: 0 errors, 0 warnings" in printed
    assert "objects by size" in printed
    report = json.loads((tmp_path / "check.json").read_text())
    assert report["exit_status"] == 0 and report["images"] == 32
    for name in ("classes.png", "objects.png"):
        with Image.open(tmp_path / name) as plot:
            assert plot.width > 500 and len(plot.convert("RGB").getcolors(1 << 20)) > 20


def test_check_tells_severity_by_its_exit_status(call, broken, capfd):
    path = broken(_3=[5, 5, -1, 4])
    assert call("data", "check", "--data", path) == 1
    printed = capfd.readouterr().out
    assert "box of zero or negative size" in printed and "1 warning" in printed
    path = broken(_2=[float("nan"), 5, 1, 4])
    assert call("data", "check", "--data", path, "--split", "train", "--json") == 2
    report = json.loads(capfd.readouterr().out)
    assert report["counts"]["error"] == 1 and list(report["statistics"]) == ["train"]
    error = report["findings"][0]
    assert (error["severity"], error["problem"]) == (
        "error",
        "box with NaN or infinite coordinates",
    )
    assert error["place"] == "annotations[2]" and error["file"].endswith(".json")


def test_show_writes_page_and_sheet(call, data, tmp_path, capfd):
    config = ("--anchors", "quickstart")
    for name, options in {
        "annotated": (),
        "anchors": config,
        "augmented": ("--augment", "quickstart", *config),
    }.items():
        output = tmp_path / name
        arguments = ("--data", data, "--count", 3, "--split", "train", "--output", output)
        assert call("data", "show", *arguments, *options) == 0
        assert "3 images: " in capfd.readouterr().out
        page = (output / "sample.html").read_text()
        assert page.count("<figure") == 3
        assert ('class="anchor' in page) == (name != "annotated")
        assert ("network&#x27;s input" in page) == (name == "augmented")
        with Image.open(output / "sample.png") as sheet:
            assert sheet.width > 900


def test_show_needs_one_config(call, data, tmp_path, capfd):
    arguments = ("--data", data, "--output", tmp_path, "--anchors", "a", "--augment", "b")
    assert call("data", "show", *arguments) == 2
    assert "same config" in capfd.readouterr().err


def test_show_has_no_anchors_that_a_network_chooses(call, data, tmp_path, capfd):
    config = tmp_path / "aligned.yaml"
    config.write_text("anchors: {matching: task_aligned}\n")
    output = tmp_path / "shown"
    assert call("data", "show", "--data", data, "--output", output, "--anchors", config) == 2
    assert "by what a network predicts" in capfd.readouterr().err and not output.exists()


def test_anchors_prints_recall_and_a_config_that_has_the_fit(call, data, tmp_path, capfd):
    arguments = ("anchors", "quickstart", "--data", data, "anchors.sizes=[64,96,128,256,512]")
    assert call(*arguments, "image.size=96") == 0
    assert "anchor recall 0." in capfd.readouterr().out
    assert call(*arguments, "image.size=96", "--fit", "--output", tmp_path) == 0
    assert "anchors:\n" in capfd.readouterr().out
    report = json.loads((tmp_path / "anchor_recall.json").read_text())
    for split in ("train", "val"):
        assert report["fit"][split]["fitted"] > report["fit"][split]["configured"]
    assert len(report["unmatched_objects"]) == report["unmatched"] > 0
    fitted = load_config(tmp_path / "anchors.yaml")
    assert fitted.image.size == 96
    assert list(fitted.anchors.sizes) == report["fit"]["anchors"]["sizes"]
    before = load_config("quickstart")
    assert fitted.schedule == before.schedule
    assert call("anchors", tmp_path / "anchors.yaml", "--data", data) == 0
    shown = f"anchor recall {report['fit']['train']['fitted']:.4f}"
    assert shown in capfd.readouterr().out


def test_more_objects_than_coco_counts_are_said_where_a_split_is_described(capfd):
    count = 160
    dataset = DetectionDataset(
        image_paths=["a.jpg"],
        image_ids=[1],
        heights=np.array([50], np.int32),
        widths=np.array([50], np.int32),
        row_splits=np.array([0, count]),
        boxes=np.tile(np.array([[1, 1, 9, 9]], np.float32), (count, 1)),
        labels=np.zeros(count, np.int32),
        is_ignored=np.zeros(count, bool),
        areas=np.full(count, 64, np.float32),
        class_names=("cat",),
        category_ids=(1,),
    )
    describe("val", dataset)
    told = capfd.readouterr()
    assert told.out == "val: 1 image, 160 objects of 1 class\n"
    assert "1 of 1 images have more than 100 objects (up to 160)" in told.err
    assert "at most 62% of the objects" in told.err and "evaluate --max-detections" in told.err
    describe("val", dataset, max_detections=150)
    assert "this AP counts 150 detections an image" in capfd.readouterr().err
    describe("val", dataset, max_detections=300)
    assert capfd.readouterr().err == ""


def test_shares_of_a_check_merge_to_its_report(call, data, tmp_path, capfd):
    whole, parts, merged = (tmp_path / name for name in ("whole", "parts", "merged"))
    config = ("--config", "quickstart")
    status = call("data", "check", "--data", data, "--output", whole, *config)
    for i in range(2):
        capfd.readouterr()
        assert call("data", "check", "--data", data, "--output", parts, "--shard", f"{i}/2") == 0
        assert f"part {i}/2: " in capfd.readouterr().out
    assert call("merge", parts, "--data", data, "--output", merged, *config) == status
    assert (merged / "check.json").read_bytes() == (whole / "check.json").read_bytes()
    capfd.readouterr()
    call("data", "check", "--data", data, "--output", parts, "--shard", "1/2")
    assert "nothing was left to do" in capfd.readouterr().out
    assert call("merge", parts) == 2
    assert "need --data" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "--shard needs --output"),
        (("--output", "parts", "--config", "quickstart"), "give --config to merge"),
    ],
)
def test_a_share_of_a_check_needs_a_folder_and_no_config(call, data, options, told, capfd):
    assert call("data", "check", "--data", data, "--shard", "0/2", *options) == 2
    assert told in capfd.readouterr().err
