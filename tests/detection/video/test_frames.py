"""The frames of videos and cameras: which, at which times, and which way up."""

import struct
import sys

import numpy as np
import pytest

from keras_retinanet.detection.video import frames as frames_module
from keras_retinanet.detection.video.frames import Pace, read_frames
from keras_retinanet.errors import DataError

HEIGHT, WIDTH = 96, 128
TIMES = [0, 0.04, 0.08, 0.2, 0.25, 1.0, 1.04, 1.5]


def test_frames_have_their_own_times(tmp_path, picture, write_video):
    frames = list(read_frames(str(write_video(tmp_path / "a.mp4", TIMES)), Pace()))
    assert [frame.number for frame in frames] == list(range(len(TIMES)))
    assert [frame.seconds for frame in frames] == pytest.approx(TIMES, abs=2e-3)
    for i, frame in enumerate(frames):
        assert frame.pixels.shape == (HEIGHT, WIDTH, 3)
        error = np.abs(frame.pixels.astype(int) - picture(4 * i)).mean()
        assert error < 3  # what the codec loses


@pytest.mark.parametrize(
    ("pace", "numbers"),
    [
        (Pace(every=3), [0, 3, 6]),
        (Pace(per_second=5), [0, 3, 5, 7]),  # due at 0, 0.2, 0.4 (first seen at 1.0), 1.2 (at 1.5)
        (Pace(per_second=100), list(range(8))),
        (Pace(per_second=0.8), [0, 7]),
    ],
)
def test_pace(pace, numbers):
    chosen = pace.chooser()
    assert [i for i, seconds in enumerate(TIMES) if chosen(i, seconds)] == numbers


def test_a_steady_pace_does_not_drift():
    chosen = Pace(per_second=10).chooser()
    times = np.arange(3000) / 29.97
    taken = [seconds for i, seconds in enumerate(times) if chosen(i, seconds)]
    assert len(taken) == pytest.approx(times[-1] * 10, abs=1.5)


def test_pace_refuses(tmp_path):
    for options in ({"every": 0}, {"per_second": 0}):
        with pytest.raises(ValueError, match="got Pace"):
            Pace(**options)


def test_a_video_on_its_side_is_turned(tmp_path, picture, write_video):
    """As FFmpeg's own rotation by the matrix of the track's header, which OpenCV applies."""
    path = write_video(tmp_path / "a.mp4", [0, 0.1])
    content = bytearray(path.read_bytes())
    # tkhd, version 0: the matrix begins 44 bytes behind the name.
    at = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[at : at + 36])[0] == 1 << 16
    clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
    content[at : at + 36] = struct.pack(">9i", *clockwise)
    path.write_bytes(content)
    first = next(read_frames(str(path), Pace()))
    expected = np.rot90(picture(0), -1)
    assert first.pixels.shape == expected.shape
    assert np.abs(first.pixels.astype(int) - expected).mean() < 3
    cv2 = pytest.importorskip("cv2")
    _, theirs = cv2.VideoCapture(str(path)).read()
    assert np.abs(first.pixels.astype(int) - theirs[..., ::-1]).mean() < 3


def test_a_camera_without_opencv(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DataError, match="pip install opencv-python-headless"):
        list(read_frames("camera:0", Pace()))


def test_the_loop_over_a_camera_on_a_file(tmp_path, monkeypatch, picture, write_video):
    """OpenCV's own reader, on a file in place of a device."""
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.mp4", [0, 0.1, 0.2])
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: opened(str(path)))
    frames = list(read_frames("camera:0", Pace()))
    assert len(frames) == 3
    assert np.abs(frames[0].pixels.astype(int) - picture(0)).mean() < 3


def test_streams_have_a_time_limit(monkeypatch):
    """A camera of the network that does not answer ends in a reason."""
    av = pytest.importorskip("av")
    asked = {}

    def refuse(source, timeout=None):
        asked.update(source=source, timeout=timeout)
        raise av.error.ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(frames_module.av_library(), "open", refuse)
    with pytest.raises(DataError, match="Connection refused"):
        list(read_frames("rtsp://127.0.0.1/x", Pace()))
    assert asked["timeout"] == frames_module.STREAM_SECONDS
