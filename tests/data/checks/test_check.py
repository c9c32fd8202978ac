"""The parts of the check; and of faults that stop a training, all are told and not the first."""

import json

import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset, severity, split_place
from keras_retinanet.data.checks.duplicates import LEAKAGE
from keras_retinanet.data.crowded_images import told_of_crowded_images
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
    assert problems(report, "error") == ["annotations that cannot be read"]
    place = split_place(report.findings[0].where)
    assert place["file"] == str(coco.annotation_file)
    assert place["line"] == (2 if text == "{\n[" else None)
    assert report.exit_status == 2 and report.statistics == {}


def test_a_split_without_a_usable_image_is_an_error(folder):
    folder.add_image("a.jpg", content=b"")
    report = check(folder)
    assert problems(report, "error") == ["split that cannot be used"]
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
        "no split val: training measures nothing",
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


def test_boxes_of_damaged_images_are_looked_at_and_listed(folder, picture):
    whole = picture()
    # Cut in two ways: one is found by decoding alone, the other by the missing end.
    for i, content in enumerate([whole, whole[: len(whole) // 2], whole]):
        folder.add_image(f"{i}.jpg", content=content)
        for box in (GOOD, (70, 10, 90, 30)) if i == 1 else (GOOD,):
            folder.add_box(f"{i}.jpg", box)
    for decode in (False, True):
        report = check(folder, decode=decode)
        dropped = [f.problem for f in report.findings if f.action == "box dropped"]
        assert sorted(dropped) == ["box of an image that cannot be used", "box outside the image"]
        assert all(
            split_place(f.where)["place"] or split_place(f.where)["line"]
            for f in report.findings
            if f.action == "box dropped"
        )


def test_a_missing_val_is_a_note_with_the_command(many):
    report = check(many)
    (note,) = [f for f in report.findings if "no split val" in f.problem]
    assert severity(note) == "note" and report.exit_status == 0
    command = f"retinanet data split {many.root / 'data.yaml'} data-split --val 0.2"
    assert note.where.endswith(command)
    (entry,) = [e for e in report.as_json()["findings"] if "no split val" in e["problem"]]
    assert (entry["file"], entry["place"]) == ("data.yaml", f"to have one: {command}")
    stems = list(many.trees)
    write_splits(many, train=stems[:10], val=stems[10:])
    assert not any("no split val" in problem for problem in problems(check(many)))


def test_splits_have_one_order_and_paths_one_style(many, monkeypatch):
    stems = list(many.trees)
    write_splits(many, other=stems[18:], test=stems[14:18], val=stems[10:14], train=stems[:10])
    (many.image_folder / "12.jpg").write_bytes(b"")
    (many.image_folder / "3.jpg").write_bytes((many.image_folder / "15.jpg").read_bytes())
    many.write()
    monkeypatch.chdir(many.root.parent)
    reports = [
        check_dataset(path, splits).as_json()
        for path in (many.root / "data.yaml", many.root.relative_to(many.root.parent) / "data.yaml")
        for splits in ((), ("val", "other", "train", "test"))
    ]
    assert list(reports[0]["statistics"]) == ["train", "val", "test", "other"]
    assert reports[0]["folder"] == str(many.root)
    files = {(e["problem"], e["file"], e["place"]) for e in reports[0]["findings"]}
    assert ("empty image file", "JPEGImages/12.jpg", None) in files
    leak = "of test, the same as JPEGImages/3.jpg of train"
    assert (LEAKAGE, "JPEGImages/15.jpg", leak) in files
    assert not any(str(many.root) in str(entry) for entry in reports[0]["findings"])
    for report in reports[1:]:
        assert report["findings"] == reports[0]["findings"]
        assert list(report["statistics"]) == list(reports[0]["statistics"])


def test_more_objects_than_coco_counts_are_noted(coco):
    for name, count in (("a.jpg", 100), ("b.jpg", 150)):
        coco.add_image(name)
        for i in range(count):
            coco.add_box(name, (i % 50, i // 50, i % 50 + 9, i // 50 + 9))
        coco.add_box(name, (0, 0, 50, 40), ignored=True)
    report = check(coco)
    (note,) = [f for f in report.findings if "more than 100 objects" in f.problem]
    assert severity(note) == "note" and note.where.endswith("b.jpg: 150 objects")
    told = told_of_crowded_images(load_dataset(coco.root / "data.yaml", "train"))
    assert told.startswith("1 of 2 images have more than 100 objects (up to 150)")
    assert "at most 80% of the objects" in told


def test_all_faults_of_open_images_are_told(open_images):
    for name in ("a.jpg", "b.jpg"):
        open_images.add_image(name)
        open_images.add_box(name, (8, 4, 40, 30))
    open_images.rows.append(["a", "x", "/m/00", 1, 0.1, 0.2, 0.1, "?", 0, 0, 0, 0, 0])
    open_images.rows.append(["a", "x", "/m/77", 1, 0.1, 0.2, 0.1, 0.3, 0, 0, 0, 0, 0])
    open_images.rows.append(["", "x", "/m/00", 1, 0.1, 0.2, 0.1, 0.3, 0, 0, 0, 0, 0])
    open_images.rows.append(["a", "x", "/m/00", 1, 0.1, "nan", 0.1, 0.3, 0, 0, 0, 0, 0])
    report = check(open_images)
    found = [
        (f.problem, split_place(f.where)["line"]) for f in report.findings if severity(f) == "error"
    ]
    assert sorted(found, key=lambda entry: entry[1]) == [
        ("row that cannot be read", 4),
        ("object of an unknown class", 5),
        ("row that cannot be read", 6),
        ("box with NaN or infinite coordinates", 7),
    ]
    assert report.statistics["train"]["objects"] == 2
    with pytest.raises(DataError, match=r"boxes.csv:4 needs numbers"):
        load_dataset(open_images.root / "data.yaml", "train")
