"""What predict writes beside pictures: JSON, COCO, YOLO, CSV, and the objects cut out."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import Finding
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.shards.part_file import PART

PREDICTIONS = "predictions.json"
COCO, CSV_FILE, YOLO = "predictions_coco.json", "predictions.csv", "labels"
PICTURES, CROPS, VIDEOS = "images", "crops", "videos"
FORMATS = ("json", "coco", "yolo", "csv")
TEXT_NAMES = (PREDICTIONS, COCO, CSV_FILE, YOLO)
# All that predict may write into a folder.
NAMES = (*TEXT_NAMES, PICTURES, CROPS, VIDEOS)
# Shows that these are predict's: a data set has images/ and labels/, too.
_MARKER = ".retinanet-predictions"


@dataclass(frozen=True)
class Wanted:
    """Which detections are to be shown and kept.

    Attributes:
        min_score: those below it are not: one for all classes, or one of each.
        labels: of the classes that are wanted.
        keep_all: files, and not pictures, have those below `min_score`, too.
    """

    min_score: float | Sequence[float]
    labels: Sequence[int]
    keep_all: bool = False

    def masks(self, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return which detections pictures show [n], and which files keep [n]."""
        is_wanted = np.isin(found["classes"], self.labels)
        limits = np.asarray(self.min_score)
        shown = is_wanted & (
            found["scores"] >= (limits[found["classes"]] if limits.ndim else limits)
        )
        return shown, is_wanted if self.keep_all else shown


@dataclass(frozen=True)
class ImagePrediction:
    """An image, and what was found in it.

    Attributes:
        file: a path or a URL, as it was given.
        place: its path below the folder it was found in; outputs take it, too.
        boxes: [n, 4] xyxy in pixels of the upright image.
        labels, scores: [n].
    """

    file: str | Path
    place: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def rows(self) -> list[tuple[int, float, list[float]]]:
        """Return label, score and box of each detection, as files hold them."""
        return detection_rows(self.labels, self.scores, self.boxes)


def detection_rows(
    labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> list[tuple[int, float, list[float]]]:
    """Return label, score and box of each detection, as files hold them."""
    return [
        (int(label), round(float(score), 6), [round(float(v), 2) for v in box])
        for label, score, box in zip(labels, scores, boxes, strict=True)
    ]


def refuse_earlier(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds what predict would write, but for an earlier call's predictions
    that `overwrite` gives up.

    Raises:
        ConfigError: it does.
    """
    earlier = _earlier(output)
    _refuse_of_others(output, earlier)
    if earlier and not overwrite:
        raise ConfigError(
            f"{output} holds predictions of an earlier call ({earlier[0].name}): name another "
            "folder, or give --overwrite to replace them"
        )


def _refuse_of_others(output: Path, found: Sequence[Path]) -> None:
    if found and not (output / _MARKER).is_file():
        raise ConfigError(
            f"{output} holds {found[0].name}, which predict has not written: name another folder"
        )


def _earlier(output: Path) -> list[Path]:
    return [output / name for name in NAMES if (output / name).exists()]


def make_place(output: Path) -> None:
    """Make the folder of predictions, or remove those of an earlier call from it."""
    output.mkdir(parents=True, exist_ok=True)
    if not _earlier(output):
        (output / _MARKER).touch()
    for path in _earlier(output) if (output / _MARKER).is_file() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def claim_place(output: Path) -> None:
    """Make the folder of parts of predictions, or see that it is one.

    Raises:
        ConfigError: it holds what predict has not written, or the predictions of a single process.
    """
    earlier = _earlier(output)
    _refuse_of_others(output, earlier)
    if earlier and not any(output.glob(f"{PART}*")):
        raise ConfigError(
            f"{output} holds predictions of an earlier call ({earlier[0].name}): name another "
            "folder"
        )
    output.mkdir(parents=True, exist_ok=True)
    (output / _MARKER).touch()


def remove_files(output: Path) -> None:
    """Remove the files of an earlier merge, and no picture."""
    for name in (PREDICTIONS, COCO, CSV_FILE):
        (output / name).unlink(missing_ok=True)
    if (output / YOLO).is_dir():
        shutil.rmtree(output / YOLO)


def write_predictions(
    predictions: Sequence[ImagePrediction],
    findings: Sequence[Finding],
    class_names: Sequence[str],
    output: Path,
    formats: Sequence[str],
    *,
    videos: Sequence[dict] = (),
) -> None:
    """Write the files of `formats`, some of FORMATS.

    Args:
        videos: what is to be told of each in JSON.
    """
    output.mkdir(parents=True, exist_ok=True)
    if "json" in formats:
        content = _as_json(predictions, findings, class_names)
        _write_json(output / PREDICTIONS, {**content, **({"videos": videos} if videos else {})})
    if "coco" in formats:
        _write_json(output / COCO, _as_coco(predictions, class_names))
    if "csv" in formats:
        _write_csv(output / CSV_FILE, predictions, class_names)
    if "yolo" in formats:
        for prediction in predictions:
            _write_yolo(output / YOLO, prediction)
        (output / YOLO).mkdir(exist_ok=True)
        names = "".join(f"{name}\n" for name in class_names)
        (output / YOLO / "classes.txt").write_text(names, encoding="utf-8")


def image_as_json(prediction: ImagePrediction, names: Sequence[str]) -> dict:
    """Return what JSON tells of an image; `names` are the classes'."""
    return {
        "file": str(prediction.file),
        "width": prediction.width,
        "height": prediction.height,
        "detections": [
            {"class": names[label], "score": score, "box": box}
            for label, score, box in prediction.rows()
        ],
    }


def finding_as_json(finding: Finding) -> dict:
    """Return what JSON tells of a file that was passed over."""
    return {"file": finding.where, "problem": finding.problem, "action": finding.action}


def write_crops(
    prediction: ImagePrediction, pixels: Image.Image, class_names: Sequence[str], output: Path
) -> None:
    """Write each object as a picture: crops/CLASS/IMAGE-1.jpg, -2, ..., the surest first."""
    for number, (label, _, box) in enumerate(prediction.rows(), 1):
        x1, y1 = (max(0, int(v)) for v in box[:2])
        x2, y2 = min(prediction.width, round(box[2])), min(prediction.height, round(box[3]))
        if x2 <= x1 or y2 <= y1:
            continue
        # A class may be called as no folder may be.
        name = class_names[label].replace("/", "_").replace("\\", "_").strip(". ") or str(label)
        place = prediction.place.with_name(f"{prediction.place.name}-{number}.jpg")
        path = output / CROPS / name / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels.crop((x1, y1, x2, y2)).convert("RGB").save(path, quality=92)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _as_json(
    predictions: Sequence[ImagePrediction], findings: Sequence[Finding], names: Sequence[str]
) -> dict:
    images = [image_as_json(prediction, names) for prediction in predictions]
    passed_over = [finding_as_json(finding) for finding in findings]
    return {"images": images, "passed_over": passed_over}


def _as_coco(predictions: Sequence[ImagePrediction], names: Sequence[str]) -> dict:
    """Return a COCO data set with a score for each annotation; ids begin with 1."""
    annotations: list[dict] = []
    for image_id, prediction in enumerate(predictions, 1):
        for label, score, (x1, y1, x2, y2) in prediction.rows():
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return {
        "images": [
            {"id": i, "file_name": str(p.file), "width": p.width, "height": p.height}
            for i, p in enumerate(predictions, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }


def _write_csv(path: Path, predictions: Sequence[ImagePrediction], names: Sequence[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "score", "x1", "y1", "x2", "y2"])
        for prediction in predictions:
            for label, score, box in prediction.rows():
                writer.writerow([prediction.file, names[label], score, *box])


def _write_yolo(folder: Path, prediction: ImagePrediction) -> None:
    """Write class, centre and size in shares of the image, and the score: a row a detection."""
    size = np.array([prediction.width, prediction.height] * 2, np.float64)
    rows = []
    for label, score, box in prediction.rows():
        x1, y1, x2, y2 = np.array(box) / size
        values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        rows.append(f"{label} {' '.join(f'{v:.6f}' for v in values)} {score}\n")
    path = folder / prediction.place.with_suffix(".txt")
    if path.exists():  # cat.jpg's, and this is cat.png
        path = path.with_name(f"{prediction.place.name}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows), encoding="utf-8")
