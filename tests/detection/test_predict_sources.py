"""Prediction on images of the web, and on images of 16 bits."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.detection.predict import predict
from keras_retinanet.geometry.input_policy import InputPolicy

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def model(make_tiny):
    return make_tiny(channels=8, prior=0.3, input_policy=InputPolicy("square", 64))


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((60, 80, 3), 99, np.uint8)).save(path)
    return path


def drawn(model, image, output):
    """The picture of an image; no box hides a pixel."""
    predict(model, image, output, min_score=2)
    with Image.open(output / "images" / f"{image.name}.jpg") as picture:
        return np.asarray(picture).astype(int)


def _levels():
    """A ramp of 16 bits, from dark to bright."""
    return np.tile(np.linspace(0, 65535, 80).astype(np.uint16), (60, 1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_images_of_16_bits_are_drawn_as_they_are(model, tmp_path, name):
    Image.fromarray(_levels()).save(tmp_path / name)
    shown = drawn(model, tmp_path / name, tmp_path / "out")
    assert np.abs(shown - (_levels() >> 8)[..., None]).max() <= 3  # of JPEG


def test_colours_of_16_bits_are_drawn_as_they_are(model, tmp_path):
    levels = np.stack([_levels(), _levels()[:, ::-1], _levels() // 2], axis=-1)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(levels).numpy())
    shown = drawn(model, tmp_path / "a.png", tmp_path / "out")
    assert np.abs(shown - (levels >> 8)).mean() <= 3


def test_urls(model, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    write_image(tmp_path / "web" / "a b.png")
    file = write_image(tmp_path / "c.png")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        given = [f"{base}/a%20b.png", f"{base}/gone.png", str(file), "-"]
        summary = predict(model, given, tmp_path / "out", lines=[f"{base}/a%20b.png?again=1"])
        server.shutdown()
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [image["file"] for image in written["images"]] == [
        str(file), f"{base}/a%20b.png", f"{base}/a%20b.png?again=1",
    ]  # fmt: skip
    assert written["passed_over"] == [
        {
            "file": f"{base}/gone.png",
            "problem": "the server answers 404 File not found",
            "action": "file passed over",
        }
    ]
    assert summary.num_images == 3
    host = f"127.0.0.1_{server.server_port}"
    pictures = tmp_path / "out" / "images"
    assert {path.relative_to(pictures).as_posix() for path in pictures.rglob("*.jpg")} == {
        "c.png.jpg", f"{host}/a_b.png.jpg", f"2/{host}/a_b.png.jpg",
    }  # fmt: skip
