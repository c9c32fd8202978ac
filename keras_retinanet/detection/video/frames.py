"""The frames of a video file, a stream of the network or a camera, one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from keras_retinanet.data.images.camera import camera_frames
from keras_retinanet.data.images.given_images import CAMERA
from keras_retinanet.errors import DataError

# A stream of the network may take so long to begin, and be silent for so long.
STREAM_SECONDS = (15.0, 15.0)
NEEDS_AV = "videos need: pip install av"


@dataclass(frozen=True)
class Frame:
    """A frame to look at.

    Attributes:
        number: in the video, from 0 on.
        seconds: its time stamp; of a camera, since it was opened.
        pixels: upright RGB, uint8 [H, W, 3].
    """

    number: int
    seconds: float
    pixels: np.ndarray


@dataclass(frozen=True)
class Pace:
    """Which frames are looked at.

    Args:
        every: every Nth frame.
        per_second: in place of that, so many of a second of the video, at most.
    """

    every: int = 1
    per_second: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or (self.per_second is not None and self.per_second <= 0):
            raise ValueError(f"every must be at least 1 and per_second above 0, got {self}")

    def chooser(self) -> Callable[[int, float], bool]:
        """Return a function that says whether a frame is one, asked of each in turn."""
        if self.per_second is None:
            return lambda number, seconds: number % self.every == 0
        step, due = 1 / self.per_second, -np.inf

        def is_due(number: int, seconds: float) -> bool:
            nonlocal due
            # Half a millisecond: time stamps are rounded.
            if seconds < due - 5e-4:
                return False
            due = seconds + step if np.isinf(due) or seconds > due + step else due + step
            return True

        return is_due


def read_frames(source: str, pace: Pace) -> Iterator[Frame]:
    """Yield the frames of a source that the pace chooses; only those are converted.

    Raises:
        DataError: it cannot be opened, or read on; or the package that reads it is not installed.
    """
    is_camera = source.startswith(CAMERA)
    frames = camera_frames(int(source.removeprefix(CAMERA))) if is_camera else _video(source)
    is_chosen = pace.chooser()
    for number, (seconds, convert) in enumerate(frames):
        if is_chosen(number, seconds):
            yield Frame(number, seconds, convert())


_Frames = Iterator[tuple[float, Callable[[], np.ndarray]]]


def _video(source: str) -> _Frames:
    av = av_library()
    try:
        is_stream = "://" in source
        with av.open(source, timeout=STREAM_SECONDS if is_stream else None) as container:
            if not container.streams.video:
                raise DataError("there is no video in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            start = None
            for number, frame in enumerate(container.decode(stream)):
                seconds = number / rate if frame.time is None else float(frame.time)
                start = seconds if start is None else start
                yield max(0.0, seconds - start), partial(_upright, frame)
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"video that cannot be read: {error.strerror or error}") from error


def _upright(frame: Any) -> np.ndarray:
    """Return a frame's pixels, turned as its video says: telephones lay them on their side."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def av_library() -> Any:
    """Return PyAV; raises DataError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise DataError(NEEDS_AV) from error
    return av
