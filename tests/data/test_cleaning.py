"""Faults of annotations that every format can have; both readers are tested."""

import numpy as np
import pytest

from keras_retinanet.data import cleaning
from keras_retinanet.data.cleaning import clean
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

WIDTH, HEIGHT = 64, 48
GOOD = (8, 4, 40, 30)
# Where the formats have the second box.
SECOND = r"(annotations\[1\]|object 2|train.csv:2|label_2/a.txt:2)"


@pytest.fixture
def boxes_left(folder):
    """A function: boxes, added to a good one -> what is left of them after cleaning."""

    def load(*boxes):
        folder.add_image("a.jpg", (WIDTH, HEIGHT))
        for box in (GOOD, *boxes):
            folder.add_box("a.jpg", box)
        kept = folder.load().boxes.tolist()
        assert kept[0] == list(GOOD)
        return kept[1:]

    return load


def test_a_clean_data_set_has_no_findings(folder):
    boxes = {
        "a.jpg": [(GOOD, "cat"), ((0, 0, 64, 48), "dog")],
        "b.png": [],
        "c.jpg": [(GOOD, "dog")],
    }
    for name, objects in boxes.items():
        folder.add_image(name)
        for box, class_name in objects:
            folder.add_box(name, box, class_name)
    dataset = folder.load()
    assert not folder.findings
    assert dataset.class_names == ("cat", "dog")
    assert dataset.row_splits.tolist() == [0, 2, 2, 3]
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.boxes.dtype == np.float32
    np.testing.assert_array_equal(dataset.boxes, [GOOD, (0, 0, 64, 48), GOOD])
    np.testing.assert_array_equal(dataset.areas, [32 * 26, 64 * 48, 32 * 26])
    assert dataset.heights.tolist() == [HEIGHT] * 3
    assert dataset.widths.tolist() == [WIDTH] * 3


def test_boxes_follow_their_images_whatever_the_order_of_the_file(coco):
    for name in ("a.jpg", "b.jpg"):
        coco.add_image(name)
    for x, name in enumerate(["b.jpg", "a.jpg", "b.jpg", "a.jpg"]):
        coco.add_box(name, (x, 0, x + 10, 10))
    dataset = coco.load()
    assert [dataset.boxes[dataset.rows(i), 0].tolist() for i in (0, 1)] == [[1, 3], [0, 2]]


def test_a_box_reaching_out_is_clipped_and_reported(folder, boxes_left):
    assert boxes_left((-10, 20, 30, 60)) == [[0, 20, 30, HEIGHT]]
    assert folder.findings == {("box reaches out of the image", "box clipped"): 1}


def test_a_box_reaching_out_by_rounding_is_clipped_without_a_word(folder, boxes_left):
    assert boxes_left((-1, -0.5, 65, 48.5)) == [[0, 0, WIDTH, HEIGHT]]
    assert not folder.findings


@pytest.mark.parametrize("box", [(70, 10, 90, 30), (-30, 10, -5, 30), (10, 48, 20, 60)])
def test_a_box_outside_is_dropped_and_reported(folder, boxes_left, box):
    assert boxes_left(box) == []
    assert folder.findings == {("box outside the image", "box dropped"): 1}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("corner", range(4))
def test_a_coordinate_that_is_no_number_stops(boxes_left, corner, value):
    box = [value if i == corner else side for i, side in enumerate(GOOD)]
    with pytest.raises(DataError, match=rf"{SECOND}: the box .* NaN or infinity"):
        boxes_left(box)


def test_normalised_boxes_stop(folder):
    folder.add_image()
    for box in ((0.1, 0.2, 0.5, 0.9), (0.0, 0.0, 1.0, 1.0)):
        folder.add_box("a.jpg", box)
    with pytest.raises(DataError, match=r"boxes look normalised .* pixels are expected"):
        folder.load()


def test_one_small_box_is_not_taken_for_normalised(boxes_left):
    assert len(boxes_left((0, 0, 1.4, 1.4))) == 1


@pytest.fixture
def cleaned(tmp_path, picture):
    """A function: boxes of one image, whether they are normalised -> the data set."""

    def make(boxes, *, normalized=True, dtype=np.float32, **options):
        path = tmp_path / "a.jpg"
        path.write_bytes(picture(WIDTH, HEIGHT))
        count = len(boxes)
        raw = RawAnnotations(
            source="labels",
            image_paths=[str(path)],
            image_ids=["a"],
            declared_sizes=[None],
            box_images=np.zeros(count, np.int64),
            boxes=np.array(boxes, dtype).reshape(-1, 4),
            labels=np.zeros(count, np.int32),
            is_ignored=np.zeros(count, bool),
            areas=np.full(count, np.nan),
            class_names=("cat",),
            category_ids=(1,),
            describe_box=lambda t: f"labels:{t + 1}",
            boxes_normalized=normalized,
            **options,
        )
        before = raw.boxes.copy()
        dataset = clean(raw)
        np.testing.assert_array_equal(raw.boxes, before)
        return dataset

    return make


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_become_pixels(cleaned, dtype):
    dataset = cleaned([(0.125, 0.25, 0.5, 0.75), (0, 0, 1, 1), (0.9, 0.5, 1.25, 0.75)], dtype=dtype)
    np.testing.assert_array_equal(
        dataset.boxes, [(8, 12, 32, 36), (0, 0, 64, 48), (np.float32(0.9 * 64), 24, 64, 36)]
    )
    assert dataset.boxes.dtype == np.float32
    assert dataset.areas[0] == 24 * 24
    assert [f.where for f in dataset.findings] == ["labels:3"]


@pytest.mark.parametrize("box", [(8, 4, 40, 30), (0.1, 0.1, 1.6, 0.5), (0.1, -1.6, 0.2, 0.5)])
def test_pixels_stop_where_shares_are_expected(cleaned, box):
    with pytest.raises(DataError, match=r"labels:2: .* above 1.5 \(1 such boxes\) where shares of"):
        cleaned([(0, 0, 1.4, 1.2), box, (0.1, 0.1, 0.5, 0.5)])


def test_a_box_too_thin_for_float32_is_dropped_and_reported(cleaned):
    dataset = cleaned([(8, 4, 40, 30), (20, 4, 20 + 1e-9, 30)], normalized=False, dtype=np.float64)
    assert dataset.num_boxes == 1
    assert [f.problem for f in dataset.findings] == ["box of zero or negative size"]


def test_boxes_are_cleaned_alike_in_blocks(cleaned, monkeypatch):
    boxes = [(0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.2, 0.9), (1.1, 0.2, 1.2, 0.4)] * 7
    boxes += [(0.5, 0.5, 1.3, 0.9), (0.25, 0, 0.5, 0.25)]
    whole = cleaned(boxes)
    monkeypatch.setattr(cleaning, "BLOCK_SIZE", 4)
    blocks = cleaned(boxes)
    np.testing.assert_array_equal(whole.boxes, blocks.boxes)
    key = lambda finding: (finding.problem, finding.where)  # noqa: E731
    assert sorted(whole.findings, key=key) == sorted(blocks.findings, key=key)
    assert blocks.num_boxes == 9


def test_ignored_objects_are_kept_and_marked(ignoring_folder):
    ignoring_folder.add_image()
    ignoring_folder.add_box("a.jpg", GOOD, ignored=True)
    ignoring_folder.add_box("a.jpg", GOOD, "dog")
    assert ignoring_folder.load().is_ignored.tolist() == [True, False]


@pytest.mark.parametrize("declared", [{"width": 640, "height": 480}, {"width": 63}])
def test_the_image_is_trusted_where_the_declared_size_differs(sized_folder, declared):
    sized_folder.add_image(**declared)
    dataset = sized_folder.load()
    assert (dataset.widths[0], dataset.heights[0]) == (WIDTH, HEIGHT)
    problem = "annotated image size differs from the image's (which is trusted)"
    assert sized_folder.findings == {(problem, "noted"): 1}


def add_images(folder, count, missing):
    for i in range(count):
        folder.add_image(f"{i}.jpg", content=False if i in missing else None)


def test_a_few_missing_images_are_reported_and_skipped(folder):
    add_images(folder, 20, missing={3, 11})
    dataset = folder.load()
    assert len(dataset) == 18
    assert folder.findings == {("missing image file", "image skipped"): 2}
    assert {f.where[-6:].strip("/") for f in dataset.findings} == {"3.jpg", "11.jpg"}


def test_many_missing_images_stop_with_one_place_and_three_names(folder):
    add_images(folder, 20, missing={3, 7, 11, 12, 13})
    with pytest.raises(DataError, match="5 of 20 image files are missing") as error:
        folder.load()
    message = str(error.value)
    assert message.count(str(folder.image_folder)) == 1 and "\n" not in message
    assert len([i for i in (3, 7, 11, 12, 13) if f"{i}.jpg" in message]) == 3
    assert " and 2 more): looked for " in message and "no file of that name is near" in message


def test_where_missing_images_do_lie_is_told(coco):
    """Two copies, so that the finder of images takes neither; and one outside of its folder."""
    add_images(coco, 20, missing=set())
    hidden = coco.root / "photos" / "Day 1" / "3.JPG"
    hidden.parent.mkdir(parents=True)
    (coco.image_folder / "3.jpg").rename(hidden)
    for i in (7, 11):
        (coco.image_folder / f"{i}.jpg").unlink()
    with pytest.raises(DataError, match=r"missing \(3\.jpg, 7\.jpg, 11\.jpg\): looked") as error:
        coco.load()
    assert f"looked for {coco.image_folder / '3.jpg'}; a file of that name is {hidden}" in str(
        error.value
    )


def test_missing_images_that_have_another_suffix_are_told(coco):
    add_images(coco, 4, missing=set())
    for image in coco.content["images"]:
        image["file_name"] = image["file_name"].replace(".jpg", ".jpeg")
    with pytest.raises(DataError, match=r"with another suffix, it is .*0\.jpg: name"):
        coco.load()


def test_all_missing_images_are_logged_for_debug(coco, caplog):
    add_images(coco, 20, missing=set(range(10)))
    with caplog.at_level("DEBUG", logger="keras_retinanet"), pytest.raises(DataError):
        coco.load()
    assert all(str(coco.image_folder / f"{i}.jpg") in caplog.text for i in range(10))


def test_more_than_1000_boxes_are_all_kept(folder):
    folder.add_image()
    boxes = [(x, y, x + 4, y + 4) for x in range(40) for y in range(30)]
    for box in boxes:
        folder.add_box("a.jpg", box)
    np.testing.assert_array_equal(folder.load().boxes, boxes)


def test_all_faults_at_once_are_counted(folder, picture):
    add_images(folder, 20, missing={3})
    folder.add_image("text.jpg", content=b"text")
    folder.add_box("text.jpg", GOOD)
    for box in ((-10, 0, 20, 20), (100, 0, 120, 20), GOOD, (-20, 0, 20, 20)):
        folder.add_box("0.jpg", box)
    dataset = folder.load()
    assert folder.findings == {
        ("missing image file", "image skipped"): 1,
        ("not an image, or one of an unknown kind", "image skipped"): 1,
        ("box of an image that cannot be used", "box dropped"): 1,
        ("box reaches out of the image", "box clipped"): 2,
        ("box outside the image", "box dropped"): 1,
    }
    assert (len(dataset), dataset.num_boxes) == (19, 3)
