"""Videos to test with: a bright square that wanders."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.geometry.inference_settings import InferenceSettings

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="session")
def picture():
    """A function: where the square begins -> pixels [96, 128, 3]."""
    return _picture


@pytest.fixture(scope="session")
def write_video():
    """A function: path, times and places of the square -> a video of a frame at each time."""
    return _write_video


@pytest.fixture
def bright_square():
    return BrightSquare()


class BrightSquare:
    """Finds the one bright square of a picture, by its pixels."""

    class_names = ("square",)
    inference = InferenceSettings()
    most = 0

    def detect_pixels(self, images):
        self.most = max(self.most, len(images))
        return [self.one(image) for image in images]

    def detect_files(self, paths, heights, widths, *, batch_size):
        for i, path in enumerate(paths):
            yield i, self.one(np.asarray(Image.open(path)))

    @staticmethod
    def one(image):
        rows, columns = np.nonzero(image.min(axis=2) > 160)
        boxes = (
            [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
        )
        return {
            "boxes": np.array(boxes, float).reshape(-1, 4),
            "scores": np.full(len(boxes), 0.9),
            "classes": np.zeros(len(boxes), int),
        }


def _picture(x, y=40):
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    pixels[y : y + 16, x : x + 16] = 255
    return pixels


def _write_video(path, times, xs=None):
    """A video whose frame i is shown from times[i] on, with the square at xs[i]."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(_picture(xs[i] if xs else 4 * i), format="rgb24")
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
