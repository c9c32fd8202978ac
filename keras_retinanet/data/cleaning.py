"""From what a reader found in annotation files to a clean DetectionDataset: faults of images and
boxes are found here, for all formats alike, and each is either reported or stops the reading."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.faults import is_collecting, note_raw, stop
from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.data.missing_images import MISSING, refuse_missing_images
from keras_retinanet.data.raw_annotations import RawAnnotations

# Boxes that end this much outside the image are rounding, and clipped without a word.
CLIP_TOLERANCE = 1.0
# Pixel coordinates of a whole data set cannot all be this small: they are shares of the image.
# And no share of the image is above it: the box would be in pixels, or lie far outside.
MAX_NORMALIZED = 1.5
# Boxes are cleaned in blocks: what is made on the way then needs little memory.
BLOCK_SIZE = 250_000
BOX_OF_NO_IMAGE = "box of an image that cannot be used"


def clean(
    raw: RawAnnotations, *, decode_images: bool = True, folder: Path | None = None
) -> DetectionDataset:
    """Return the data set without unusable images and boxes; its findings say what was left out.

    Args:
        decode_images: read every image to its end, which finds truncated files.
        folder: the data set's, where missing images are looked for.

    Raises:
        DataError: coordinates are not numbers, or are normalised where pixels are expected or the
            reverse; too many image files are missing.
    """
    findings = list(raw.findings)
    collected = note_raw(raw)
    usable = _refuse_bad_coordinates(raw)
    headers = (collected.read_headers or inspect_images)(
        raw.image_paths, decode=decode_images, on_image=collected.on_image
    )
    missing = [p for p, h in zip(raw.image_paths, headers, strict=True) if h.fault == MISSING]
    refuse_missing_images(raw.source, missing, len(headers), folder)
    for path, header, declared in zip(raw.image_paths, headers, raw.declared_sizes, strict=True):
        if header.fault:
            findings.append(Finding(header.fault, path, "image skipped"))
        elif declared not in (None, (header.height, header.width)):
            problem = "annotated image size differs from the image's (which is trusted)"
            if declared == (header.width, header.height):
                problem += "; is it annotated on its side, without its EXIF orientation?"
            findings.append(Finding(problem, path, "noted"))

    heights = np.array([h.height for h in headers], np.int32)
    widths = np.array([h.width for h in headers], np.int32)
    has_image = np.array([h.fault is None for h in headers], bool)
    is_missing = np.array([h.fault == MISSING for h in headers], bool)
    sizes = np.stack([widths, heights, widths, heights], axis=1)
    keep, boxes = _clean_boxes(raw, usable, sizes, has_image, is_missing, findings)

    order = _order(keep, raw.box_images)
    boxes = boxes[order]
    areas = _areas(raw.areas[order], boxes)
    # Sorted by now: where the boxes of each image begin.
    row_splits = np.searchsorted(raw.box_images[order], np.arange(len(headers) + 1))
    dataset = DetectionDataset(
        image_paths=raw.image_paths,
        image_ids=raw.image_ids,
        heights=heights,
        widths=widths,
        row_splits=row_splits.astype(np.int64),
        boxes=boxes,
        labels=raw.labels[order].astype(np.int32, copy=False),
        is_ignored=raw.is_ignored[order].astype(bool, copy=False),
        areas=areas,
        class_names=raw.class_names,
        category_ids=raw.category_ids,
        findings=findings,
    )
    return dataset if has_image.all() else dataset.select(np.flatnonzero(has_image))


def _order(keep: np.ndarray, box_images: np.ndarray) -> np.ndarray | slice:
    """Return which boxes stay, image by image: all of them as they are, or their rows."""
    is_sorted = all(
        not (np.diff(box_images[start : start + BLOCK_SIZE + 1]) < 0).any()
        for start in range(0, len(box_images), BLOCK_SIZE)
    )
    if is_sorted and keep.all():
        return slice(None)  # no copies, of which millions of boxes would need as much again
    order = np.flatnonzero(keep)
    return order if is_sorted else order[np.argsort(box_images[order], kind="stable")]


def _areas(areas: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return float32 areas [T]: the box's own where the annotations give none."""
    result = np.empty(len(boxes), np.float32)
    for start in range(0, len(boxes), BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        # Neither NaN nor absurd.
        has_area = (areas[block] >= 0) & (areas[block] <= np.finfo(np.float32).max)
        sides = boxes[block, 2:] - boxes[block, :2]
        result[block] = np.where(has_area, areas[block], sides.prod(axis=1))
    return result


def mend_swapped_corners(boxes: np.ndarray, describe_box: Callable[[int], str]) -> list[Finding]:
    """Put the corners of boxes [T, 4] in order, in place, for readers of formats that have corners.

    Boxes that are flat on one side are left as they are: `clean` drops them.
    """
    swapped = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    swapped &= (boxes[:, 2] != boxes[:, 0]) & (boxes[:, 3] != boxes[:, 1])
    swapped &= np.isfinite(boxes).all(axis=1)
    low = np.minimum(boxes[swapped, :2], boxes[swapped, 2:])
    high = np.maximum(boxes[swapped, :2], boxes[swapped, 2:])
    boxes[swapped] = np.concatenate([low, high], axis=1)
    return [
        Finding("corners of a box are swapped", describe_box(int(t)), "box mended")
        for t in np.flatnonzero(swapped)
    ]


def _refuse_bad_coordinates(raw: RawAnnotations) -> np.ndarray:
    """Return which boxes are of numbers [T]; while faults are collected, that may not be all."""
    usable = np.isfinite(raw.boxes).all(axis=1)
    broken = np.flatnonzero(~usable)
    for t in broken if is_collecting() else broken[:1]:
        where = raw.describe_box(int(t))
        stop(
            "box with NaN or infinite coordinates",
            where,
            f"{where}: the box {raw.boxes[t].tolist()} holds NaN or "
            f"infinity ({len(broken)} such boxes): correct the annotations",
        )
    if not usable.any():
        return usable
    is_large = np.zeros(len(raw.boxes), bool)
    for start in range(0, len(raw.boxes), BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        is_large[block] = (np.abs(raw.boxes[block]) > MAX_NORMALIZED).any(axis=1) & usable[block]
    if raw.boxes_normalized and is_large.any():
        first = int(is_large.argmax())
        where = raw.describe_box(first)
        stop(
            "boxes in pixels where shares of the image are expected",
            where,
            f"{where}: the box {raw.boxes[first].tolist()} has a coordinate "
            f"above {MAX_NORMALIZED} ({int(is_large.sum())} such boxes) where shares of the "
            "image's width and height are expected: divide by the sizes",
        )
    if not raw.boxes_normalized and not is_large.any():
        where = raw.describe_box(int(np.argmax(usable)))
        stop(
            "boxes look normalised where pixels are expected",
            where,
            f"{where}: boxes look normalised (of {len(raw.boxes)}, none has a "
            f"coordinate above {MAX_NORMALIZED}) where pixels are expected: multiply by the sizes",
        )
    return usable


def _clean_boxes(
    raw: RawAnnotations,
    usable: np.ndarray,
    sizes: np.ndarray,
    has_image: np.ndarray,
    is_missing: np.ndarray,
    findings: list[Finding],
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the usable boxes to keep [T], and all boxes as float32 pixels within their
    images [T, 4].

    Boxes of a damaged image are looked at, too, if its size is known.

    Args:
        sizes: [N, 4] width, height, width, height of the images, 0 where unknown.
        has_image, is_missing: [N], whether an image can be used, and whether there is no file.
    """
    has_size = sizes[:, 0] > 0
    if is_missing.any():
        num_missing = int(is_missing[raw.box_images].sum())
        if num_missing:
            where = f"{raw.source}: {num_missing}"
            findings.append(Finding("boxes of missing images", where, "box dropped"))
    keep = has_image[raw.box_images]
    keep &= usable

    def report(mask: np.ndarray, start: int, problem: str, action: str) -> None:
        for t in start + np.flatnonzero(mask):
            findings.append(Finding(problem, raw.describe_box(int(t)), action))

    def is_flat(boxes: np.ndarray) -> np.ndarray:
        return (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])

    result = np.empty((len(raw.boxes), 4), np.float32)
    for start in range(0, len(raw.boxes), BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        images = raw.box_images[block]
        limits, is_sized = sizes[images], has_size[images] & usable[block]
        boxes = raw.boxes[block].astype(np.float64)
        if raw.boxes_normalized:
            boxes *= limits
        clipped = np.clip(boxes, 0, limits)
        outside = is_flat(clipped) & ~is_flat(boxes) & is_sized
        # In float32 the corners of a tiny box may be one.
        flat = is_flat(clipped.astype(np.float32)) & ~outside & is_sized
        report(flat, start, "box of zero or negative size", "box dropped")
        report(outside, start, "box outside the image", "box dropped")
        moved = np.abs(clipped - boxes).max(axis=1, initial=0) > CLIP_TOLERANCE
        moved &= keep[block] & ~flat & ~outside
        report(moved, start, "box reaches out of the image", "box clipped")
        lost = ~has_image[images] & ~is_missing[images] & usable[block] & ~flat & ~outside
        report(lost, start, BOX_OF_NO_IMAGE, "box dropped")
        result[block] = clipped
        keep[block] &= ~flat & ~outside
    return keep, result
