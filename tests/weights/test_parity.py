"""An imported model computes and detects what the file's own project does."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_retinanet.weights.import_weights import import_weights
from tests.weights.reference_detections import anchors_of, centre_decoded, detections_of
from tests.weights.reference_networks import DETECTRON2, MMDETECTION, forward, random_arrays
from tests.weights.torch_writer import write_torch

NUM_CLASSES = 7
LAYOUTS = {"detectron2": DETECTRON2, "mmdetection": MMDETECTION}
ANCHORS = {
    "detectron2": {"order": "scale", "offset": 0},
    "mmdetection": {"order": "ratio", "offset": 0},
}
DETECTIONS = {
    "detectron2": {"clip": "after_nms", "drop_empty": True, "max_detections": 100},
    "mmdetection": {"clip": "before_nms", "drop_empty": True, "max_detections": 100},
}
# The second is odd: what mmdetection and Detectron2 pad to a multiple of 32 is not padded here.
SIZES = [(256, 320), (427, 640)]


def pictures(size, count):
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, 8, 8, 3))
    image = np.kron(coarse, np.ones((1, size[0] // 8 + 1, size[1] // 8 + 1, 1)))
    image = image[:, : size[0], : size[1]] + rng.integers(-20, 21, (count, *size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.fixture(scope="module", params=LAYOUTS)
def project(request, tmp_path_factory):
    """The project's name, a file's arrays, and the imported model."""
    pytest.importorskip("torch", reason="a reference in torch's convolutions: pip install torch")
    arrays = random_arrays(LAYOUTS[request.param], NUM_CLASSES, np.random.default_rng(0))
    file = write_torch(tmp_path_factory.mktemp("files") / "model.pth", arrays)
    imported = import_weights(file)
    assert imported.source == request.param and imported.num_arrays == len(arrays)
    return request.param, arrays, imported.model


@pytest.fixture(scope="module")
def network(project):
    """The imported model, with the outputs P3 ... P7, deltas and logits."""
    model = project[2]
    names = [*(f"fpn_output_p{i}" for i in (3, 4, 5)), "fpn_p6", "fpn_p7"]
    levels = [model.get_layer(name).output for name in names]
    outputs = [model.output[name] for name in ("box_deltas", "class_logits")]
    return keras.Model(model.input, [*levels, *outputs])


@pytest.mark.parametrize("size", SIZES)
def test_pyramid_logits_deltas_and_anchors(project, network, size):
    name, arrays, model = project
    batch = pictures(size, 2)
    levels, outputs = forward(LAYOUTS[name], arrays, batch)
    assert np.std(outputs["class"]) > 0.1 and np.std(outputs["box"]) > 0.05
    expected = [*levels, outputs["box"], outputs["class"]]
    for count in (1, 2):
        for ours, theirs in zip(network(batch[:count]), expected, strict=True):
            assert_close(ours, theirs[:count])
    expected = anchors_of([level.shape[1:3] for level in levels], **ANCHORS[name])
    found = model.anchor_generator(*size)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-4)


def padded(picture, mean):
    """Return what a project makes of an image: whole 32s, what is added is 0 after scaling."""
    height, width = (-(-side // 32) * 32 for side in picture.shape[:2])
    canvas = np.tile(np.float32(mean), (1, height, width, 1))
    canvas[0, : picture.shape[0], : picture.shape[1]] = picture
    return canvas


def assert_same_objects(found, expected, iou_of, *, most):
    assert len(found) == len(expected["scores"]) > 50
    same = (found.labels[:, None] == expected["labels"]) & (
        np.abs(found.scores[:, None] - expected["scores"]) < 1e-4
    )
    # Scores that are equal to four digits may change places, at the end of the list, too.
    last = expected["scores"].min() + (1e-4 if len(found) == most else 0)
    ours, theirs = found.scores >= last, expected["scores"] >= last
    assert ours.sum() > 0.9 * len(found) and theirs.sum() > 0.9 * len(found)
    overlap = np.where(same, iou_of(found.boxes, expected["boxes"]), 0)
    assert overlap[ours].max(axis=1).min() > 0.999 and overlap[:, theirs].max(axis=0).min() > 0.999


def test_detections_alone_and_in_a_batch(project, iou_by_loops):
    name, arrays, model = project
    # Smaller than 800 and 1333, for time; images of these sizes are not scaled.
    model.input_policy = dataclasses.replace(model.input_policy, size=427, max_size=640)
    images = [*pictures(SIZES[1], 2)]
    layout = LAYOUTS[name]
    rgb_mean = layout.mean[::-1] if layout.is_bgr else layout.mean
    both = model.detect(images)
    for image, *found in ((images[0], both[0], model.detect(images[0])), (images[1], both[1])):
        levels, outputs = forward(layout, arrays, padded(image, rgb_mean))
        expected = detections_of(
            outputs["class"][0],
            outputs["box"][0],
            anchors_of([level.shape[1:3] for level in levels], **ANCHORS[name]),
            image.shape[:2],
            decoded=centre_decoded,
            **DETECTIONS[name],
        )
        for ours in found:
            assert_same_objects(
                ours, expected, iou_by_loops, most=DETECTIONS[name]["max_detections"]
            )
