"""An imported model computes and detects what the file's own project does."""

import dataclasses
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import pytest

from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.weights.import_weights import import_weights
from tests.weights import fizyr_network, reference_networks
from tests.weights.parity_checks import assert_close, assert_same_objects, pictures
from tests.weights.reference_detections import (
    anchors_of,
    centre_decoded,
    corner_decoded,
    detections_of,
)
from tests.weights.reference_networks import DETECTRON2, MMDETECTION
from tests.weights.torch_writer import write_torch

NUM_CLASSES = 7
TORCH_LAYOUTS = {"detectron2": DETECTRON2, "mmdetection": MMDETECTION}
ANCHORS = {
    "detectron2": {"order": "scale", "offset": 0},
    "mmdetection": {"order": "ratio", "offset": 0},
    "fizyr": {"order": "ratio", "offset": 0.5},
}
CENTRE = {"decoded": centre_decoded, "drop_empty": True, "max_detections": 100}
DETECTIONS = {
    "detectron2": {"clip": "after_nms", **CENTRE},
    "mmdetection": {"clip": "before_nms", **CENTRE},
    "fizyr": {
        "decoded": corner_decoded,
        "clip": "before_nms",
        "drop_empty": False,
        "max_detections": 300,
        "top_k": None,
    },
}
# The second is odd: what mmdetection and Detectron2 pad to a multiple of 32 is not padded here.
SIZES = [(256, 320), (427, 640)]


@dataclasses.dataclass
class Project:
    """A project's name, its network of a file's arrays, and the imported model."""

    name: str
    forward: Callable  # images -> P3 ... P7, deltas, logits
    padded: Callable  # an image -> the network's input
    model: RetinaNet


@pytest.fixture(scope="module", params=ANCHORS)
def project(request, tmp_path_factory):
    name, rng = request.param, np.random.default_rng(0)
    file = tmp_path_factory.mktemp("files") / "model"
    if name == "fizyr":
        arrays = fizyr_network.random_arrays(NUM_CLASSES, rng)
        fizyr_network.write_h5(file, arrays)
        forward, padded = partial(fizyr_network.forward, arrays), lambda image: image[None]
    else:
        pytest.importorskip("torch", reason="a reference in torch: pip install torch")
        layout = TORCH_LAYOUTS[name]
        arrays = reference_networks.random_arrays(layout, NUM_CLASSES, rng)
        write_torch(file, arrays)
        forward = partial(reference_networks.forward, layout, arrays)
        padded = partial(padded_to_32, mean=layout.mean[::-1] if layout.is_bgr else layout.mean)
    imported = import_weights(file)
    assert imported.source == name and not imported.left_out
    return Project(name, forward, padded, imported.model)


@pytest.fixture(scope="module")
def network(project):
    """The imported model, with the outputs P3 ... P7, deltas and logits."""
    model = project.model
    names = [*(f"fpn_output_p{i}" for i in (3, 4, 5)), "fpn_p6", "fpn_p7"]
    levels = [model.get_layer(name).output for name in names]
    outputs = [model.output[name] for name in ("box_deltas", "class_logits")]
    return keras.Model(model.input, [*levels, *outputs])


@pytest.mark.parametrize("size", SIZES)
def test_pyramid_logits_deltas_and_anchors(project, network, size):
    batch = pictures(size, 2)
    levels, deltas, logits = project.forward(batch)
    assert np.std(logits) > 0.1 and np.std(deltas) > 0.05
    for count in (1, 2):
        for ours, theirs in zip(network(batch[:count]), [*levels, deltas, logits], strict=True):
            assert_close(ours, theirs[:count])
    expected = anchors_of([level.shape[1:3] for level in levels], **ANCHORS[project.name])
    found = project.model.anchor_generator(*size)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-4)


def padded_to_32(picture, mean):
    """Return what a project makes of an image: whole 32s, what is added is 0 after scaling."""
    height, width = (-(-side // 32) * 32 for side in picture.shape[:2])
    canvas = np.tile(np.float32(mean), (1, height, width, 1))
    canvas[0, : picture.shape[0], : picture.shape[1]] = picture
    return canvas


def test_detections_alone_and_in_a_batch(project, iou_by_loops):
    model, settings = project.model, DETECTIONS[project.name]
    # Smaller than 800 and 1333, for time; images of these sizes are not scaled.
    model.input_policy = dataclasses.replace(model.input_policy, size=427, max_size=640)
    images = [*pictures(SIZES[1], 2)]
    both = model.detect(images)
    for image, *found in ((images[0], both[0], model.detect(images[0])), (images[1], both[1])):
        levels, deltas, logits = project.forward(project.padded(image))
        anchors = anchors_of([level.shape[1:3] for level in levels], **ANCHORS[project.name])
        expected = detections_of(logits[0], deltas[0], anchors, image.shape[:2], **settings)
        for ours in found:
            assert_same_objects(ours, expected, iou_by_loops, most=settings["max_detections"])
