"""Prediction on a video: a line of JSON for each frame, and the video with boxes drawn."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.drawing import draw_detections
from keras_retinanet.detection.prediction_files import VIDEOS, Wanted, detection_rows
from keras_retinanet.detection.video.frames import Frame, Pace, read_frames
from keras_retinanet.detection.video.video_file import VideoFile
from keras_retinanet.errors import DataError

LINES = ".jsonl"


@dataclass
class VideoPrediction:
    """What was done with a video.

    Attributes:
        file: as it was given.
        lines, video: what was written; the latter only with pictures of what was found.
        fault: why it ended before its end; None if it did not.
    """

    file: str
    lines: Path
    video: Path
    num_frames: int = 0
    num_detections: int = 0
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    fault: str | None = None

    def as_json(self, output: Path) -> dict[str, Any]:
        return {
            "file": self.file,
            "width": self.width,
            "height": self.height,
            "frames": self.num_frames,
            "seconds": round(self.seconds, 3),
            "detections": self.num_detections,
            "lines": self.lines.relative_to(output).as_posix(),
            "video": self.video.relative_to(output).as_posix(),
        }


def predict_video(
    detector: Detector,
    source: str,
    name: str,
    place: Path,
    output: Path,
    *,
    begin: Callable[[], None],
    wanted: Wanted,
    pace: Pace,
    batch_size: int,
    is_live: bool,
) -> VideoPrediction:
    """Look at a video's frames, `batch_size` at once and in memory, and write what is found.

    Args:
        source: what is read; `name`: what the user calls it.
        place: the video's path below the folder of videos; outputs take it, too.
        begin: called when the first frames are there, before anything is written.
        is_live: it ends when the user says so, by Ctrl-C.
    """
    folder = output / VIDEOS / place.parent
    done = VideoPrediction(name, folder / f"{place.name}{LINES}", folder / f"{place.name}.mp4")
    until_stopped = contextlib.suppress(KeyboardInterrupt) if is_live else contextlib.nullcontext()
    try:
        # The frames first: what cannot be opened leaves no files.
        with until_stopped:
            batches = _batches(read_frames(source, pace), batch_size)
            first = next(batches, None)
            if first is None:
                raise DataError("there is no frame in it")
            begin()
            folder.mkdir(parents=True, exist_ok=True)
            with open(done.lines, "w", encoding="utf-8") as lines, VideoFile(done.video) as video:
                for frames in itertools.chain([first], batches):
                    found = detector.detect_pixels([frame.pixels for frame in frames])
                    for frame, detections in zip(frames, found, strict=True):
                        _write(frame, detections, detector.class_names, wanted, lines, video, done)
    except DataError as error:
        done.fault = str(error)
    return done


def _write(
    frame: Frame,
    found: dict[str, np.ndarray],
    class_names: Sequence[str],
    wanted: Wanted,
    lines: Any,
    video: VideoFile,
    done: VideoPrediction,
) -> None:
    """Write a frame's line and its picture, and count it."""
    shown, kept = wanted.masks(found)
    rows = detection_rows(found["classes"][kept], found["scores"][kept], found["boxes"][kept])
    line = {
        "frame": frame.number,
        "seconds": round(frame.seconds, 3),
        "detections": [
            {"class": class_names[label], "score": score, "box": box} for label, score, box in rows
        ],
    }
    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    picture = draw_detections(
        Image.fromarray(frame.pixels),
        found["boxes"][shown],
        found["classes"][shown],
        class_names,
        found["scores"][shown],
    )
    video.write(np.asarray(picture), frame.seconds)
    if not done.num_frames:
        done.height, done.width = frame.pixels.shape[:2]
    done.num_frames += 1
    done.num_detections += len(rows)
    done.seconds = frame.seconds


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    while batch := list(itertools.islice(frames, size)):
        yield batch
