from collections import Counter

import numpy as np
import pytest
import yaml

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

    def add(self, name="train/a.jpg", label=None):
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
    yolo.add("train/a.jpg")
    yolo.add("train/b.jpg", "")
    yolo.add("train/sub/c.jpg", "0 .5 .5 .5 .5")
    dataset = yolo.load()
    assert dataset.row_splits.tolist() == [0, 0, 0, 1]
    assert not yolo.findings


def test_a_bad_image_takes_its_boxes_with_it(yolo):
    yolo.add("train/a.jpg", "0 .5 .5 .5 .5")
    yolo.add("train/b.jpg", "1 .5 .5 .5 .5").write_bytes(b"text")
    dataset = yolo.load()
    assert dataset.labels.tolist() == [0]
    assert yolo.findings[("boxes of skipped images", "box dropped")] == 1


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
    yolo.add(label=b"\xff\xfe0")
    with pytest.raises(DataError, match=r"a\.txt is not a text file"):
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
    yolo.add("train/b.webp").write_bytes(picture(kind="WEBP"))
    assert len(yolo.load()) == 1
    ((problem, action),) = yolo.findings
    assert problem.startswith("WEBP images cannot be read")
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
