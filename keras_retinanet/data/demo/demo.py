"""Owns the demo data set: synthetic pictures of five kinds of objects, in COCO format."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.demo.shapes import (
    draw_background,
    draw_distractors,
    draw_sprite,
    photograph,
)

CATEGORIES = {1: "coin", 3: "screw", 4: "gear", 7: "leaf", 9: "donut"}  # ids with gaps, as in COCO

LONG_SIDE, SHORT_SIDE = (288, 352), (208, 272)  # pixels of an image, upright or lying
OBJECT_SIDE = (44, 110)  # pixels, longer axis; few tiny ones: minutes of training must do
SLIM_OBJECT_SIDE = (64, 120)  # screw and leaf: their shorter axis is half of it or less
NUM_OBJECTS = (3, 8)
TRIES_PER_OBJECT = 4
MIN_VISIBLE = 0.5  # the share of an object that must be in sight; below, its box is guesswork
MIN_VISIBLE_SIDE = 12  # pixels; a thin rest of a covered object is no example of its class
EMPTY_EVERY, EMPTY_INDEX = 25, 4  # images 4, 29, 54, … of a split show no object
CROWD_INDEX = 2  # this image of each split holds the crowd region
CROWD_TRIES, CROWD_SIDE = 40, (18, 28)  # about half of the tries find room
CROWD_SPREAD = 17.0  # pixels, standard deviation: members touch and overlap
IDS_PER_SPLIT = 100_000  # ids stay unique when the splits are merged
DATA_YAML = """\
format: coco
splits:
  train: {images: images/train, annotations: annotations/train.json}
  val: {images: images/val, annotations: annotations/val.json}
"""


def write_demo_dataset(
    folder: Path, *, num_train: int = 320, num_val: int = 80, seed: int = 0
) -> Path:
    """Write images/{train,val}/*.jpg, annotations/{train,val}.json (COCO) and data.yaml.

    The folder is renamed once, as a whole: it is there with all its files or not at all.

    Returns:
        The path of data.yaml.

    Raises:
        ValueError: a split would be empty.
        FileExistsError: the folder is not empty.
    """
    folder = Path(folder).absolute()
    if min(num_train, num_val) < 1:
        raise ValueError(
            f"num_train and num_val must be 1 or more, got {num_train} and {num_val}: raise them."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} exists and is not an empty folder: choose another folder or remove it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        build = Path(scratch) / folder.name  # the scratch folder is private (0700), its child not
        for split_index, (split, count) in enumerate({"train": num_train, "val": num_val}.items()):
            _write_split(build, split, split_index, count, seed)
        (build / "data.yaml").write_text(DATA_YAML, encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # empty, as checked above; Windows cannot rename onto a folder
        os.replace(build, folder)
    return folder / "data.yaml"


def _write_split(build: Path, split: str, split_index: int, count: int, seed: int) -> None:
    """Write the images and the annotation file of one split below `build`."""
    (build / "images" / split).mkdir(parents=True)
    (build / "annotations").mkdir(exist_ok=True)
    coco: dict[str, Any] = {
        "info": {"description": f"keras_retinanet demo data, {split}, seed {seed}"},
        "images": [],
        "annotations": [],
        "categories": [
            {"id": i, "name": name, "supercategory": "thing"} for i, name in CATEGORIES.items()
        ],
    }

    for index in range(count):
        # A stream per image: a larger or smaller set begins with the same pictures.
        rng = np.random.default_rng([seed, split_index, index])
        scene = draw_scene(rng, index)
        image_id = split_index * IDS_PER_SPLIT + index + 1
        name = f"{split}_{index:05d}.jpg"
        height, width = scene.owner.shape
        (build / "images" / split / name).write_bytes(photograph(scene.pixels, rng))
        coco["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        for fields in scene.annotations():
            annotation_id = split_index * IDS_PER_SPLIT + len(coco["annotations"]) + 1
            coco["annotations"].append({"id": annotation_id, "image_id": image_id, **fields})
    (build / "annotations" / f"{split}.json").write_text(json.dumps(coco), encoding="utf-8")


class Scene:
    """One picture in the making.

    Attributes:
        pixels: float32 [H, W, 3].
        owner: int32 [H, W], for each pixel the number (from 1) of the object in sight there, 0 for
            the background.
        category_ids, full_areas, is_crowd: of each object; areas in pixels, hidden ones included.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.owner: np.ndarray = np.zeros(pixels.shape[:2], np.int32)
        self.category_ids: list[int] = []
        self.full_areas: list[int] = []
        self.is_crowd: list[bool] = []

    def add(
        self,
        category_id: int,
        side: float,
        centre: tuple[float, float],
        light: float,
        rng: np.random.Generator,
    ) -> bool:
        """Draw an object on top, unless that hides too much of it or of an earlier one.

        Args:
            side: of the object's longer axis, in pixels.
            centre: (x, y) in pixels.
            light: direction the light comes from, in radians.

        Returns:
            Whether it was drawn.
        """
        alpha, colour, shadow = draw_sprite(CATEGORIES[category_id], side, light, rng)
        window, crop = _overlap(alpha.shape, centre, self.owner.shape)
        owner = self.owner.copy()
        owner[window][alpha[crop] > 0.5] = len(self.category_ids) + 1
        full_areas = [*self.full_areas, int(np.count_nonzero(alpha > 0.5))]
        for number, full_area in enumerate(full_areas, start=1):
            *_, width, height, area = _extent(owner == number)
            if area < MIN_VISIBLE * full_area or min(width, height) < MIN_VISIBLE_SIDE:
                return False
        self.owner, self.full_areas = owner, full_areas
        self.category_ids.append(category_id)
        self.is_crowd.append(False)
        view, cover = self.pixels[window], alpha[crop][..., None]
        view *= 1 - shadow[crop][..., None]
        view += cover * (colour[crop] - view)
        return True

    def merge_into_crowd(self) -> None:
        """Make one crowd region of all objects so far; they must be of one category."""
        self.owner = np.minimum(self.owner, 1)
        self.category_ids, self.is_crowd = self.category_ids[:1], [True]
        self.full_areas = [int(np.count_nonzero(self.owner))]

    def annotations(self) -> Iterator[dict[str, Any]]:
        """Yield COCO's fields of each object, ids left out; boxes are tight on what is in sight."""
        for index, category_id in enumerate(self.category_ids):
            mask = self.owner == index + 1
            x, y, width, height, area = _extent(mask)
            right, bottom = x + width, y + height
            yield {
                "category_id": category_id,
                "bbox": [float(x), float(y), float(width), float(height)],
                "area": area,
                "iscrowd": int(self.is_crowd[index]),
                "segmentation": _run_lengths(mask)
                if self.is_crowd[index]
                else [[x, y, right, y, right, bottom, x, bottom]],
            }


def draw_scene(rng: np.random.Generator, index: int) -> Scene:
    """Return the picture at `index` of a split, before the camera's blur and noise."""
    sides = (
        int(rng.integers(*LONG_SIDE, endpoint=True)),
        int(rng.integers(*SHORT_SIDE, endpoint=True)),
    )
    width, height = sides if rng.random() < 0.5 else sides[::-1]
    scene = Scene(draw_distractors(draw_background(height, width, rng), rng))
    light = rng.uniform(0, 2 * math.pi)
    if index == CROWD_INDEX:
        _add_crowd(scene, light, rng)
    if index % EMPTY_EVERY == EMPTY_INDEX:
        return scene
    wanted = len(scene.category_ids) + rng.integers(*NUM_OBJECTS, endpoint=True)
    for _ in range(wanted * TRIES_PER_OBJECT):
        if len(scene.category_ids) == wanted:
            break
        category_id = int(rng.choice(list(CATEGORIES)))
        slim = CATEGORIES[category_id] in ("screw", "leaf")
        side = rng.uniform(*(SLIM_OBJECT_SIDE if slim else OBJECT_SIDE))
        margin = 0.2 * side  # some objects are cut off by the border of the image
        centre = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        scene.add(category_id, side, centre, light, rng)
    return scene


def _add_crowd(scene: Scene, light: float, rng: np.random.Generator) -> None:
    """Add a heap of small objects of one category, too close together to box one by one."""
    height, width = scene.owner.shape
    category_id = int(rng.choice([i for i, name in CATEGORIES.items() if name in ("coin", "gear")]))
    middle = rng.uniform(0.3, 0.7, 2) * (width, height)
    for _ in range(CROWD_TRIES):
        x, y = rng.normal(middle, CROWD_SPREAD).tolist()
        scene.add(category_id, rng.uniform(*CROWD_SIDE), (x, y), light, rng)
    scene.merge_into_crowd()


def _extent(mask: np.ndarray) -> tuple[int, int, int, int, int]:
    """Return x, y, width and height of the tight box around a mask [H, W], and its pixel count;
    zeros if it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return 0, 0, 0, 0, 0
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y, int(np.count_nonzero(mask))


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's uncompressed RLE: lengths of runs in column order, the first of background."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]])
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


def _overlap(
    sprite_shape: tuple[int, ...], centre: tuple[float, float], image_shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of the image and of the sprite where a sprite centred at (x, y) lies on the
    image; shapes are (height, width)."""
    window, crop = [], []
    for size, middle, limit in zip(sprite_shape, centre[::-1], image_shape, strict=True):
        start = round(middle) - size // 2
        low, high = max(start, 0), max(min(start + size, limit), 0)
        window.append(slice(low, high))
        crop.append(slice(low - start, max(high - start, low - start)))
    return tuple(window), tuple(crop)
