"""Pictures of detections."""

import numpy as np
from PIL import Image

from keras_retinanet.detection.drawing import class_color, draw_detections, label_place


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


def covered(picture, boxes):
    """The share of each box that is not grey any more."""
    marks = changed(picture, grey(*picture.size))
    return [float(marks[int(y1) : int(y2), int(x1) : int(x2)].mean()) for x1, y1, x2, y2 in boxes]


def test_small_objects_stay_visible_in_a_large_picture():
    rng = np.random.default_rng(0)
    corners = rng.uniform((0, 0), (2970, 2170), (60, 2))
    boxes = np.concatenate([corners, corners + 30], axis=1)
    # One in the corner, with room neither above nor to the left.
    boxes = np.concatenate([[[0, 0, 30, 30], [40, 0, 70, 30]], boxes]).round()
    labels, names = np.arange(62) % 3, ["a long name of a class", "b", "c"]
    picture = draw_detections(grey(3000, 2200), boxes, labels, names, np.full(62, 0.5))
    alone = [draw_detections(grey(3000, 2200), boxes[i : i + 1], [0], [""]) for i in range(3)]
    for i in range(3):  # a line of 2 px within 30
        assert covered(alone[i], boxes[i : i + 1])[0] < 0.26
    shares = np.array(covered(picture, boxes))
    overlapping = np.array([
        any(
            min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
            for b in boxes
            if b is not a
        )
        for a in list(boxes)
    ])  # fmt: skip
    # Their own lines, and a tenth for each of a few labels.
    assert (shares[~overlapping] < 0.5).all()
    assert np.median(shares) < 0.3


def test_a_label_is_left_out_where_it_would_hide_objects():
    grid = np.array([[x, y, x + 12, y + 12] for x in range(0, 120, 12) for y in range(0, 72, 12)])
    labels = np.zeros(len(grid), int)
    with_names = draw_detections(grey(), grid, labels, ["a name"])
    without = draw_detections(grey(), grid, labels, [""])
    # Nearly all are surrounded: only those at the lower border have room.
    upper = changed(with_names, without)[:60]
    assert upper.mean() < 0.05


def test_a_label_goes_where_there_is_room():
    boxes = np.array([[30.0, 20.0, 60.0, 40.0]])
    size, label = (120, 80), (28.0, 12.0)
    assert label_place(boxes[0], label, size, boxes) == (30, 8)  # above
    above = np.array([*boxes, [30.0, 5.0, 40.0, 18.0]])
    assert label_place(boxes[0], label, size, above) == (30, 40)  # below, as inside is too much
    large = np.array([[0.0, 0.0, 110.0, 70.0]])
    assert label_place(large[0], label, size, large) == (0, 0)  # inside
    assert label_place(boxes[0], (200.0, 12.0), size, np.array([[0, 0, 120, 80.0]])) is None
