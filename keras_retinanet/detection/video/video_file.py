"""A video written frame by frame, each at its own time."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.detection.video.frames import av_library

# H.264 plays everywhere; builds of FFmpeg without it have MPEG-4.
_CODECS = ("libx264", "mpeg4")
_OPTIONS = {"libx264": {"preset": "veryfast", "crf": "23"}, "mpeg4": {"qscale": "3"}}
_TICKS = 1000  # of time stamps, in a second
_RATE = 25  # what players show as the rate; time stamps tell the truth


class VideoFile:
    """An MP4 that is written from the first frame on, and whole once it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: Any = None
        self._stream: Any = None
        self._last = -1  # the time stamp of the frame before

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()

    def write(self, pixels: np.ndarray, seconds: float) -> None:
        """Append a frame, RGB uint8 [H, W, 3]; the first one's size is the video's."""
        av = av_library()
        # The codec halves the colours' resolution: sides have to be even.
        pixels = np.pad(pixels, [(0, s % 2) for s in pixels.shape[:2]] + [(0, 0)], "edge")
        if self._container is None:
            self._open(av, *pixels.shape[:2])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, round(seconds * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _open(self, av: Any, height: int, width: int) -> None:
        codec = next(name for name in _CODECS if name in av.codecs_available)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._path), "w", format="mp4")
        self._stream = self._container.add_stream(codec, rate=_RATE, options=_OPTIONS[codec])
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
