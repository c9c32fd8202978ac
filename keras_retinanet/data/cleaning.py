"""From what a reader found in annotation files to a clean DetectionDataset: faults of images and
boxes are found here, for all formats alike, and each is either reported or stops the reading."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.faults import is_collecting, note_raw, stop
from keras_retinanet.data.image_files import inspect_images

# Above this share of missing files, the folder is wrong and not the files.
MAX_MISSING_SHARE = 0.1
# Boxes that end this much outside the image are rounding, and clipped without a word.
CLIP_TOLERANCE = 1.0
# Pixel coordinates of a whole data set cannot all be this small: they are shares of the image.
MAX_NORMALIZED = 1.5


@dataclass
class RawAnnotations:
    """What the annotation files of a split say, unchecked.

    Attributes:
        source: names the data set in messages.
        image_paths, image_ids: N each.
        declared_sizes: N (height, width) as annotated, or None.
        box_images: [T] int64, the image of each box.
        boxes: [T, 4] float64 xyxy.
        labels, is_crowd: [T].
        areas: [T], NaN where the file gives none.
        describe_box: says where box t is written.
        findings: what the reader itself found.
    """

    source: str
    image_paths: list[str]
    image_ids: list[int | str]
    declared_sizes: Sequence[tuple[int, int] | None]
    box_images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    describe_box: Callable[[int], str]
    findings: list[Finding] = field(default_factory=list)


def clean(raw: RawAnnotations, *, decode_images: bool = True) -> DetectionDataset:
    """Return the data set without unusable images and boxes; its findings say what was left out.

    Args:
        decode_images: read every image to its end, which finds truncated files.

    Raises:
        DataError: coordinates are not numbers, or are not pixels; too many image files are missing.
    """
    findings = list(raw.findings)
    on_image = note_raw(raw)
    usable = _refuse_bad_coordinates(raw)
    headers = inspect_images(raw.image_paths, decode=decode_images, on_image=on_image)
    _refuse_missing_folder(raw, [h.fault for h in headers])
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
    keep, boxes = _clean_boxes(raw, usable, heights, widths, has_image, findings)

    order = np.flatnonzero(keep)[np.argsort(raw.box_images[keep], kind="stable")]
    counts = np.bincount(raw.box_images[order], minlength=len(headers))
    boxes = boxes[order].astype(np.float32)
    areas = raw.areas[order]
    sides = boxes[:, 2:] - boxes[:, :2]
    dataset = DetectionDataset(
        image_paths=raw.image_paths,
        image_ids=raw.image_ids,
        heights=heights,
        widths=widths,
        row_splits=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=boxes,
        labels=raw.labels[order].astype(np.int32),
        is_crowd=raw.is_crowd[order].astype(bool),
        areas=np.where(np.isnan(areas), sides.prod(axis=1), areas).astype(np.float32),
        class_names=raw.class_names,
        category_ids=raw.category_ids,
        findings=findings,
    )
    return dataset if has_image.all() else dataset.select(np.flatnonzero(has_image))


def _refuse_bad_coordinates(raw: RawAnnotations) -> np.ndarray:
    """Return which boxes are of numbers [T]; while faults are collected, that may not be all."""
    usable = np.isfinite(raw.boxes).all(axis=1)
    broken = np.flatnonzero(~usable)
    for t in broken if is_collecting() else broken[:1]:
        where = raw.describe_box(t)
        stop(
            "box with NaN or infinite coordinates",
            where,
            f"{where}: the box {raw.boxes[t].tolist()} holds NaN or "
            f"infinity ({len(broken)} such boxes): correct the annotations",
        )
    if usable.any() and np.abs(raw.boxes[usable]).max() <= MAX_NORMALIZED:
        where = raw.describe_box(int(np.argmax(usable)))
        stop(
            "boxes look normalised where pixels are expected",
            where,
            f"{where}: boxes look normalised (of {len(raw.boxes)}, none has a "
            f"coordinate above {MAX_NORMALIZED}) where pixels are expected: multiply by the sizes",
        )
    return usable


def _refuse_missing_folder(raw: RawAnnotations, faults: list[str | None]) -> None:
    missing = [p for p, f in zip(raw.image_paths, faults, strict=True) if f and "missing" in f]
    if len(missing) > MAX_MISSING_SHARE * len(faults):
        stop(
            "many image files are missing: is the folder right?",
            f"{raw.source}: {len(missing)} of {len(faults)}",
            f"{raw.source}: {len(missing)} of {len(faults)} image files are missing: is the folder "
            f"right? {', '.join(missing)}",
        )


def _clean_boxes(
    raw: RawAnnotations,
    usable: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    has_image: np.ndarray,
    findings: list[Finding],
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the usable boxes to keep [T], and all clipped to their images [T, 4]."""
    image = raw.box_images
    keep = has_image[image]
    if not keep.all():
        lost = int((~keep).sum())
        findings.append(Finding("boxes of skipped images", f"{raw.source}: {lost}", "box dropped"))
    keep &= usable

    def report(mask: np.ndarray, problem: str, action: str) -> None:
        for t in np.flatnonzero(mask & keep):
            findings.append(Finding(problem, raw.describe_box(t), action))

    def is_flat(boxes: np.ndarray) -> np.ndarray:
        return (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])

    flat = is_flat(raw.boxes)
    report(flat, "box of zero or negative size", "box dropped")
    limits = np.stack([widths, heights, widths, heights], axis=1)[image]
    clipped = np.clip(raw.boxes, 0, limits)
    outside = is_flat(clipped) & ~flat
    report(outside, "box outside the image", "box dropped")
    moved = np.abs(clipped - raw.boxes).max(axis=1, initial=0) > CLIP_TOLERANCE
    report(moved & ~flat & ~outside, "box reaches out of the image", "box clipped")
    return keep & ~flat & ~outside, clipped
