"""TiledDetector: any detector on images that are cut into tiles, merged by one NMS."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling
from keras_retinanet.models.retinanet import RetinaNet

# A box that ends at an inner edge is a part of another one of its class that covers this share.
PART_SHARE = 0.8
_TILES_AT_ONCE = 8


def with_tiles(detector: Detector, tiling: Tiling | None = None) -> Detector:
    """Return a detector that cuts images as `tiling` says, or else as its model does."""
    chosen = detector.tiling if tiling is None else tiling
    return detector if chosen.size is None else TiledDetector(detector, chosen)


def detector_for(model: RetinaNet | Detector) -> Detector:
    """Return a model's detector, which cuts images where the model does; a detector as it is."""
    return with_tiles(KerasDetector(model)) if isinstance(model, RetinaNet) else model


def tiling_in_use(detector: Detector) -> Tiling:
    """Return how a detector cuts images, which is not always as its model says."""
    if isinstance(detector, TiledDetector):
        return detector.tiling
    return getattr(detector, "tiling_inside", WHOLE_IMAGES)


class TiledDetector:
    """A detector that sees each tile of an image as an image of its own.

    Boxes that an edge inside of the image cuts off are left to the neighbour that sees more of
    them, see `Tiling.seen_better`; of an object larger than the overlap, of which no tile sees all,
    the parts that lie within another box of their class are left out. What remains goes, moved to
    its place, through one NMS for each class, with the model's IoU threshold and number of
    detections.

    An image's tiles never share a batch with another image's, so that its detections depend on no
    other image. In memory are the decoded image and a batch of tiles.
    """

    def __init__(self, detector: Detector, tiling: Tiling) -> None:
        self.detector = detector
        self.tiling = tiling
        self.class_names = detector.class_names
        self.inference: InferenceSettings = detector.inference

    def prepare(self) -> None:
        self.detector.prepare()

    def detect_pixels(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._detect(image, _TILES_AT_ONCE) for image in images]

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        self.prepare()
        for index, path in enumerate(image_paths):
            yield index, self._detect(read_pixels(path), batch_size)

    def detect_images(
        self,
        load: Callable[[Tensor], Tensor],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        """Yield (index, detections) as `NetworkDetector.detect_images` does."""
        self.prepare()
        for index in range(len(heights)):
            yield index, self._detect(load(tf.constant(index)).numpy(), batch_size)

    def batch_plan(
        self, heights: np.ndarray, widths: np.ndarray, *, batch_size: int
    ) -> list[np.ndarray]:
        return [np.array([index]) for index in range(len(heights))]

    def _detect(self, pixels: np.ndarray, batch_size: int) -> Detections:
        height, width = pixels.shape[:2]
        tiles = self.tiling.tiles(height, width)
        if len(tiles) == 1:
            return self.detector.detect_pixels([pixels])[0]
        parts: list[Detections] = []
        for start in range(0, len(tiles), batch_size):
            batch = tiles[start : start + batch_size]
            found = self.detector.detect_pixels([pixels[t[1] : t[3], t[0] : t[2]] for t in batch])
            parts += [self._moved(f, t, height, width) for t, f in zip(batch, found, strict=True)]
        together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return merged(_without_parts(together), self.inference)

    def _moved(self, found: Detections, tile: np.ndarray, height: int, width: int) -> Detections:
        """Return a tile's detections in pixels of the image, with "is_cut", and without those that
        a neighbour sees better."""
        boxes = found["boxes"] + np.tile(tile[:2], 2)
        kept = ~self.tiling.seen_better(boxes, tile, height, width)
        return {
            "boxes": boxes[kept],
            "scores": found["scores"][kept],
            "classes": found["classes"][kept],
            "is_cut": self.tiling.is_cut(boxes[kept], tile, height, width),
        }


def merged(found: Detections, inference: InferenceSettings) -> Detections:
    """Return the best `max_detections` that NMS leaves, by default within each class."""
    boxes, scores, classes = (found[name] for name in ("boxes", "scores", "classes"))
    kept = [np.zeros(0, np.int64)]
    groups = np.zeros_like(classes) if inference.nms_across_classes else classes
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        index = tf.image.non_max_suppression(
            boxes[rows].astype(np.float32),
            scores[rows].astype(np.float32),
            inference.max_detections,
            inference.nms_iou_threshold,
        )
        kept.append(rows[index.numpy()])
    rows = np.concatenate(kept)
    rows = rows[np.argsort(-scores[rows], kind="stable")][: inference.max_detections]
    return {"boxes": boxes[rows], "scores": scores[rows], "classes": classes[rows]}


def _without_parts(found: Detections) -> Detections:
    """Leave out the boxes cut by an edge that lie within a larger one of their class."""
    boxes, classes = found["boxes"], found["classes"]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    is_part = np.zeros(len(boxes), bool)
    for row in np.flatnonzero(found["is_cut"]):
        sides = np.minimum(boxes[:, 2:], boxes[row, 2:]) - np.maximum(boxes[:, :2], boxes[row, :2])
        common = np.maximum(sides, 0).prod(axis=1)
        holds = (common >= PART_SHARE * areas[row]) & (areas > areas[row])
        # One that is much less sure is no reason.
        holds &= (classes == classes[row]) & (2 * found["scores"] >= found["scores"][row])
        is_part[row] = bool(holds.any())
    return {name: value[~is_part] for name, value in found.items()}
