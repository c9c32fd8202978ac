from collections import Counter

import numpy as np
import pytest
import yaml

from keras_retinanet.data.checks.check import check_dataset, severity
from keras_retinanet.data.formats.yolo_files.yolo_labels import LabelFinder
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError

NAMES = ["cat", "dog"]


class YoloFolder:
    """A YOLO data set as a user has it, of images 64 wide and 48 high."""

    def __init__(self, root, picture):
        self.root = root
        self.picture = picture()
        self.ultralytics = {"path": ".", "train": "images/train", "names": NAMES}
        self.settings = {"format": "yolo", "data_yaml": "ultralytics.yaml"}

    def add(self, name="train/a.jpg", label=""):
        image = self.root / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(self.picture)
        if label is not None:
            file = (self.root / "labels" / name).with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(label if isinstance(label, bytes) else label.encode())
        return image

    def load(self, split="train"):
        for name, values in (("ultralytics", self.ultralytics), ("data", self.settings)):
            text = yaml.safe_dump(values, sort_keys=False)
            (self.root / f"{name}.yaml").write_text(text, encoding="utf-8")
        dataset = load_dataset(self.root / "data.yaml", split)
        self.findings = Counter((f.problem, f.action) for f in dataset.findings)
        return dataset


@pytest.fixture
def yolo(tmp_path, picture):
    return YoloFolder(tmp_path, picture)


def test_boxes_are_shares_of_the_image(yolo):
    yolo.add(label="1 0.5 0.25 0.25 0.5\n\n0 0.25 0.5 0.125 0.25\r\n")
    dataset = yolo.load()
    np.testing.assert_array_equal(dataset.boxes, [(24, 0, 40, 24), (12, 18, 20, 30)])
    np.testing.assert_array_equal(dataset.areas, [16 * 24, 8 * 12])
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (0, 1)
    assert dataset.image_ids == ["a"]
    assert not yolo.findings


def test_boxes_are_shares_of_the_upright_image(yolo, picture, exif):
    yolo.picture = picture(64, 48, exif=exif(6))
    yolo.add(label="0 0.5 0.25 0.25 0.5")
    dataset = yolo.load()
    assert (dataset.widths[0], dataset.heights[0]) == (48, 64)
    np.testing.assert_array_equal(dataset.boxes, [(18, 0, 30, 32)])


def test_a_polygon_counts_as_the_box_around_it(yolo):
    yolo.add(label="0 0.5 0.25 0.25 0.5 0.75 0.75\n1 0.5 0.5 0.5 0.5\n")
    np.testing.assert_array_equal(yolo.load().boxes, [(16, 12, 48, 36), (16, 12, 48, 36)])


def test_images_without_a_label_file_or_rows_are_background(yolo):
    yolo.add("train/a.jpg", None)
    for name in "bcdef":
        yolo.add(f"train/{name}.jpg", "")
    yolo.add("train/sub/c.jpg", "0 .5 .5 .5 .5")
    dataset = yolo.load()
    assert dataset.row_splits.tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    ((problem, action),) = yolo.findings
    assert (problem, action) == ("images without a label file, which count as background", "noted")
    assert "1 of 7 have none" in dataset.findings[0].where
    assert "5 have one without objects" in dataset.findings[0].where


def test_many_images_without_a_label_file_are_a_warning(yolo):
    yolo.add("train/a.jpg", None)
    yolo.add("train/b.jpg", "0 .5 .5 .5 .5")
    dataset = yolo.load()
    assert dataset.row_splits.tolist() == [0, 0, 1]
    assert [severity(f) for f in dataset.findings] == ["warning"]
    assert "1 of 2 have none" in dataset.findings[0].where


def test_a_split_without_any_label_file_stops_with_the_paths_tried(yolo):
    image = yolo.add("train/a.jpg", None)
    with pytest.raises(DataError, match="none of 1 images has a label file") as error:
        yolo.load()
    for path in (yolo.root / "labels" / "train" / "a.txt", image.with_suffix(".txt")):
        assert str(path) in str(error.value)


def test_a_bad_image_takes_its_boxes_with_it(yolo):
    yolo.add("train/a.jpg", "0 .5 .5 .5 .5")
    yolo.add("train/b.jpg", "1 .5 .5 .5 .5").write_bytes(b"text")
    dataset = yolo.load()
    assert dataset.labels.tolist() == [0]
    assert yolo.findings[("box of an image that cannot be used", "box dropped")] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 0.5 0.5 0.5", "expected class cx cy w h, .* not 4 columns"),
        ("0 0.5 0.5 0.5 0.5 0.9", "not 6 columns"),
        ("0 .5 .5 .5 .5 .5 .5 .5", "not 8 columns"),
        ("cat .5 .5 .5 .5", "expected numbers"),
        ("0.5 .5 .5 .5 .5", "class '0.5' is not a whole number"),
        ("nan .5 .5 .5 .5", "class 'nan' is not a whole number"),
        ("2 .5 .5 .5 .5", r"the class 2 has no name in .*ultralytics\.yaml.* 0: cat, 1: dog"),
        ("-1 .5 .5 .5 .5", "the class -1 has no name"),
        ("0 .5 .5 inf .5", "holds NaN or infinity"),
        ("0 .5 .5 .5 .5 nan .5", "holds NaN or infinity"),
        ("0 32 24 16 12", r"above 1\.5 .* where shares of the image's width and height"),
    ],
)
def test_a_malformed_row_stops_with_file_and_line(yolo, row, message):
    yolo.add(label=f"1 .5 .5 .5 .5\n{row}\n")
    with pytest.raises(DataError, match=message) as error:
        yolo.load()
    assert str(error.value).startswith(str(yolo.root / "labels" / "train" / "a.txt") + ":2")


def test_a_label_file_that_is_no_text_is_named(yolo):
    yolo.add(label=b"0 .5 \xff")
    with pytest.raises(DataError, match=r"a\.txt.*UTF-8"):
        yolo.load()


def test_small_boxes_are_not_taken_for_pixels(yolo):
    """The check of normalised coordinates is the other way round here."""
    yolo.add(label="0 0.01 0.01 0.01 0.01")
    assert yolo.load().num_boxes == 1


def test_a_box_reaching_out_is_clipped_and_reported(yolo):
    yolo.add(label="0 0.9 0.5 0.4 0.5\n0 0.5 0.5 0 0.5")
    np.testing.assert_allclose(yolo.load().boxes, [(44.8, 12, 64, 36)], rtol=1e-6)
    assert yolo.findings == {
        ("box reaches out of the image", "box clipped"): 1,
        ("box of zero or negative size", "box dropped"): 1,
    }


def test_labels_without_an_image_are_noted(yolo):
    yolo.add(label="0 .5 .5 .5 .5")
    for name in ("b.txt", "classes.txt"):
        (yolo.root / "labels" / "train" / name).write_text("")
    yolo.load()
    assert yolo.findings == {("label file without an image", "noted"): 1}


def test_kinds_of_images_that_other_tools_read_are_reported(yolo, picture):
    yolo.add()
    yolo.add("train/b.tif").write_bytes(picture(kind="TIFF"))
    assert len(yolo.load()) == 1
    ((problem, action),) = yolo.findings
    assert problem.startswith("TIFF images cannot be read")
    assert action == "image skipped"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"names": {1: "dog", 0: "cat"}}, ("cat", "dog")),
        ({"names": NAMES, "nc": 2}, ("cat", "dog")),
        ({"names": [1, "two words"]}, ("1", "two words")),
        ({"nc": 2}, ("class_0", "class_1")),
    ],
)
def test_names(yolo, names, expected):
    yolo.add(label="1 .5 .5 .5 .5")
    del yolo.ultralytics["names"]
    yolo.ultralytics.update(names)
    dataset = yolo.load()
    assert dataset.class_names == expected
    assert dataset.labels.tolist() == [1]


def test_ids_with_gaps(yolo):
    yolo.add(label="7 .5 .5 .5 .5")
    yolo.ultralytics["names"] = {7: "dog", 3: "cat"}
    dataset = yolo.load()
    assert (dataset.class_names, dataset.category_ids) == (("cat", "dog"), (3, 7))
    assert dataset.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": None}, "'names' must list the classes"),
        ({"names": []}, "'names' must list the classes"),
        ({"names": "cat"}, "'names' must list the classes"),
        ({"names": ["yes", False]}, "names: 1: False is not a name: put it in quotes"),
        ({"names": {"a": "cat"}}, "'a' is not the number of a class"),
        ({"names": ["cat", "cat"]}, "listed twice"),
        ({"nc": 3}, "nc = 3, but there are 2 names"),
        ({"train": "images/trian"}, "there is no images/trian: looked for"),
        ({"train": 5}, "train must name a folder of images"),
        ({"train": ["images/train", "images/train"]}, "more than once"),
    ],
)
def test_a_wrong_file_of_ultralytics_says_what_to_mend(yolo, values, message):
    yolo.add()
    yolo.ultralytics.update(values)
    with pytest.raises(DataError, match=message) as error:
        yolo.load()
    assert str(error.value).startswith(str(yolo.root / "ultralytics.yaml"))


@pytest.mark.parametrize("path", [".", None, "name_of_the_folder", "../elsewhere"])
@pytest.mark.parametrize("train", ["images/train", "../images/train", ["images/train"]])
def test_where_the_images_are(yolo, path, train):
    image = yolo.add()
    yolo.ultralytics.update(path=path, train=train)
    found = yolo.load().image_paths
    assert [p.replace("/./", "/") for p in found] == [str(image)]


def test_lists_of_images(yolo):
    wanted = [yolo.add("b.jpg", "0 .5 .5 .5 .5"), yolo.add("sub/a.jpg", "1 .5 .5 .5 .5")]
    other = yolo.add("c.jpg")
    lists = yolo.root / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text(f"images/b.jpg\n\n./../images/sub/a.jpg\r\n{other}\n")
    yolo.ultralytics["train"] = "lists/train.txt"
    dataset = yolo.load()
    assert [p.rsplit("/images/")[1] for p in dataset.image_paths] == ["b.jpg", "sub/a.jpg", "c.jpg"]
    assert dataset.labels.tolist() == [0, 1]
    assert len(wanted) == 2


def test_labels_beside_images_where_no_folder_is_called_images(yolo):
    folder = yolo.root / "obj_train_data"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(yolo.picture)
    (folder / "a.txt").write_text("1 .5 .5 .5 .5")
    yolo.ultralytics["train"] = "obj_train_data"
    assert yolo.load().labels.tolist() == [1]


def test_images_of_one_name_have_different_ids(yolo):
    for name in ("train/x/a.jpg", "train/y/a.jpg"):
        yolo.add(name)
    ids = yolo.load().image_ids
    assert len(set(ids)) == 2


def test_splits(yolo):
    yolo.add("val/a.jpg")
    yolo.add("train/a.jpg")
    yolo.ultralytics.update(validation="images/val", test=None)
    assert len(yolo.load("val")) == 1
    assert split_names(yolo.root / "data.yaml") == ["train", "val"]
    yolo.settings["splits"] = {"holdout": "val"}
    assert yolo.load("holdout").image_paths[0].endswith("val/a.jpg")
    yolo.settings["splits"] = {"train": "tarin"}
    with pytest.raises(DataError, match="has no 'tarin': did you mean 'train'"):
        yolo.load()


def test_ultralytics_file_may_be_the_data_yaml_itself(yolo):
    yolo.add()
    yolo.settings = {"format": "yolo", **yolo.ultralytics, "download": "https://somewhere"}
    assert len(yolo.load()) == 1


def test_root_is_the_folder_of_data_yaml(yolo, tmp_path_factory):
    yolo.add()
    yolo.load()
    (yolo.root / "data.yaml").write_text(yaml.safe_dump(yolo.ultralytics))
    mine = tmp_path_factory.mktemp("mine") / "data.yaml"
    mine.write_text(yaml.safe_dump({"format": "yolo", "root": str(yolo.root)}))
    assert len(load_dataset(mine, "train")) == 1


def test_a_missing_file_of_ultralytics_is_named(yolo):
    yolo.settings["data_yaml"] = "nothing.yaml"
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.yaml"):
        yolo.load()


POSE = "0 .5 .5 .5 .5"


@pytest.mark.parametrize(
    ("shape", "keypoints"),
    [
        ([1, 2], ".1 .1"),
        ([2, 2], ".1 .1 .9 .9"),
        ([1, 3], ".1 .1 2"),
        ([2, 3], ".1 .1 1 .9 .9 1"),
        ([17, 3], ".1 .1 2 " * 17),
    ],
)
def test_of_a_pose_the_box_is_read(yolo, shape, keypoints):
    yolo.add(label=f"{POSE} {keypoints}")
    yolo.ultralytics["kpt_shape"] = shape
    np.testing.assert_array_equal(yolo.load().boxes, [(16, 12, 48, 36)])
    assert not yolo.findings


@pytest.mark.parametrize("row", [POSE, f"{POSE} .1 .1", f"{POSE} .1 .1 .2 .2 .3 .3"])
def test_a_pose_of_another_length_stops(yolo, row):
    yolo.add(label=row)
    yolo.ultralytics["kpt_shape"] = [2, 2]
    with pytest.raises(DataError, match=r"a\.txt:1: expected 9 columns, .* as kpt_shape says"):
        yolo.load()


@pytest.mark.parametrize("shape", [2, [2], [2, 4], [0, 2], ["a", 2], [True, 2], {"a": 1}])
def test_a_kpt_shape_that_is_none_stops(yolo, shape):
    yolo.add(label=POSE)
    yolo.ultralytics["kpt_shape"] = shape
    with pytest.raises(DataError, match=r"expected .number of keypoints, 2 or 3"):
        yolo.load()


def test_poses_that_the_yaml_does_not_tell_are_no_polygons(yolo):
    yolo.add(label=f"{POSE} .1 .1 1 .9 .9 0")
    with pytest.raises(DataError, match=r"may be poses.*kpt_shape"):
        yolo.load()


def test_shapes_are_told_once(yolo):
    row = "0 .25 .25 .75 .25 .75 .75 .25 .75\n"
    yolo.add(label=row * 3 + POSE)
    assert yolo.load().num_boxes == 4
    assert list(yolo.findings.values()) == [1]
    assert "3 rows, first" in next(f.where for f in yolo.load().findings)


def test_all_faults_of_a_split_are_told_at_once(yolo):
    yolo.add("train/a.jpg", "0 .5 .5 .5\n7 .5 .5 .5 .5\n0 .5 .5 x .5\n1.5 .5 .5 .5 .5\n")
    yolo.add("train/b.jpg", b"\xff")
    yolo.add("train/c.jpg", POSE)
    (yolo.root / "data.yaml").write_text(yaml.safe_dump({"format": "yolo", **yolo.ultralytics}))
    report = check_dataset(yolo.root / "data.yaml")
    errors = [f.where for f in report.findings if severity(f) == "error"]
    assert len(errors) == 5
    labels = yolo.root / "labels" / "train"
    for number in range(1, 5):
        assert sum(where.startswith(f"{labels / 'a.txt'}:{number}:") for where in errors) == 1
    assert report.statistics["train"]["objects"] == 1


# From an image's folder to the label file of a.jpg.
@pytest.mark.parametrize(
    ("images", "label"),
    [
        ("images/train", "labels/train/a.txt"),
        ("images/train", "Labels/train/a.txt"),
        ("images/train", "label/train/a.TXT"),
        ("images/train", "txt/train/a.txt"),
        ("images/train", "annotations/train/a.txt"),
        ("images/train", "labels/a.txt"),
        ("images/train", "images/train/a.txt"),
        ("images/train", "images/train/labels/a.txt"),
        ("Images/train", "Labels/train/A.txt"),
        ("image/train", "label/train/a.txt"),
        ("JPEGImages/train", "labels/train/a.txt"),
        ("train/images", "train/labels/a.txt"),
        ("train", "labels/train/a.txt"),
        ("train", "labels/a.txt"),
        ("images/images", "images/labels/a.txt"),
        ("images/train", "labels/train/a.jpg.txt"),
    ],
)
@pytest.mark.parametrize("spelling", ["{}", "{root}/{}", "./{}/"])
def test_where_labels_may_lie(tmp_path, picture, images, label, spelling):
    root = tmp_path / "images" / "labels" / "data"  # names that are none of the data set's
    for path in (root / images / "a.jpg", root / label):
        path.parent.mkdir(parents=True, exist_ok=True)
    (root / images / "a.jpg").write_bytes(picture())
    (root / label).write_text("1 .5 .5 .5 .5")
    values = {"train": spelling.format(images, root=root), "names": NAMES}
    (root / "data.yaml").write_text(yaml.safe_dump(values))
    assert load_dataset(root / "data.yaml", "train").labels.tolist() == [1]


def test_only_folders_of_the_data_set_count(tmp_path, picture):
    """A file in a folder that the absolute path alone would lead to is none of its labels."""
    root = tmp_path / "images" / "data"
    for path in (root, tmp_path / "labels" / "data"):
        path.mkdir(parents=True)
    (root / "a.jpg").write_bytes(picture())
    (root / "a.txt").write_text("1 .5 .5 .5 .5")
    (tmp_path / "labels" / "data" / "a.txt").write_text("0 .1 .1 .1 .1")
    (root / "data.yaml").write_text(f"train: {root}\nnames: [cat, dog]\n")
    assert load_dataset(root / "data.yaml", "train").labels.tolist() == [1]


@pytest.mark.parametrize("key", ["train", "splits"])
def test_images_and_annotations_may_be_named(yolo, key):
    yolo.add("a.jpg", "0 .5 .5 .5 .5")
    yolo.add("b.jpg", "1 .5 .5 .5 .5")
    (yolo.root / "labels").rename(yolo.root / "boxes")
    places = {"images": "images", "annotations": "boxes"}
    entry = {"train": places} if key == "train" else {"splits": {"train": places}}
    values = {"format": "yolo", "names": NAMES, **entry}
    (yolo.root / "data.yaml").write_text(yaml.safe_dump(values))
    assert load_dataset(yolo.root / "data.yaml", "train").labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "path: /content/elsewhere\ntrain: images/train\n",
        "path: ~/nowhere\ntrain: images/train\n",
        "train: /content/x/images/train\n",
        "train: C:\\Users\\me\\images\\train\n",
        "train: ../../x/images/train\n",
        "train: images\\train\n",
        "train: ./images/train'\n",
    ],
)
def test_paths_of_elsewhere(yolo, text):
    yolo.add(label="1 .5 .5 .5 .5")
    (yolo.root / "my data.yml").write_text(f"{text}names: [cat, dog]\n", encoding="utf-16")
    assert load_dataset(yolo.root, "train").labels.tolist() == [1]


def test_a_path_that_ends_in_the_images_of_all_splits_is_not_taken(yolo):
    yolo.add(label=POSE)
    yolo.ultralytics["train"] = "../train/images"
    (yolo.root / "images" / "train").rename(yolo.root / "images" / "set")
    with pytest.raises(DataError, match=r"there is no \.\./train/images: looked for"):
        yolo.load()


def test_a_path_that_leads_out_and_in_stops(tmp_path, picture):
    for root, name in ((tmp_path, "cat"), (tmp_path / "inner", "dog")):
        (root / "train" / "images").mkdir(parents=True)
        (root / "train" / "images" / f"{name}.jpg").write_bytes(picture())
        (root / "train" / "images" / f"{name}.txt").write_text(POSE)
    file = tmp_path / "inner" / "data.yaml"
    file.write_text("train: ../train/images\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"may be .*inner/train/images or .*write the one"):
        load_dataset(file, "train")
    file.write_text(file.read_text() + "roboflow: {version: 1}\n")
    assert load_dataset(file, "train").image_ids == ["dog"]


def test_a_list_of_another_computer(yolo):
    yolo.add("train/a.jpg", "1 .5 .5 .5 .5")
    yolo.add("train/b.jpg", "0 .5 .5 .5 .5")
    (yolo.root / "train.txt").write_text(
        ".\\images\\train\\a.jpg\r\n/content/d/images/train/b.jpg\n"
    )
    yolo.ultralytics["train"] = "train.txt"
    assert yolo.load().labels.tolist() == [1, 0]


def test_names_in_a_file(yolo):
    yolo.add(label="1 .5 .5 .5 .5")
    yolo.ultralytics["names"] = "my.names"
    (yolo.root / "my.names").write_text("cat\r\nbig dog\n\n")
    assert yolo.load().class_names == ("cat", "big dog")
    (yolo.root / "my.names").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"my\.names:2: an empty line"):
        yolo.load()


def test_numbers_of_classes_that_begin_elsewhere_are_told(yolo):
    yolo.add(label="0 .5 .5 .5 .5")
    yolo.ultralytics["names"] = {1: "cat", 2: "dog"}
    with pytest.raises(DataError, match=r"class 0 has no name.* begin with 0 in the label files"):
        yolo.load()


def test_hidden_folders_are_not_read(yolo):
    yolo.add(label=POSE)
    yolo.add("train/.ipynb_checkpoints/a-checkpoint.jpg", POSE)
    assert len(yolo.load()) == 1


def test_an_image_whose_folder_has_a_zero_in_its_name_has_no_label_file(tmp_path):
    finder = LabelFinder([tmp_path], None)
    assert finder.find(tmp_path / "images\0" / "a.jpg") is None
