import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset, severity
from keras_retinanet.data.dataset import ANY_CLASS
from keras_retinanet.errors import DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def annotated(kitti):
    """One image with one box."""
    kitti.add_image("a.png")
    kitti.add_box("a.png", BOX)
    return kitti


def test_corners_are_pixels_from_0_with_fractions(annotated):
    annotated.add_box("a.png", (0.25, 1.5, 63.75, 47.5))
    np.testing.assert_array_equal(annotated.load().boxes, [BOX, (0.25, 1.5, 63.75, 47.5)])


def test_regions_not_cared_for_are_ignored_whatever_the_class(annotated):
    annotated.add_box("a.png", (1, 2, 30, 40), ignored=True)
    annotated.add_box("a.png", BOX, "dog")
    dataset = annotated.load()
    assert dataset.is_ignored.tolist() == [False, True, False]
    assert dataset.labels.tolist() == [0, ANY_CLASS, 1]
    assert dataset.num_objects.tolist() == [2]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (1, 2)


def test_other_types_can_be_ignored(annotated):
    annotated.add_box("a.png", BOX, "dog")
    annotated.settings = {"ignored": ["DontCare", "dog"]}
    dataset = annotated.load()
    assert dataset.class_names == ("cat",)
    assert dataset.labels.tolist() == [0, ANY_CLASS]


def test_classes_are_those_of_all_labels_without_a_list(annotated):
    annotated.add_image("of_another_split.png")
    annotated.add_box("of_another_split.png", BOX, "ant")
    annotated.add_box("of_another_split.png", BOX, ignored=True)
    annotated.image_list = ["a"]
    annotated.settings = {}
    dataset = annotated.load()
    assert dataset.class_names == ("ant", "cat")
    assert dataset.labels.tolist() == [1]
    assert dataset.image_ids == ["a"]


def test_the_images_are_those_of_the_folder_without_a_list(annotated):
    annotated.add_image("b.png")
    annotated.image_list = None
    dataset = annotated.load()
    assert dataset.image_ids == ["a", "b"]
    assert dataset.row_splits.tolist() == [0, 1, 1]


def test_labels_without_an_image_are_reported(annotated):
    annotated.image_list = None
    annotated.labels["lost"] = annotated.labels["a"]
    dataset = annotated.load()
    assert dataset.image_ids == ["a"]
    assert annotated.findings == {("labels of an unknown image", "box dropped"): 1}
    assert dataset.findings[0].where.endswith("label_2/lost.txt")


def test_an_image_without_labels_stops(annotated):
    annotated.add_image("b.png")
    del annotated.labels["b"]
    with pytest.raises(
        DataError, match=r"has no b\.txt \(named by .*train\.txt\): an image without"
    ):
        annotated.load()


def test_swapped_corners_are_mended_and_reported(annotated):
    annotated.add_box("a.png", (40, 4, 8, 30))
    dataset = annotated.load()
    np.testing.assert_array_equal(dataset.boxes, [BOX, BOX])
    assert annotated.findings == {("corners of a box are swapped", "box mended"): 1}
    assert dataset.findings[0].where.endswith("label_2/a.txt:2")


def test_results_with_scores_are_read_too(annotated):
    annotated.labels["a"] = [f"{row} 0.97" for row in annotated.labels["a"]]
    assert annotated.load().num_boxes == 1


REST = "1.89 0.48 1.20 1.84 1.47 8.41 0.01"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"cow 0 0 0 8 4 40 30 {REST}", "has the unknown type 'cow'; known: ['cat', 'dog', 'Dont"),
        ("cat 0 0 0 8 4 40 30", "has 8 values where KITTI has 15"),
        (f"cat 0 0 0 8 4 40 30 {REST} 1 1", "has 17 values"),
        (f"cat 0 0 0 8 4 x 30 {REST}", "needs numbers x1, y1, x2, y2: could not convert"),
        (f"cat 0 0 0 8 4 40 inf {REST}", "holds NaN or infinity"),
        ("0 0.5 0.5 0.2 0.2", "has 5 values where KITTI has 15"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_a_malformed_row_stops_with_file_and_line(annotated, row, message):
    annotated.write()
    path = annotated.label_folder / "a.txt"
    path.write_bytes(path.read_bytes() + b"\n" + row.encode(errors="surrogateescape") + b"\n")
    annotated.write = lambda: None
    with pytest.raises(DataError) as error:
        annotated.load()
    assert f"{path}:3" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_listed_twice_stops(annotated):
    annotated.image_list = ["a", "", "a"]
    with pytest.raises(DataError, match=r"train.txt:3: 'a' is listed already in line 1"):
        annotated.load()


def test_a_missing_folder_is_named(annotated):
    annotated.write()
    annotated.label_folder.rename(annotated.root / "labels")
    annotated.write = lambda: None
    with pytest.raises(DataError, match=r"cannot read the folder .*label_2: No such file"):
        annotated.load()


def test_all_faults_of_a_split_are_told_at_once(annotated):
    annotated.add_image("b.png")
    annotated.add_image("c.png")
    row = annotated.labels["a"][0]
    annotated.labels["a"] += ["cat 1 2", row.replace("cat", "cow"), row.replace("40", "x")]
    annotated.labels["c"] = [row]
    del annotated.labels["b"]
    annotated.write()
    report = check_dataset(annotated.root / "data.yaml")
    errors = [f.where for f in report.findings if severity(f) == "error"]
    assert len(errors) == 4
    for place in ("a.txt:2 ", "a.txt:3:", "a.txt:4 ", "b.txt "):
        assert sum(place in where for where in errors) == 1
    assert report.statistics["train"]["objects"] == 2


def test_folders_may_have_other_names(annotated):
    annotated.write()
    (annotated.root / "training" / "label_2").rename(annotated.root / "training" / "boxes")
    split = {"folder": "training", "annotations": "boxes", "images": "image_2"}
    annotated.write_yaml({"format": "kitti", "root": ".", "splits": {"train": split}})
    annotated.write = lambda: None
    assert annotated.load().num_boxes == 1
