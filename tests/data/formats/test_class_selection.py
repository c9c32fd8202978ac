import numpy as np
import pytest

from keras_retinanet.data.dataset import ANY_CLASS
from keras_retinanet.data.formats.class_selection import select_classes
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

NAMES = ("bike", "car", "truck", "van")


@pytest.fixture
def raw():
    """An object of each class but bike, which has two, and a region for every class."""
    labels = np.array([0, 1, 2, ANY_CLASS, 3, 0], np.int32)
    return RawAnnotations(
        source="data",
        image_paths=["a.jpg", "b.jpg"],
        image_ids=[1, 2],
        declared_sizes=[None, None],
        box_images=np.array([0, 0, 0, 1, 1, 1]),
        boxes=np.arange(24.0).reshape(6, 4),
        labels=labels,
        is_ignored=labels < 0,
        areas=np.full(6, np.nan),
        class_names=NAMES,
        category_ids=(3, 5, 9, 2),
        describe_box=lambda t: f"row {t}",
    )


@pytest.mark.parametrize(
    ("classes", "excluded", "names", "ids", "labels", "rows", "said"),
    [
        (
            ["van", "bike"],
            [],
            ["van", "bike"],
            [2, 3],
            [1, -1, 0, 1],
            [0, 3, 4, 5],
            "car 1, truck 1",
        ),
        (
            {"motor": ["van", "car", "truck"], "cycle": "bike"},
            [],
            ["motor", "cycle"],
            [2, 3],
            [1, 0, 0, -1, 0, 1],
            [0, 1, 2, 3, 4, 5],
            None,
        ),
        ({"car": None}, [], ["car"], [5], [0, -1], [1, 3], "bike 2, truck 1, van 1"),
        (None, ["bike"], ["car", "truck", "van"], [5, 9, 2], [0, 1, -1, 2], [1, 2, 3, 4], "bike 2"),
        (
            {"car": ["car", "van"]},
            ["van"],
            ["car"],
            [5],
            [0, -1],
            [1, 3],
            "bike 2, truck 1, van 1",
        ),
    ],
)
def test_classes_are_picked_renamed_merged_and_left_out(
    raw, classes, excluded, names, ids, labels, rows, said
):
    selected = select_classes(raw, classes, excluded)
    assert list(selected.class_names) == names
    assert list(selected.category_ids) == ids
    assert selected.labels.tolist() == labels
    np.testing.assert_array_equal(selected.boxes, raw.boxes[rows])
    np.testing.assert_array_equal(selected.box_images, raw.box_images[rows])
    assert [selected.describe_box(t) for t in range(len(rows))] == [f"row {t}" for t in rows]
    assert [(f.where, f.action) for f in selected.findings] == (
        [] if said is None else [(f"data: {said}", "left out")]
    )


def test_without_a_choice_nothing_changes(raw):
    assert select_classes(raw, None) is raw


@pytest.mark.parametrize(
    ("classes", "excluded", "message"),
    [
        (["cars"], [], "data: classes: there is no class 'cars': did you mean 'car'?"),
        ({"x": ["car", "lorry"]}, [], "no class 'lorry': known: bike, car, truck, van"),
        (None, ["trucks"], "exclude_classes: there is no class 'trucks': did you mean 'truck'?"),
        ({"a": "car", "b": ["van", "car"]}, [], "classes: 'car' is in more than one class"),
    ],
)
def test_a_choice_that_cannot_be_made_is_told(raw, classes, excluded, message):
    with pytest.raises(DataError) as error:
        select_classes(raw, classes, excluded)
    assert message in str(error.value)


def two_classes(folder, **settings):
    """A folder with an object of each class, and its data YAML with settings."""
    folder.add_image()
    folder.add_box("a.jpg", (8, 4, 40, 30), "cat")
    folder.add_box("a.jpg", (1, 2, 30, 40), "dog")
    write_yaml = folder.write_yaml
    folder.write_yaml = lambda values: write_yaml({**values, **settings})
    return folder


def test_every_format_merges_classes(folder):
    dataset = two_classes(folder, classes={"pet": ["dog", "cat"]}).load()
    assert dataset.class_names == ("pet",)
    assert dataset.labels.tolist() == [0, 0]
    assert dataset.num_boxes == 2


def test_every_format_leaves_classes_out(folder):
    dataset = two_classes(folder, exclude_classes=["cat"]).load()
    assert dataset.class_names == ("dog",)
    assert dataset.num_boxes == 1
    ((_, action),) = folder.findings
    assert action == "left out"
    assert dataset.findings[0].where.endswith(": cat 1")


def test_a_list_picks_in_coco(coco):
    dataset = two_classes(coco, classes=["dog"]).load()
    assert (dataset.class_names, dataset.category_ids) == (("dog",), (7,))


def test_a_list_is_the_declaration_in_voc(voc):
    voc.settings = {"classes": ["dog"]}
    with pytest.raises(DataError, match="unknown class 'cat'"):
        two_classes(voc).load()
    voc.settings["exclude_classes"] = ["cat"]
    assert voc.load().class_names == ("dog",)
