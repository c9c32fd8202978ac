import io
from itertools import chain, islice, pairwise

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.conventions import BACKGROUND, IGNORE, PAD_VALUE
from keras_retinanet.data.pipeline.batches import (
    network_inputs,
    preprocess,
    training_batches,
)
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.pipeline.targets import NO_LABEL
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.matching import match_anchors

GREY, RED = (60, 60, 60), (250, 20, 20)
BOX = (10, 6, 34, 20)  # unlike all of its mirror images
POLICY = InputPolicy(size=96, max_size=160)
# Two levels only: most of the time here goes into building graphs.
ANCHORS = AnchorGenerator(levels=(3, 5), sizes=(24, 64))


def batches_of(
    dataset, count=None, *, policy=POLICY, batch_size=4, seed=0, sizes=(), shuffle=True, **settings
):
    """The first batches as NumPy arrays, an epoch of them by default; and the plan."""
    plan = TrainingPlan(
        dataset.heights, dataset.widths, policy, batch_size, seed=seed, sizes=sizes, shuffle=shuffle
    )
    stream = training_batches(dataset, plan, anchor_generator=ANCHORS, **settings)
    count = plan.steps_per_epoch if count is None else count
    return list(islice(stream.as_numpy_iterator(), count)), plan


def flatten(batches):
    """Images and their objects, one by one."""
    for images, targets in batches:
        for i, image in enumerate(images):
            real = targets["gt_labels"][i] != NO_LABEL
            yield image, targets["gt_boxes"][i][real], targets["gt_labels"][i][real]


def red_extent(image):
    """Where the rectangle is, from the pixels."""
    y, x = np.nonzero(image[..., 0].astype(int) > (GREY[0] + RED[0]) / 2)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def painted(width, height):
    pixels = np.full((height, width, 3), GREY)
    x1, y1, x2, y2 = BOX
    pixels[y1:y2, x1:x2] = RED
    return pixels


@pytest.fixture
def rectangle(coco, picture):
    """A function: sizes -> a data set of images with a red rectangle on grey."""

    def make(*sizes):
        for i, size in enumerate(sizes or [(64, 48)]):
            name = f"{i}.png"
            coco.add_image(name, size, content=picture(pixels=painted(*size), kind="PNG"))
            coco.add_box(name, BOX)
        return coco.load()

    return make


@pytest.fixture
def coloured(coco, picture):
    """Eleven images of both orientations, each of one grey value of its own and with one object."""
    for i in range(11):
        size = (48, 64) if i % 3 == 0 else (64, 48)
        pixels = np.full((size[1], size[0], 3), 10 * i)
        name = f"{i}.png"
        coco.add_image(name, size, content=picture(pixels=pixels, kind="PNG"))
        coco.add_box(name, (i, 5, i + 20, 40), "dog" if i % 2 else "cat")
    return coco.load()


def indices(batches):
    """Which of the coloured images are in each batch."""
    return [(images[:, 0, 0, 0] // 10).tolist() for images, _ in batches]


def test_boxes_stay_on_what_they_mark_under_flips_and_scaling(rectangle):
    dataset = rectangle((64, 48), (48, 64), (70, 51))
    batches, _ = batches_of(dataset, 60, batch_size=1, vertical_flip=True)
    places = set()
    for image, boxes, labels in flatten(batches):
        np.testing.assert_allclose(boxes, [red_extent(image)], atol=1)
        assert labels.tolist() == [0]
        places.add((image.shape, *boxes[0].round().astype(int)))
    assert len(places) == 3 * 4  # each as drawn, and mirrored in three ways


def test_boxes_stay_on_what_they_mark_under_scale_jitter(rectangle):
    batches, _ = batches_of(rectangle(), 6, sizes=(40, 64, 96), vertical_flip=True)
    widths = set()
    for image, boxes, _ in flatten(batches):
        np.testing.assert_allclose(boxes, [red_extent(image)], atol=1)
        widths.add(int(boxes[0, 2] - boxes[0, 0]))
    assert len(widths) == 3


def test_boxes_of_the_upright_image_fit_exif_rotated_files(coco, picture, exif):
    """The rectangle is annotated where a viewer shows it."""
    upright_boxes = {
        1: (10, 6, 34, 20),
        2: (30, 6, 54, 20),
        3: (30, 28, 54, 42),
        4: (10, 28, 34, 42),
        5: (6, 10, 20, 34),
        6: (28, 10, 42, 34),
        7: (28, 30, 42, 54),
        8: (6, 30, 20, 54),
    }
    for orientation, box in upright_boxes.items():
        name = f"{orientation}.jpg"
        stored = picture(pixels=painted(64, 48), exif=exif(orientation))
        coco.add_image(name, (64, 48) if orientation < 5 else (48, 64), content=stored)
        coco.add_box(name, box)
    dataset = coco.load()
    assert not dataset.findings
    batches, _ = batches_of(dataset, shuffle=False, horizontal_flip=False)
    for (image, boxes, _), box in zip(flatten(batches), upright_boxes.values(), strict=True):
        np.testing.assert_allclose(boxes, [np.multiply(box, 2)], atol=1e-4)
        np.testing.assert_allclose(boxes, [red_extent(image)], atol=1)


def test_without_flips_images_are_left_as_they_are(rectangle):
    batches, _ = batches_of(rectangle(), 4, horizontal_flip=False)
    for _, boxes, _ in flatten(batches):
        np.testing.assert_allclose(boxes, [np.multiply(BOX, 2)], atol=1e-4)


def test_shapes_types_and_padding(coco):
    coco.add_image("a.jpg", (64, 48))
    coco.add_image("b.jpg", (64, 40))
    for x in range(3):
        coco.add_box("a.jpg", (x, 0, x + 30, 30), "dog")
    coco.add_box("b.jpg", BOX)
    ((images, targets),), _ = batches_of(
        coco.load(), 1, batch_size=2, shuffle=False, horizontal_flip=False
    )
    assert (images.shape, images.dtype) == ((2, 96, 160, 3), np.uint8)
    assert (images[0, :, 128:] == PAD_VALUE).all()
    assert (images[1, :, 154:] == PAD_VALUE).all()
    assert not (images[1, :, 153] == PAD_VALUE).all()
    assert {name: (value.shape, value.dtype) for name, value in targets.items()} == {
        "gt_boxes": ((2, 3, 4), np.float32),
        "gt_labels": ((2, 3), np.int32),
        "matches": ((2, len(ANCHORS(96, 160))), np.int32),
    }
    assert targets["gt_labels"].tolist() == [[1, 1, 1], [0, NO_LABEL, NO_LABEL]]
    assert (targets["gt_boxes"][1, 1:] == 0).all()
    assert set(targets["matches"][1]) <= {0, BACKGROUND, IGNORE}


@pytest.mark.parametrize("force_match", [False, True])
def test_matches_are_those_of_the_boxes_and_the_canvas(coco, force_match):
    rng = np.random.default_rng(0)
    for i in range(3):
        name = f"{i}.jpg"
        coco.add_image(name, (64, 48 - 4 * i))
        for _ in range(4):
            x, y = rng.uniform(0, 20, 2)
            coco.add_box(name, (x, y, x + rng.uniform(20, 40), y + rng.uniform(15, 25)))
    thresholds = {"positive_iou": 0.6, "negative_iou": 0.3, "force_match": force_match}
    for images, targets in batches_of(coco.load(), batch_size=2, **thresholds)[0]:
        for boxes, labels, matches in zip(*targets.values(), strict=True):
            expected = match_anchors(
                tf.constant(boxes[labels != NO_LABEL]),
                tf.zeros((0, 4)),
                anchor_generator=ANCHORS,
                height=images.shape[1],
                width=images.shape[2],
                **thresholds,
            )
            np.testing.assert_array_equal(matches, expected)
            assert matches.max() >= 0


def test_ignored_regions_are_no_objects_and_their_anchors_are_ignored(ignoring_folder):
    crowd = (24, 8, 64, 48)
    ignoring_folder.add_image()
    ignoring_folder.add_box("a.jpg", crowd, ignored=True)
    ignoring_folder.add_box("a.jpg", (2, 2, 18, 18), "dog")
    ((_, targets),), _ = batches_of(ignoring_folder.load(), 1, batch_size=1, horizontal_flip=False)
    assert targets["gt_labels"].tolist() == [[1]]
    np.testing.assert_array_equal(targets["gt_boxes"], [[[4, 4, 36, 36]]])
    anchors = np.asarray(ANCHORS(96, 128))
    x1, y1, x2, y2 = np.multiply(crowd, 2)
    inside = (anchors[:, :2] >= (x1, y1)).all(1) & (anchors[:, 2:] <= (x2, y2)).all(1)
    far = (anchors[:, 2] < x1) & (anchors[:, 0] > 40)
    assert inside.sum() > 100
    assert (targets["matches"][0, inside] == IGNORE).all()
    assert (targets["matches"][0, far] == BACKGROUND).all()
    assert (targets["matches"] == 0).any()


def test_targets_have_the_rows_of_the_fullest_image_in_every_batch(coco):
    for i, count in enumerate((3, 0, 1)):
        coco.add_image(f"{i}.jpg")
        for _ in range(count):
            coco.add_box(f"{i}.jpg", BOX)
    for _ in range(3):  # which are no objects, and need no rows
        coco.add_box("0.jpg", BOX, ignored=True)
    batches, _ = batches_of(coco.load(), batch_size=1, shuffle=False)
    assert [targets["gt_boxes"].shape for _, targets in batches] == [(1, 3, 4)] * 3
    objects = [(targets["gt_labels"] != NO_LABEL).sum() for _, targets in batches]
    assert objects == [3, 0, 1]


@pytest.mark.parametrize("crowd", [False, True])
def test_a_batch_without_objects_has_one_row_of_padding(coco, crowd):
    for name in ("a.jpg", "b.jpg"):
        coco.add_image(name)
    if crowd:
        coco.add_box("a.jpg", BOX, ignored=True)
    ((_, targets),), _ = batches_of(coco.load(), 1, batch_size=2)
    assert targets["gt_boxes"].tolist() == [[[0, 0, 0, 0]]] * 2
    assert targets["gt_labels"].tolist() == [[NO_LABEL]] * 2
    assert set(targets["matches"].ravel()) == ({BACKGROUND, IGNORE} if crowd else {BACKGROUND})


def test_an_image_without_objects_is_background_beside_one_with(coco):
    for name in ("a.jpg", "b.jpg"):
        coco.add_image(name)
    coco.add_box("b.jpg", (8, 8, 40, 40))
    ((_, targets),), _ = batches_of(coco.load(), 1, batch_size=2, shuffle=False)
    assert set(targets["matches"][0]) == {BACKGROUND}
    assert (targets["matches"][1] == 0).any()


def test_more_than_1000_objects_arrive(coco):
    coco.add_image("a.jpg", (80, 64))
    boxes = [(x, y, x + 24, y + 24) for x in range(40) for y in range(30)]
    for box in boxes:
        coco.add_box("a.jpg", box)
    policy = InputPolicy(size=64, max_size=80)
    ((_, targets),), _ = batches_of(
        coco.load(), 1, policy=policy, batch_size=1, horizontal_flip=False
    )
    np.testing.assert_allclose(targets["gt_boxes"][0], boxes, atol=1e-4)
    assert targets["matches"].max() > 1000


def test_unusual_files_become_rgb(coco, picture):
    shades = np.linspace(0, 255, 48 * 64).astype(np.uint8).reshape(48, 64)
    sixteen_bits = tf.io.encode_png(shades[..., None].astype(np.uint16) * 257).numpy()
    files = {
        "rgba png.jpg": picture(kind="PNG", mode="RGBA"),
        "grey.jpg": picture(mode="L"),
        "cmyk.jpg": picture(mode="CMYK"),
        "gif.jpg": picture(kind="GIF"),
        "16 bits.png": sixteen_bits,
    }
    for name, content in files.items():
        coco.add_image(name, content=content)
    batches, _ = batches_of(
        coco.load(),
        policy=InputPolicy(size=48, max_size=64),
        batch_size=1,
        shuffle=False,
        horizontal_flip=False,
    )
    for (images, _), (name, content) in zip(batches, files.items(), strict=True):
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
        if name == "16 bits.png":  # which Pillow cuts off at 255
            expected = np.repeat(shades[..., None], 3, axis=2)
        np.testing.assert_allclose(images[0, :48].astype(int), expected, atol=4)


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(coloured):
    def run(seed):
        return batches_of(coloured, 6, seed=seed, sizes=(64, 96), vertical_flip=True)[0]

    first, same, other = run(3), run(3), run(4)
    for (images, targets), (same_images, same_targets) in zip(first, same, strict=True):
        np.testing.assert_array_equal(images, same_images)
        for name, value in targets.items():
            np.testing.assert_array_equal(value, same_targets[name])
    assert indices(first) != indices(other)


@pytest.mark.parametrize("batch_size", [4, 16])
def test_every_epoch_shows_every_image_as_planned(coloured, batch_size):
    steps = -(-11 // batch_size)
    batches, plan = batches_of(coloured, 2 * steps, batch_size=batch_size)
    shown = indices(batches)
    assert shown == [plan.batch(e, s).tolist() for e in range(2) for s in range(steps)]
    for epoch in (shown[:steps], shown[steps:]):
        flat = list(chain.from_iterable(epoch))
        assert len(flat) == steps * batch_size
        assert sorted(flat[:11]) == list(range(11))
    assert batch_size == 16 or shown[:steps] != shown[steps:]


def test_objects_stay_with_their_image(coloured):
    batches, plan = batches_of(coloured, horizontal_flip=False)
    for (_, targets), step in zip(batches, range(plan.steps_per_epoch), strict=True):
        for i, index in enumerate(plan.batch(0, step)):
            expected = np.multiply([index, 5, index + 20, 40], 2)
            np.testing.assert_allclose(targets["gt_boxes"][i], [expected], atol=1e-4)
            assert targets["gt_labels"][i].tolist() == [index % 2]


def test_a_stream_can_begin_at_any_epoch(coloured):
    late, _ = batches_of(coloured, 3, first_epoch=2)
    whole, _ = batches_of(coloured, 9)
    for (images, targets), (expected_images, expected) in zip(late, whole[6:], strict=True):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(targets["gt_boxes"], expected["gt_boxes"])


def test_a_stream_can_begin_within_an_epoch(coloured):
    late, _ = batches_of(coloured, 3, first_epoch=1, first_step=2)
    whole, _ = batches_of(coloured, 8)
    for (images, targets), (expected_images, expected) in zip(late, whole[5:], strict=True):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(targets["matches"], expected["matches"])
    last, _ = batches_of(coloured, 99, first_epoch=1, first_step=2, num_epochs=2)
    assert len(last) == 1


def test_workers_share_each_batch(coloured):
    whole, _ = batches_of(coloured, 5)
    shares = [batches_of(coloured, 5, worker=worker, num_workers=2)[0] for worker in range(2)]
    pieces, _ = batches_of(coloured, 10, worker=1, num_workers=2, images_per_batch=1)
    for step, (images, targets) in enumerate(whole):
        assert images.shape[0] == 4
        both = [shares[worker][step] for worker in range(2)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in both]), images)
        for name in targets:
            np.testing.assert_array_equal(
                np.concatenate([part[1][name] for part in both]), targets[name]
            )
        for replica in range(2):
            np.testing.assert_array_equal(
                pieces[2 * step + replica][0], images[2 + replica : 3 + replica]
            )


def test_the_canvas_fits_the_batch_and_the_stride(coloured):
    batches, plan = batches_of(coloured)
    for step, (images, _) in enumerate(batches):
        portrait = (coloured.heights > coloured.widths)[plan.batch(0, step)]
        assert all(side % 32 == 0 for side in images.shape[1:3])
        if portrait.all() or not portrait.any():
            assert sorted(images.shape[1:3]) == [96, 128]
        else:
            assert images.shape[1:3] == (128, 128)
            assert (images[~portrait, 96:] == PAD_VALUE).all()
            assert (images[portrait, :, 96:] == PAD_VALUE).all()


def test_a_square_policy_pads_every_batch_to_one_square(coloured):
    policy = InputPolicy("square", size=80)
    batches, _ = batches_of(coloured, policy=policy)
    assert {images.shape[1:3] for images, _ in batches} == {(96, 96)}
    for images, _ in batches:
        assert (images[:, 80:] == PAD_VALUE).all()
        assert (images[:, :, 80:] == PAD_VALUE).all()


def inputs_of(dataset, policy=POLICY):
    inputs = network_inputs(dataset.image_paths, dataset.heights, dataset.widths, policy)
    return list(inputs.as_numpy_iterator())


def test_network_inputs_cover_every_image_once_and_group_canvases(coloured):
    inputs = inputs_of(coloured)
    assert sorted(int(e["index"]) for e in inputs) == list(range(11))
    for element in inputs:
        assert element["image"][0, 0, 0] == 10 * element["index"]
        portrait = element["index"] % 3 == 0
        assert element["size"].tolist() == ([128, 96] if portrait else [96, 128])
        assert element["image"].shape == (*element["size"], 3)
    shapes = [e["image"].shape for e in inputs]
    assert sum(a != b for a, b in pairwise(shapes)) == 1


@pytest.mark.parametrize(
    "policy", [POLICY, InputPolicy("square", size=100)], ids=lambda p: p.resize
)
def test_the_sizes_computed_ahead_are_those_in_the_graph(coco, policy):
    rng = np.random.default_rng(0)
    for i in range(25):
        coco.add_image(f"{i}.jpg", tuple(rng.integers(10, 120, 2).tolist()))
    dataset = coco.load()
    heights, widths = policy.scaled_size(dataset.heights, dataset.widths)
    canvas = np.stack(policy.canvas_size(heights, widths), axis=1)
    for element in inputs_of(dataset, policy):
        i = element["index"]
        assert element["size"].tolist() == [heights[i], widths[i]]
        assert element["image"].shape == (*canvas[i], 3)
        height, width = element["size"]
        assert (element["image"][height:] == PAD_VALUE).all()
        assert (element["image"][:, width:] == PAD_VALUE).all()


def test_training_and_evaluation_see_the_same_pixels(rectangle):
    dataset = rectangle((70, 51))
    ((images, _),), _ = batches_of(dataset, 1, batch_size=1, horizontal_flip=False)
    (element,) = inputs_of(dataset)
    np.testing.assert_array_equal(images[0], element["image"])


def test_batches_are_preprocessed_as_single_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), np.uint8)
    batch, size = preprocess(tf.constant(images), POLICY)
    for image, expected in zip(images, batch, strict=True):
        single, single_size = preprocess(tf.constant(image), POLICY)
        np.testing.assert_array_equal(single, expected)
        np.testing.assert_array_equal(single_size, size)


def test_an_image_of_the_right_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    np.testing.assert_array_equal(preprocess(tf.constant(image), POLICY)[0], image)


def test_scaling_interpolates_between_pixels_and_rounds():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = 201
    scaled, _ = preprocess(tf.constant(image), InputPolicy("square", size=64))
    np.testing.assert_array_equal(scaled[0, 30:34, 0], [0, 50, 151, 201])


class TestDetailsOfThePolicy:
    IMAGE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)

    def canvas(self, **details):
        policy = InputPolicy("square", size=64, **details)
        image, size = preprocess(tf.constant(self.IMAGE), policy)
        assert size.numpy().tolist() == [38, 64]
        return image.numpy()

    def test_floats_are_not_rounded(self):
        canvas = self.canvas(pixels="float32", pad_value=(123.675, 116.28, 103.53))
        resized = tf.image.resize(self.IMAGE, (38, 64)).numpy()
        assert canvas.dtype == np.float32 and (canvas[:38] % 1 > 0).any()
        np.testing.assert_array_equal(canvas[:38], resized)
        np.testing.assert_array_equal(
            canvas[38:], np.full((26, 64, 3), np.float32((123.675, 116.28, 103.53)))
        )

    def test_bytes_are_padded_with_the_nearest_colour(self):
        canvas = self.canvas(pad_value=(123.675, 116.28, 0))
        assert canvas.dtype == np.uint8
        np.testing.assert_array_equal(canvas[:38], self.canvas()[:38])
        assert (canvas[38:] == (124, 116, 0)).all() and (self.canvas()[38:] == PAD_VALUE).all()

    def test_an_image_of_the_size_is_kept(self):
        image = np.zeros((64, 64, 3), np.uint8)
        canvas, _ = preprocess(tf.constant(image), InputPolicy("square", size=64, pixels="float32"))
        np.testing.assert_array_equal(canvas, image.astype("float32"))
