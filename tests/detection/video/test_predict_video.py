"""What is found in videos, line by line, and the video that is drawn."""

import json
import sys
import types
import weakref

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.detection.detector import NetworkDetector
from keras_retinanet.detection.drawing import class_color
from keras_retinanet.detection.predict import predict
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.video import predict_video as predict_video_module
from keras_retinanet.detection.video.frames import Frame, Pace, read_frames
from keras_retinanet.detection.video.video_file import VideoFile
from keras_retinanet.errors import DataError
from keras_retinanet.geometry.input_policy import InputPolicy

HEIGHT, WIDTH = 96, 128
TIMES = [0, 0.04, 0.08, 0.2, 0.25, 1.0, 1.04, 1.5]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_video_and_an_image(tmp_path, picture, write_video, bright_square):
    clip = write_video(tmp_path / "in" / "clip.mp4", TIMES)
    Image.fromarray(picture(20)).save(tmp_path / "in" / "a.png")
    summary = predict(bright_square, tmp_path / "in", tmp_path / "out", batch_size=3)
    assert (summary.num_images, summary.num_detections, summary.findings) == (1, 9, [])
    found = lines(tmp_path / "out" / "videos" / "clip.mp4.jsonl")
    assert [line["frame"] for line in found] == list(range(8))
    assert [line["seconds"] for line in found] == pytest.approx(TIMES, abs=2e-3)
    for i, line in enumerate(found):
        (detection,) = line["detections"]
        assert detection["box"] == pytest.approx([4 * i, 40, 4 * i + 16, 56], abs=1)
        assert (detection["class"], detection["score"]) == ("square", 0.9)
    (told,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
    assert told == {
        "file": str(clip), "width": WIDTH, "height": HEIGHT, "frames": 8, "seconds": 1.5,
        "detections": 8, "lines": "videos/clip.mp4.jsonl", "video": "videos/clip.mp4.mp4",
    }  # fmt: skip


def test_the_drawn_video_keeps_times_and_shows_boxes(tmp_path, write_video, bright_square):
    clip = write_video(tmp_path / "clip.mp4", TIMES, xs=[40] * len(TIMES))
    predict(bright_square, clip, tmp_path / "out", pace=Pace(every=2))
    drawn = list(read_frames(str(tmp_path / "out" / "videos" / "clip.mp4.mp4"), Pace()))
    assert [frame.seconds for frame in drawn] == pytest.approx(TIMES[::2], abs=2e-3)
    edge = drawn[1].pixels[41:55, 40].astype(int)
    assert np.abs(edge - class_color(0)).mean() < 60  # the codec halves the colours' resolution
    inside = drawn[1].pixels[45:51, 45:51].astype(int)
    assert np.abs(inside - 255).mean() < 20


def test_odd_sides_are_filled_up(tmp_path, picture):
    av = pytest.importorskip("av")
    with VideoFile(tmp_path / "a.mp4") as file:
        for i in range(3):
            file.write(picture(20)[:95, :127], i / 10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (128, 96)


def test_broken_and_missing(tmp_path, write_video, bright_square):
    pytest.importorskip("av")
    clip = write_video(tmp_path / "in" / "good.mp4", [0, 0.1])
    (tmp_path / "in" / "bad.mov").write_bytes(b"no video")
    summary = predict(bright_square, tmp_path / "in", tmp_path / "out")
    assert [video.file for video in summary.videos] == [str(clip)]
    ((where, problem, action),) = [(f.where, f.problem, f.action) for f in summary.findings]
    assert where.endswith("bad.mov") and action == "file passed over"
    assert problem.startswith("video that cannot be read")
    assert not list((tmp_path / "out" / "videos").glob("bad*"))
    with pytest.raises(DataError, match=r"no usable image .*bad\.mov"):
        predict(bright_square, tmp_path / "in" / "bad.mov", tmp_path / "none")


def test_what_a_cut_video_still_has_is_used(tmp_path, write_video, bright_square):
    path = write_video(tmp_path / "a.avi", [i / 25 for i in range(30)])
    content = path.read_bytes()
    begin, end = content.index(b"movi"), content.rindex(b"idx1")
    path.write_bytes(content[: (begin + end) // 2])
    summary = predict(bright_square, path, tmp_path / "out")
    assert 5 < summary.videos[0].num_frames < 30


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch, bright_square):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match="pip install av"):
        predict(bright_square, tmp_path / "a.mp4", tmp_path / "out")


def test_frames_stream(tmp_path, monkeypatch, picture, bright_square):
    """However long the video, no more than a few frames are in memory."""
    pytest.importorskip("av")
    alive, most = weakref.WeakSet(), 0

    class Pixels(np.ndarray):
        pass

    def endless(source, pace):
        nonlocal most
        for number in range(300):
            pixels = picture(number % 100).view(Pixels)
            alive.add(pixels)
            most = max(most, len(alive))
            yield Frame(number, number / 25, pixels)
            del pixels

    monkeypatch.setattr(Pixels, "__hash__", object.__hash__, raising=False)
    monkeypatch.setattr(Pixels, "__eq__", object.__eq__, raising=False)
    monkeypatch.setattr(predict_video_module, "read_frames", endless)
    (tmp_path / "a.mp4").touch()
    summary = predict(bright_square, tmp_path / "a.mp4", tmp_path / "out", batch_size=4)
    assert summary.videos[0].num_frames == 300
    assert bright_square.most == 4 and most <= 3 * 4


class FakeCamera:
    """What OpenCV gives of a camera: three frames in BGR, and then Ctrl-C."""

    def __init__(self, index, picture):
        self.index, self.left, self.is_released = index, 3, False
        self.picture = picture

    def isOpened(self):
        return self.index == 0

    def read(self):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        pixels = self.picture(20)
        pixels[..., 0] //= 2  # blue comes first
        return True, pixels

    def release(self):
        self.is_released = True


@pytest.fixture
def camera(monkeypatch, picture):
    made = []
    module = types.ModuleType("cv2")
    module.VideoCapture = lambda index: made.append(FakeCamera(index, picture)) or made[-1]
    monkeypatch.setitem(sys.modules, "cv2", module)
    return made


def test_a_camera_ends_when_it_is_told(tmp_path, camera, bright_square):
    pytest.importorskip("av")

    class Blue(type(bright_square)):
        def one(self, image):
            assert image[45, 25].tolist() == [255, 255, 127]  # red, green, blue
            return super().one(image + np.uint8([0, 0, 128]))

    summary = predict(Blue(), "camera:0", tmp_path / "out", batch_size=1)
    assert [video.num_frames for video in summary.videos] == [3]
    assert camera[0].is_released
    assert len(lines(tmp_path / "out" / "videos" / "camera-0.jsonl")) == 3
    drawn = read_frames(str(tmp_path / "out" / "videos" / "camera-0.mp4"), Pace())
    assert len(list(drawn)) == 3


def test_a_video_that_is_none_costs_no_earlier_predictions(tmp_path, picture, bright_square):
    Image.fromarray(picture(4)).save(tmp_path / "a.png")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    predict(bright_square, tmp_path / "a.png", tmp_path / "out")
    before = (tmp_path / "out" / "predictions.json").read_bytes()
    with pytest.raises(DataError, match="holds no usable image"):
        predict(bright_square, tmp_path / "b.mp4", tmp_path / "out")
    assert (tmp_path / "out" / "predictions.json").read_bytes() == before
    assert (tmp_path / "out" / "images" / "a.png.jpg").is_file()


def test_no_camera(tmp_path, camera, bright_square):
    with pytest.raises(DataError, match="there is no camera 7, or it is in use"):
        predict(bright_square, "camera:7", tmp_path / "out")


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_pixels_are_found_as_files_are(make_tiny, tmp_path, small_resnet18, batch_size):

    detector = KerasDetector(
        make_tiny(channels=8, prior=0.3, input_policy=InputPolicy("shorter_side", 64, 96))
    )
    rng = np.random.default_rng(0)
    sides = [(60, 80), (90, 50), (60, 80), (64, 64), (61, 80)]
    images = [rng.integers(0, 256, (*side, 3), np.uint8) for side in sides]
    paths = []
    for i, image in enumerate(images):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(paths[-1])
    heights, widths = np.array(sides, np.int32).T
    files = dict(detector.detect_files(paths, heights, widths, batch_size=batch_size))
    assert isinstance(detector, NetworkDetector)
    for i, found in enumerate(detector.detect_pixels(images)):
        assert len(found["scores"]) > 5
        for name, value in found.items():
            np.testing.assert_allclose(value, files[i][name], rtol=1e-4, atol=1e-3)
