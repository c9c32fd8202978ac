"""Detection as a job of Beam: what `predict` finds, and what was passed over with its reason."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("apache_beam")

from keras_retinanet.detection.beam_jobs import model_handler
from keras_retinanet.detection.beam_jobs.detect_objects import DetectObjects
from keras_retinanet.detection.beam_jobs.predict_job import run_prediction
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.predict import predict
from keras_retinanet.errors import ConfigError, DataError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.system.beam_environment import make_runner, pipeline_options

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def export(make_tiny, tmp_path_factory):
    """A SavedModel for images of any size: each is a canvas of its own."""
    model = make_tiny(
        channels=8,
        prior=0.3,
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(max_detections=5),
    )
    folder, _ = export_model(model, tmp_path_factory.mktemp("export"), SavedModelExporter())
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Seven images, one of them TIFF, and two files that cannot be used."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate([(80, 60), (60, 80), (70, 70)] * 3):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i} ü.{'tif' if i == 5 else 'jpg'}")
    (folder / "7 ü.jpg").write_bytes((folder / "7 ü.jpg").read_bytes()[:-700])
    (folder / "8 ü.jpg").write_bytes(b"text")
    return folder


def run(folder, addresses, output, *, address_list=None, options=(), **settings):
    return run_prediction(
        DetectObjects(folder, min_score=0.05, **settings),
        [str(address) for address in addresses],
        str(output),
        address_list=address_list,
        runner=make_runner("DirectRunner"),
        options=pipeline_options("DirectRunner", options),
    )


def lines(output, name):
    rows = [
        json.loads(line)
        for path in output.glob(f"{name}-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(rows, key=lambda row: row["file"])


def assert_same_detections(found, expected):
    """The last bits of detections may depend on the size of a batch."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert [a["file"], a["width"], a["height"]] == [b["file"], b["width"], b["height"]]
        assert [d["class"] for d in a["detections"]] == [d["class"] for d in b["detections"]]
        for key, tolerance in (("score", 2e-6), ("box", 0.011)):
            values = [[d[key] for d in one["detections"]] for one in (a, b)]
            np.testing.assert_allclose(*values, rtol=0, atol=tolerance)


def test_what_predict_finds_and_what_it_passes_over(export, images, tmp_path):
    files = sorted(images.iterdir())
    summary = run(export, files, tmp_path / "out")
    predict(load_detector(export), images, tmp_path / "whole", min_score=0.05)
    expected = json.loads((tmp_path / "whole" / "predictions.json").read_text(encoding="utf-8"))
    found = lines(tmp_path / "out", "detections")
    assert_same_detections(found, expected["images"])
    assert lines(tmp_path / "out", "passed_over") == expected["passed_over"]
    assert len(found) == summary.num_images == 7 and summary.num_passed_over == 2
    assert summary.num_detections == sum(len(row["detections"]) for row in found) == 35


def test_classes_and_scores(export, images, tmp_path):
    (name, *_) = load_detector(export).class_names
    run(export, [images / "0 ü.jpg"], tmp_path / "one", classes=[name])
    (row,) = lines(tmp_path / "one", "detections")
    assert {d["class"] for d in row["detections"]} <= {name}
    with pytest.raises(ConfigError, match="the model has no class 'unicorn'"):
        run(export, [images / "0 ü.jpg"], tmp_path / "two", classes=["unicorn"])


def test_addresses_of_a_list_and_of_other_file_systems(export, images, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text(f"{images / '0 ü.jpg'}\n\n{images / 'none.jpg'}\nnofs://bucket/a.jpg\n")
    summary = run(export, [images / "1 ü.jpg"], tmp_path / "out", address_list=str(names))
    assert (summary.num_images, summary.num_passed_over) == (2, 2)
    problems = {row["file"]: row["problem"] for row in lines(tmp_path / "out", "passed_over")}
    assert problems[str(images / "none.jpg")] == "missing image file"
    assert "Unable to get filesystem" in problems["nofs://bucket/a.jpg"]
    files = [row["file"] for row in lines(tmp_path / "out", "detections")]
    assert files == [str(images / "0 ü.jpg"), str(images / "1 ü.jpg")]


def test_the_model_is_loaded_once_and_batches_adapt(export, images, tmp_path, monkeypatch):
    loads, sizes = [], []
    load, serve = model_handler.load_served, model_handler.SavedModelDetector.serve
    monkeypatch.setattr(
        model_handler, "load_served", lambda folder: (loads.append(folder), load(folder))[1]
    )
    monkeypatch.setattr(
        model_handler.SavedModelDetector,
        "serve",
        lambda self, files: (sizes.append(len(files)), serve(self, files))[1],
    )
    addresses = [images / f"{i} ü.jpg" for i in (0, 1, 2)] * 20
    summary = run(export, addresses, tmp_path / "out", max_batch_size=8)
    assert summary.num_images == sum(sizes) == 60
    assert len(loads) == 1
    assert 1 < max(sizes) <= 8


def test_folders_that_hold_something_are_refused(export, images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ConfigError, match="exists and is not empty: name a new folder"):
        run(export, [images / "0 ü.jpg"], tmp_path / "out")
    with pytest.raises(DataError, match="there is no image to look at"):
        run(export, [], tmp_path / "new")


def test_models_that_cannot_be_used(make_tiny, tmp_path):
    with pytest.raises(WeightsError, match=r"has no manifest\.json"):
        DetectObjects(tmp_path)
    raw, _ = export_model(
        make_tiny(channels=8), tmp_path / "raw", SavedModelExporter(raw="dynamic")
    )
    with pytest.raises(ConfigError, match="has no signature that takes image files"):
        DetectObjects(raw)


def test_images_are_cut_where_the_model_does(make_tiny, images, tmp_path):
    """As `predict` does with the same export; one whose graph does not cut is refused."""
    model = make_tiny(
        channels=8,
        prior=0.3,
        input_policy=InputPolicy("square", 64),
        inference=InferenceSettings(max_detections=5),
        tiling=Tiling(48),
    )
    folder, _ = export_model(model, tmp_path / "tiles", SavedModelExporter(warmup=False))
    image = images / "0 ü.jpg"
    run(folder, [image], tmp_path / "job")
    (row,) = lines(tmp_path / "job", "detections")
    predict(load_detector(folder), [image], tmp_path / "here", min_score=0.05)
    (expected,) = json.loads((tmp_path / "here" / "predictions.json").read_text())["images"]
    assert row["detections"] == expected["detections"] != []
    manifest = json.loads((folder / "manifest.json").read_text())
    for about in manifest["contract"]["signatures"].values():
        del about["cuts_tiles"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"before graphs could cut images .* export it again"):
        DetectObjects(folder)


def test_the_example_of_the_page(export, images, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[3] / "docs" / "scaling.md"
    (block,) = re.findall(r"```python\n(import apache_beam.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(images / "0 ü.jpg", tmp_path / "photos" / "1.jpg")
    shutil.copy(images / "8 ü.jpg", tmp_path / "photos" / "2.jpg")
    shutil.copytree(export, tmp_path / "export" / "1")
    exec(block, {})
    lines = capsys.readouterr().out.splitlines()
    assert "1" in lines
    assert any(line.startswith("{'file': 'photos/1.jpg', 'width': 80") for line in lines)


def test_the_command(call, capsys, export, images, tmp_path):
    (images.parent / "film").mkdir(exist_ok=True)
    arguments = ("beam", "predict", export, "--min-score", 0.05, "--json")
    assert call(*arguments, images, "--output", tmp_path / "out") == 0
    out, _ = capsys.readouterr()
    told = json.loads(out)
    assert [told["images"], told["passed_over"], told["detections"]] == [7, 2, 35]
    assert call(*arguments, "camera:0", "--output", tmp_path / "new") == 2
    assert "camera:0 is a video or camera" in capsys.readouterr().err
    assert call(*arguments, images, "--output", tmp_path / "new", "--beam-option", "x=1") == 2
    assert "Beam has no option 'x'" in capsys.readouterr().err
