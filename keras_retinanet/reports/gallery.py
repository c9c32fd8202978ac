"""A sample of a data set to look at: images with their objects, as annotated or as trained on, with
the anchors that find them; drawn as a sheet (PNG)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.conventions import NEGATIVE_IOU, POSITIVE_IOU
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.address import image_name
from keras_retinanet.data.pipeline.targets import NO_LABEL, Matching, make_targets
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy


@dataclass
class Picture:
    """An image to be shown with its objects.

    Attributes:
        image: RGB.
        title: for example the file's name.
        caption: what else is to be read below it.
        boxes: [n, 4] xyxy in pixels of the image.
        labels: [n]; is_ignored: [n], regions that are neither trained nor background.
        anchors: [m, 4] anchors that find an object, and anchor_objects [m], which; None if they
            were not looked for.
        remarks: what is wrong with it.
    """

    image: Image.Image
    title: str
    caption: str
    boxes: np.ndarray
    labels: np.ndarray
    is_ignored: np.ndarray
    anchors: np.ndarray | None = None
    anchor_objects: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def is_unmatched(self) -> np.ndarray:
        """Which objects no anchor matches [n]; none of them if anchors were not looked for."""
        if self.anchor_objects is None:
            return np.zeros(len(self.boxes), bool)
        has_anchor = np.isin(np.arange(len(self.boxes)), self.anchor_objects)
        return ~has_anchor & ~self.is_ignored


def annotated_picture(
    dataset: DetectionDataset, index: int, remarks: Sequence[str] = ()
) -> Picture:
    """Return an image as it is annotated; raises DataError where it cannot be decoded."""
    rows, pixels = dataset.rows(index), dataset.read_image(index)
    size = pixels.shape[1], pixels.shape[0]
    is_ignored = dataset.is_ignored[rows]
    return Picture(
        image=Image.fromarray(pixels),
        title=image_name(dataset.image_paths[index]),
        caption=_caption(size, ~is_ignored, is_ignored),
        boxes=dataset.boxes[rows].astype(np.float64),
        labels=dataset.labels[rows],
        is_ignored=is_ignored,
        remarks=list(remarks),
    )


def with_anchors(
    picture: Picture,
    *,
    anchor_generator: AnchorGenerator,
    input_policy: InputPolicy,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: bool | str = False,
    matching: Matching | None = None,
) -> Picture:
    """Return a picture with the anchors that training would give its objects.

    Args:
        positive_iou, negative_iou, force_match, matching: see `make_targets`.
    """
    width, height = picture.image.size
    scaled = [int(side) for side in input_policy.scaled_size(np.int32(height), np.int32(width))]
    canvas = [int(side) for side in input_policy.canvas_size(*map(np.int32, scaled))]
    scale = np.array([scaled[1] / width, scaled[0] / height] * 2)
    boxes = (picture.boxes * scale).astype(np.float32)
    objects = np.flatnonzero(~picture.is_ignored)
    targets = make_targets(
        boxes.reshape(-1, 4),
        picture.labels,
        is_ignored=picture.is_ignored,
        anchor_generator=anchor_generator,
        height=canvas[0],
        width=canvas[1],
        max_objects=len(objects),
        positive_iou=positive_iou,
        negative_iou=negative_iou,
        force_match=force_match,
        matching=matching,
    )
    matches = targets["matches"].numpy()
    anchors = np.asarray(anchor_generator(*canvas))[matches >= 0] / scale
    return replace(picture, anchors=anchors, anchor_objects=objects[matches[matches >= 0]])


def network_pictures(
    batches: tf.data.Dataset,
    titles: Sequence[str],
    anchor_generator: AnchorGenerator | None,
) -> list[Picture]:
    """Return what a network sees: inputs of training batches, padding included.

    Args:
        titles: one for each picture; as many are made.
        anchor_generator: adds the anchors of the batches' own matches.
    """
    pictures: list[Picture] = []
    for images, targets in batches.as_numpy_iterator():
        for i, pixels in enumerate(images):
            if len(pictures) == len(titles):
                return pictures
            is_object = targets["gt_labels"][i] != NO_LABEL
            boxes = targets["gt_boxes"][i][is_object].astype(np.float64)
            picture = Picture(
                image=Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)),
                title=titles[len(pictures)],
                caption=_caption(pixels.shape[1::-1], is_object[is_object], is_object[:0])
                + ", the network's input",
                boxes=boxes,
                labels=targets["gt_labels"][i][is_object],
                is_ignored=np.zeros(len(boxes), bool),
            )
            if anchor_generator is not None:
                matches = targets["matches"][i]
                picture.anchors = np.asarray(anchor_generator(*pixels.shape[:2]))[matches >= 0]
                picture.anchor_objects = matches[matches >= 0]
            pictures.append(picture)
    return pictures


def _caption(size: Sequence[int], objects: np.ndarray, ignored: np.ndarray) -> str:
    count = int(objects.sum())
    text = f"{size[0]} x {size[1]}, {count} object{'' if count == 1 else 's'}"
    return text + (f", {int(ignored.sum())} ignored" if ignored.any() else "")
