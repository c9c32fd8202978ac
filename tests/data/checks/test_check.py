"""The parts of the check; and of faults that stop a training, all are told and not the first."""

import json

import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset, severity, split_place
from keras_retinanet.data.checks.duplicates import LEAKAGE
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.images import scan as image_scan
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import DataError

GOOD = (4, 4, 44, 40)


def check(folder, **options):
    folder.write()
    return check_dataset(folder.root / "data.yaml", **options)


def problems(report, level=None):
    return [f.problem for f in report.findings if level in (None, severity(f))]


@pytest.fixture
def many(voc):
    """Twenty sound images of a cat each, in "train"; lines of their own for all tags."""
    for i in range(20):
        voc.add_image(f"{i}.jpg", size=(60 + i, 48))
        voc.add_box(f"{i}.jpg", GOOD)
    voc.settings = {"classes": ["cat"]}
    return voc


def spread_lines(folder, stem):
    """Give each tag of a written annotation a line."""
    path = folder.annotation_folder / f"{stem}.xml"
    path.write_text(path.read_text().replace("><", ">\n<"))


def test_all_stopping_faults_of_a_voc_folder_are_told_and_loading_stops_with_one_line(many):
    boxes = {"0": "NaN", "1": "inf", "2": "wide"}
    many.write()
    for stem, text in boxes.items():
        many.trees[stem].find("object/bndbox/xmin").text = text
    many.trees["3"].find("object/name").text = "cow"
    many.trees["4"].find("object/name").text = ""
    many.trees["5"].find("size/width").text = "wide"
    many.write()
    for stem in ("0", "3"):
        spread_lines(many, stem)
    (many.annotation_folder / "6.xml").write_text("<annotation>\n<object>\n</annotation>")
    (many.annotation_folder / "7.xml").unlink()
    image_set = many.root / "ImageSets" / "Main" / "train.txt"
    image_set.write_text(image_set.read_text() + "8\n")
    for stem in ("9", "10", "11"):
        (many.image_folder / f"{stem}.jpg").unlink()

    report = check_dataset(many.root / "data.yaml")
    errors = [f for f in report.findings if severity(f) == "error"]
    found = {
        (f.problem, place["file"].rpartition("/")[2], place["line"])
        for f in errors
        for place in [split_place(f.where)]
    }
    assert found == {
        ("box with NaN or infinite coordinates", "0.xml", 7),
        ("box with NaN or infinite coordinates", "1.xml", None),
        ("object without a box of four numbers", "2.xml", None),
        ("object of an unknown class", "3.xml", 7),
        ("object without a class", "4.xml", None),
        ("image size that is no number", "5.xml", None),
        ("annotation file that is not valid XML", "6.xml", 3),
        ("annotation file that cannot be read", "7.xml", None),
        ("image listed more than once in an image set", "train.txt", 21),
        ("many image files are missing: is the folder right?", f"{many.root.name} train", None),
    }
    assert len(errors) == len(found)
    assert problems(report).count("missing image file") == 3
    assert report.exit_status == 2
    # What is sound is counted: 20 less two without annotations and three without image.
    assert report.statistics["train"]["images"] == 15
    assert report.statistics["train"]["objects"] == 10
    with pytest.raises(DataError) as error:
        load_dataset(many.root / "data.yaml", "train")
    assert "\n" not in str(error.value)


def test_normalised_boxes_are_told(folder):
    folder.add_image()
    for box in ((0.1, 0.2, 0.5, 0.9), (0.0, 0.0, 1.0, 1.0)):
        folder.add_box("a.jpg", box)
    report = check(folder)
    assert problems(report, "error") == ["boxes look normalised where pixels are expected"]
    with pytest.raises(DataError, match="boxes look normalised"):
        folder.load()


def test_all_stopping_faults_of_a_coco_file_are_told_with_their_lines(coco):
    coco.add_image()
    for fields in (
        {},
        {"category_id": 3},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, float("nan"), 4]},
        {"image_id": 5},
        {"id": 1},
    ):
        coco.add_box("a.jpg", GOOD, **fields)
    coco.write()
    coco.annotation_file.write_text(
        '{"info": {"annotations": [{}]},\n"images": '
        + json.dumps(coco.content["images"])
        + ',\n"annotations": [\n'
        + ",\n".join(map(json.dumps, coco.content["annotations"]))
        + '\n],\n"categories": '
        + json.dumps(coco.content["categories"])
        + "}\n"
    )
    report = check_dataset(coco.root / "data.yaml")
    found = {
        (severity(f), f.problem): split_place(f.where)["line"]
        for f in report.findings
        if split_place(f.where)["file"] == str(coco.annotation_file)
    }
    assert found == {
        ("error", "object of an unknown class"): 5,
        ("error", "annotation without image_id, category_id or a bbox of four numbers"): 6,
        ("error", "box with NaN or infinite coordinates"): 7,
        ("warning", "annotation of an unknown image"): 8,
        ("note", "annotation id used twice"): 9,
        ("warning", "box annotated twice"): 9,
    }


@pytest.mark.parametrize("text", ["{\n[", "[]", '{"images": []}'])
def test_annotations_that_cannot_be_read_are_one_error(coco, text):
    coco.write()
    coco.annotation_file.write_text(text)
    report = check_dataset(coco.root / "data.yaml")
    assert problems(report) == ["annotations that cannot be read"]
    place = split_place(report.findings[0].where)
    assert place["file"] == str(coco.annotation_file)
    assert place["line"] == (2 if text == "{\n[" else None)
    assert report.exit_status == 2 and report.statistics == {}


def test_a_split_without_a_usable_image_is_an_error(folder):
    folder.add_image("a.jpg", content=b"")
    report = check(folder)
    assert problems(report) == ["split that cannot be used"]
    assert "empty image file" in report.findings[0].where
    assert report.exit_status == 2


def test_faults_stop_again_after_collecting(folder):
    folder.add_image()
    folder.add_box("a.jpg", (float("nan"), 1, 2, 3))
    folder.add_box("a.jpg", GOOD)
    with collect_faults() as faults:
        assert folder.load().num_boxes == 1
    assert len(faults.findings) == 1
    with pytest.raises(DataError, match="NaN"):
        folder.load()


def test_a_first_class_without_objects_is_a_class_without_objects(coco):
    coco.category_ids = {"things": 0, "cat": 1, "dog": 2}
    coco.content["categories"] = [{"id": i, "name": n} for n, i in coco.category_ids.items()]
    for i in range(20):
        coco.add_image(f"{i}.jpg", size=(50 + i, 48))
        for class_name, box in (("cat", GOOD), ("dog", (8, 8, 48, 48))):
            coco.add_box(f"{i}.jpg", box, class_name)
    report = check(coco)
    assert problems(report) == [
        "class without any object",
        "category ids begin at 0: mapped, and back in results",
    ]
    assert "'things'" in next(f.where for f in report.findings if "without any" in f.problem)


def test_one_file_under_two_names_of_a_coco_file_is_listed_twice(coco):
    coco.add_image()
    coco.declare_image("a.jpg", width=64, height=48)
    assert "image file listed twice in a split" in problems(check(coco))


def write_splits(folder, **splits):
    for name, stems in splits.items():
        folder.write_image_set(name, stems)
    folder.settings = {"splits": {name: name for name in splits}}
    folder.image_set = splits["train"]


def test_a_split_that_holds_all_of_train_is_no_leakage_but_one_within_it_is(many):
    stems = list(many.trees)
    write_splits(many, train=stems[:10], val=stems[10:12], trainval=stems[:12], test=stems[12:])
    assert LEAKAGE not in problems(check(many))
    write_splits(many, train=stems[:10], val=stems[8:12])
    report = check(many)
    assert [split_place(f.where)["file"][-6:] for f in report.findings if f.problem == LEAKAGE] == [
        "/8.jpg",
        "/9.jpg",
    ]
    assert "in no split" in " ".join(problems(report))


def test_only_the_chosen_splits_are_read(many):
    stems = list(many.trees)
    write_splits(many, train=stems, val=stems)
    (many.image_folder / "stray.jpg").write_bytes(b"")
    assert problems(check(many, splits=["train"])) == []
    assert LEAKAGE in problems(check(many))


def test_pictures_that_look_alike_are_told_when_decoding(many, rng, picture):
    pixels = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for name, quality in (("one.jpg", 95), ("two.jpg", 60)):
        many.add_image(name, size=(128, 96), content=picture(pixels=pixels, quality=quality))
        many.add_box(name, GOOD)
    stems = list(many.trees)
    write_splits(many, train=stems[:21], val=stems[21:])
    alike = "image looks like one of another split"
    assert alike not in problems(check(many))
    found = [f.where for f in check(many, decode=True).findings if f.problem == alike]
    assert len(found) == 1 and "two.jpg" in found[0] and "one.jpg" in found[0]


def test_large_images_are_noted(many, monkeypatch):
    monkeypatch.setattr(image_scan, "LARGE_IMAGE_PIXELS", 79 * 48 - 1)
    report = check(many)
    assert [f.where[-7:] for f in report.findings if "megapixels" in f.problem] == ["/19.jpg"]


def test_progress_counts_to_the_end_of_each_stage(many):
    seen = []
    check(many, progress=lambda *state: seen.append(state))
    for stage in ("train: headers", "train: contents"):
        counts = [(done, total) for name, done, total in seen if name == stage]
        assert counts == [(i, 20) for i in range(1, 21)]


@pytest.mark.parametrize(
    ("action", "problem", "expected"),
    [
        ("stops training", "x", "error"),
        ("box dropped", "x", "warning"),
        ("noted", "x", "note"),
        ("noted", "annotated image size differs from the image's (which is trusted)", "warning"),
    ],
)
def test_severities(action, problem, expected):
    assert severity(Finding(problem, "where", action)) == expected


def test_places(tmp_path):
    file = tmp_path / "a: b:3.xml"
    file.touch()
    assert split_place(f"{file}:12: object 3") == {
        "file": str(file),
        "line": 12,
        "place": "object 3",
    }
    assert split_place(str(file)) == {"file": str(file), "line": None, "place": None}
    assert split_place("gone.xml:7: object 1") == {
        "file": "gone.xml",
        "line": 7,
        "place": "object 1",
    }
    assert split_place("data set: 3") == {"file": "data set", "line": None, "place": "3"}


def test_statistics(coco):
    coco.add_image("a.jpg", size=(400, 300))
    coco.add_image("b.jpg", size=(200, 100))
    coco.add_image("empty.jpg", size=(20, 30))
    boxes = [(0, 0, 10, 30), (0, 0, 80, 40), (0, 0, 200, 200), (5, 5, 105, 15)]
    for box, class_name in zip(boxes, ("cat", "cat", "dog", "cat")):
        coco.add_box("b.jpg" if box[0] else "a.jpg", box, class_name)
    coco.add_box("a.jpg", (0, 0, 100, 100), "dog", ignored=True)
    found = check(coco).statistics["train"]
    assert (found["images"], found["objects"], found["ignored_regions"]) == (3, 4, 1)
    assert found["images_without_objects"] == 1
    assert found["classes"] == {
        "cat": {"objects": 3, "images": 2},
        "dog": {"objects": 1, "images": 1},
    }
    assert found["sizes"] == {"small": 2, "medium": 1, "large": 1}
    per_image = {name: n for name, n in found["objects_per_image"].items() if n}
    assert per_image == {"0": 1, "1": 1, "3-5": 1}
    aspects = {name: n for name, n in found["aspect_ratios"].items() if n}
    assert aspects == {"1:4 to 1:2": 1, "about 1:1": 1, "2:1 to 4:1": 1, "above 4:1": 1}
    assert found["image_widths"] == {"p0": 20, "p5": 38, "p50": 200, "p95": 380, "p100": 400}
