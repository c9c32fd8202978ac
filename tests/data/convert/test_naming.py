from dataclasses import replace

import numpy as np
import pytest

from keras_retinanet.data.convert.naming import (
    name_images,
    refuse_bad_split_names,
    with_common_classes,
)
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.address import image_address
from keras_retinanet.errors import DataError


@pytest.mark.parametrize(
    ("paths", "by_stem", "expected"),
    [
        (["/x/a.jpg", "/y/b.jpg"], False, ["a.jpg", "b.jpg"]),
        (["/x/a.jpg", "/y/a.jpg"], False, ["x__a.jpg", "y__a.jpg"]),
        (["/d/x/a.jpg", "/d/a.jpg"], False, ["x__a.jpg", "a.jpg"]),
        (["/d/x/p/a.jpg", "/d/y/q/a.jpg", "/b.jpg"], True, ["x__p__a.jpg", "y__q__a.jpg", "b.jpg"]),
        (["/x/a.jpg", "/x/a.png"], False, ["a.jpg", "a.png"]),
        (["/x/a.jpg", "/x/a.png"], True, ["a.jpg", "a_2.png"]),
        (["/x/a.jpg", "/x/a.png", "/x/a_2.png"], True, ["a.jpg", "a_3.png", "a_2.png"]),
        (["/x/a.jpg", "/x/A.jpg"], False, ["a.jpg", "A_2.jpg"]),
        (["/x/a.jpg", "/x/a.jpg"], False, ["a.jpg"]),
        (["/x/e\u0301.jpg", "/x/\xe9.jpg"], False, ["e\u0301.jpg", "\xe9_2.jpg"]),
        (["/x/two\nlines.jpg", "/x/ blanks .jpg", "/x/.hidden.jpg"], True,
         ["two_lines.jpg", "blanks.jpg", "_.hidden.jpg"]),
        (["/x/雪 100%.JPG"], True, ["雪 100%.JPG"]),
    ],
)  # fmt: skip
def test_image_names(paths, by_stem, expected):
    findings = []
    names = name_images(paths, findings, by_stem=by_stem)
    assert list(names.values()) == expected
    assert list(names) == list(dict.fromkeys(paths))
    same_name = "several images have the same name; this one is renamed"
    assert {f.problem for f in findings} <= {same_name}
    assert all(f.action == "noted" for f in findings)


def test_images_of_records_get_numbers():
    paths = [image_address(f"/x/{i}.tfrecord", i, 5, "image.jpg") for i in range(3)]
    findings = []
    names = name_images(paths, findings, by_stem=True)
    assert list(names.values()) == ["image.jpg", "image_2.jpg", "image_3.jpg"]
    assert len(findings) == 2


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg")])
def test_a_name_without_the_suffix_of_an_image_gets_it(tmp_path, picture, kind, suffix):
    path = tmp_path / "scan.0001"
    path.write_bytes(picture(kind=kind))
    assert name_images([str(path)], [], by_stem=True) == {str(path): f"scan.0001{suffix}"}


def dataset(classes, labels):
    return DetectionDataset(
        image_paths=["a.jpg"],
        image_ids=[1],
        heights=np.array([48], np.int32),
        widths=np.array([64], np.int32),
        row_splits=np.array([0, len(labels)]),
        boxes=np.ones((len(labels), 4), np.float32),
        labels=np.array(labels, np.int32),
        is_ignored=np.zeros(len(labels), bool),
        areas=np.ones(len(labels), np.float32),
        class_names=tuple(classes.values()),
        category_ids=tuple(classes),
    )


def test_splits_of_the_same_classes_stay_as_they_are():
    train = dataset({5: "b", 2: "a"}, [0, 1])
    findings = []
    assert with_common_classes({"train": train, "val": replace(train)}, findings)["train"] is train
    assert not findings


@pytest.mark.parametrize(
    ("val", "expected"),
    [
        ({2: "a", 9: "c"}, {2: "a", 5: "b", 9: "c"}),
        ({2: "a", 6: "b", 9: "c"}, {1: "a", 2: "b", 3: "c"}),  # b has another id
        ({5: "a", 9: "c"}, {1: "a", 2: "b", 3: "c"}),  # 5 has another name
    ],
)
def test_splits_of_different_classes_get_all_of_them(val, expected):
    findings = []
    splits = {"train": dataset({2: "a", 5: "b"}, [0, 1, 1]), "val": dataset(val, [len(val) - 1, 0])}
    common = with_common_classes(splits, findings)
    for split, names in {"train": ["a", "b", "b"], "val": ["c", "a"]}.items():
        found = common[split]
        assert dict(zip(found.category_ids, found.class_names, strict=True)) == expected
        assert [found.class_names[label] for label in found.labels] == names
    assert len(findings) == (min(expected) == 1)


@pytest.mark.parametrize("names", [["a/b"], [".."], ["a b"], [""], ["train", "Train"], ["-x"]])
def test_splits_that_cannot_name_a_folder(names):
    with pytest.raises(DataError):
        refuse_bad_split_names(names)


def test_splits_that_can():
    refuse_bad_split_names(["train", "val-2017", "prüfung_1.0"])
