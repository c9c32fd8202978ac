"""Samples of data sets: pictures, the sheet and the page."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.sampling import sample_images
from keras_retinanet.detection.drawing import UNMATCHED_COLOR, class_color
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.reports.contact_sheet import contact_sheet, draw_picture
from keras_retinanet.reports.gallery import (
    Picture,
    annotated_picture,
    network_pictures,
    with_anchors,
)
from keras_retinanet.reports.gallery_page import write_page

CLASSES = ("cat", "dog <b>")
GREY = (128, 128, 128)


def picture(boxes=(), labels=(), ignored=(), title="a.jpg", size=(200, 100), **more):
    return Picture(
        image=Image.new("RGB", size, GREY),
        title=title,
        caption="200 x 100",
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, int),
        is_ignored=np.array(ignored, bool),
        **more,
    )


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    Image.new("RGB", (60, 40), (255, 0, 0)).save(path, exif=exif)
    return DetectionDataset(
        image_paths=[str(path)] * 5,
        image_ids=list(range(5)),
        heights=np.full(5, 40, np.int32),
        widths=np.full(5, 60, np.int32),
        row_splits=np.array([0, 2, 2, 2, 2, 2]),
        boxes=np.array([(0, 0, 30, 30), (10, 10, 20, 20)], np.float32),
        labels=np.array([0, 1], np.int32),
        is_ignored=np.array([False, True]),
        areas=np.array([900, 100], np.float32),
        class_names=CLASSES,
        category_ids=(1, 2),
    )


def test_samples_depend_on_the_seed_alone(dataset):
    assert sample_images(dataset, 9, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = [tuple(sample_images(dataset, 2, seed)) for seed in (0, 0, *range(1, 9))]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 2
    assert all(a < b for a, b in drawn)


def test_an_annotated_picture_has_the_objects_of_its_image(dataset):
    found = annotated_picture(dataset, 0, ["something"])
    assert found.image.getpixel((5, 5)) == (255, 0, 0)
    assert found.boxes.tolist() == [[0, 0, 30, 30], [10, 10, 20, 20]]
    assert found.is_ignored.tolist() == [False, True]
    assert (found.title, found.caption) == ("a.png", "60 x 40, 1 object, 1 ignored")
    assert not found.is_unmatched.any()
    assert annotated_picture(dataset, 1).caption == "60 x 40, 0 objects"


def test_anchors_are_those_that_training_matches_in_pixels_of_the_picture():
    generator = AnchorGenerator(sizes=(32,), levels=(3,), ratios=(1.0,), scales=(1.0,))
    boxes = [(38, 24, 54, 40), (100, 10, 103, 13), (60, 60, 90, 90)]
    # At twice the size, the first box is the anchor of 32 px on the cell centre (92, 64).
    found = with_anchors(
        picture(boxes, [0, 1, 1], [False, False, True]),
        anchor_generator=generator,
        input_policy=InputPolicy("shorter_side", 200, 1000),
        positive_iou=0.6,
    )
    assert set(found.anchor_objects) == {0}
    assert found.is_unmatched.tolist() == [False, True, False]
    centres = (found.anchors[:, :2] + found.anchors[:, 2:]) / 2
    np.testing.assert_allclose(found.anchors[:, 2:] - found.anchors[:, :2], 16)
    assert np.abs(centres - (46, 32)).max() <= 4


def test_anchors_of_another_matching():
    generator = AnchorGenerator(sizes=(32,), levels=(3,), ratios=(1.0,), scales=(1.0,))
    found = with_anchors(
        picture([(10, 10, 70, 30), (0, 40, 20, 60)], [0, 1], [False, True]),
        anchor_generator=generator,
        input_policy=InputPolicy("shorter_side", 100, 1000),
        matching=match_atss,
    )
    assert set(found.anchor_objects) == {0} and len(found.anchors) < 9, "some of the nine nearest"
    assert found.is_unmatched.tolist() == [False, False]


def test_network_pictures_show_the_batches_boxes_and_matches():
    generator = AnchorGenerator(sizes=(32,), levels=(5,), ratios=(1.0,), scales=(1.0,))
    images = np.zeros((2, 64, 64, 3), np.uint8)
    images[1] = 200
    targets = {
        "gt_boxes": np.array([[[0, 0, 32, 32], [40, 40, 44, 44]], [[0] * 4] * 2], np.float32),
        "gt_labels": np.array([[1, 0], [-1, -1]], np.int32),
        "matches": np.array([[0, -1, -1, -2], [-1] * 4], np.int32),
    }
    batches = tf.data.Dataset.from_tensors((images, targets)).repeat()
    first, second, third = network_pictures(batches, ["a", "b", "c"], generator)
    assert first.boxes.tolist() == [[0, 0, 32, 32], [40, 40, 44, 44]]
    assert first.anchors.tolist() == [[0, 0, 32, 32]] and first.anchor_objects.tolist() == [0]
    assert first.is_unmatched.tolist() == [False, True]
    assert len(second.boxes) == 0 and second.image.getpixel((0, 0)) == (200, 200, 200)
    assert third.title == "c"
    assert network_pictures(batches, ["a"], None)[0].anchors is None


def test_boxes_are_drawn_in_their_colours_at_the_pictures_scale():
    shown = picture([(20, 40, 80, 90)], [0], [False])
    pixels = np.asarray(draw_picture(shown, CLASSES, 2.0))
    assert pixels.shape == (200, 400, 3)
    assert tuple(pixels[120, 40]) == tuple(pixels[120, 159]) == class_color(0)
    assert tuple(pixels[130, 100]) == GREY


def test_unmatched_objects_are_dashed_red_and_ignored_regions_hatched():
    boxes = [(20, 40, 80, 90), (110, 40, 190, 90)]
    shown = picture(
        boxes, [1, 0], [False, True], anchors=np.zeros((0, 4)), anchor_objects=np.zeros(0, int)
    )
    pixels = np.asarray(draw_picture(shown, CLASSES, 1.0))
    edge = {tuple(p) for p in pixels[45:88, 20]}
    assert edge == {UNMATCHED_COLOR, (255, 255, 255)}
    inside = {tuple(p) for p in pixels[50:80, 120:180].reshape(-1, 3)}
    assert len(inside) > 1 and GREY not in inside


def test_the_sheet_has_a_cell_for_each_picture():
    tall = picture(size=(50, 400), title="x" * 300, remarks=["one", "two", "three", "four"])
    sheets = [contact_sheet([tall] * n, CLASSES).size for n in (1, 2, 5)]
    assert sheets[0][0] < sheets[1][0] < sheets[2][0]
    assert sheets[1][1] == sheets[0][1] < sheets[2][1]


class Page(HTMLParser):
    """Collects the tags of a page, and checks that they close."""

    EMPTY = ("meta", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of_class(self, name):
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def test_the_page_holds_everything_itself(tmp_path):
    shown = [
        picture(
            [(20, 40, 80, 90), (5, 5, 9, 9), (0, 0, 50, 50)],
            [0, 1, 1],
            [False, False, True],
            title="<i>.jpg",
            anchors=np.array([[1.0, 2, 3, 4]]),
            anchor_objects=np.array([0]),
            remarks=["a & b"],
        ),
        picture(title="b.jpg", size=(3000, 30)),
    ]
    path = tmp_path / "sample.html"
    write_page(shown, CLASSES, path, title="t <x>", notes=["note"])
    text = path.read_text()
    page = Page(text)
    assert "<!--" not in text.replace("<!DOCTYPE", "")
    assert not re.search(r"""(src|href)=["'](?!data:)""", text) and "http" not in text
    cards = page.of_class("card")
    assert [card["data-name"] for card in cards] == ["<i>.jpg", "b.jpg"]
    assert [set(card["class"].split()) for card in cards] == [
        {"card", "unmatched", "remarked"},
        {"card"},
    ]
    assert [box["class"] for box in page.of_class("box")] == ["box c0", "box c1 missed"]
    assert len(page.of_class("ignored")) == len(page.of_class("anchor")) == 1
    (box, _) = page.of_class("box")
    assert [box[k] for k in ("x", "y", "width", "height")] == ["20.0", "40.0", "60.0", "50.0"]
    toggles = [a.get("data-show") or a.get("data-only") for t, a in page.tags if t == "input"]
    assert [t for t in toggles if t] == [
        *("boxes", "labels", "ignored", "anchors"),
        *("unmatched", "remarked"),
    ]
    # One object each; the ignored region is none.
    assert [a["data-class"] for _, a in page.tags if "data-class" in a] == ["0", "1"]
    url = next(a["href"] for t, a in page.tags if t == "image" and a["width"] == "3000")
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert image.size == (1024, 10)
