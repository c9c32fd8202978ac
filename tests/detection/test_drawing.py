"""Pictures of detections."""

import numpy as np
from PIL import Image

from keras_retinanet.detection.drawing import class_color, draw_detections


def grey(width=120, height=80):
    return Image.new("RGB", (width, height), (128, 128, 128))


def changed(picture, original):
    return np.abs(np.asarray(picture).astype(int) - np.asarray(original)).sum(axis=2) > 0


def test_box_is_drawn_on_its_pixels_and_the_image_kept():
    image = grey()
    picture = draw_detections(image, np.array([[30, 40, 90, 70]]), [0], ["cat"])
    pixels = np.asarray(picture)
    for y, x in ((40, 60), (69, 60), (55, 30), (55, 89)):
        assert tuple(pixels[y, x]) == class_color(0)
    assert tuple(pixels[55, 60]) == (128, 128, 128)
    assert not changed(image, grey()).any()


def test_score_is_written():
    box = np.array([[10, 40, 110, 70]])
    without = draw_detections(grey(), box, [0], ["cat"])
    with_score = draw_detections(grey(), box, [0], ["cat"], [0.5])
    assert changed(with_score, without).any()


def test_best_detection_is_on_top():
    boxes = np.array([[30, 40, 90, 70], [30, 40, 90, 70]])
    pixels = np.asarray(draw_detections(grey(), boxes, [1, 0], ["cat", "dog"], [0.9, 0.5]))
    assert tuple(pixels[60, 30]) == class_color(1)


def test_labels_at_the_edges_stay_inside():
    boxes = np.array([[0, 0, 20, 20], [110, 70, 120, 80], [-5, -5, 130, 90]])
    picture = draw_detections(grey(), boxes, [0, 1, 2], ["a long name", "b", "c"])
    assert picture.size == (120, 80)


def test_grey_image_and_no_detections():
    picture = draw_detections(grey().convert("L"), np.zeros((0, 4)), [], ["cat"])
    assert picture.mode == "RGB"
    assert not changed(picture, grey()).any()


def test_colors_of_eighty_classes_differ():
    colors = np.array([class_color(i) for i in range(80)], np.float64)
    assert len(np.unique(colors, axis=0)) == 80
    # The golden ratio brings hues near again after so many classes.
    for step in (5, 8, 13, 21, 34, 55):
        assert np.linalg.norm(colors[step:] - colors[:-step], axis=1).min() > 20
