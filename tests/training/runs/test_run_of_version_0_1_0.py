"""A run directory that version 0.1.0 wrote, stopped half way: it loads, detects and resumes."""

import csv
import dataclasses
import json
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_retinanet as kr

ARCHIVE = Path(__file__).with_name("run_of_version_0_1_0.tar.xz")
SETTINGS = kr.InferenceSettings(score_threshold=0.02, max_detections=20)


@pytest.fixture
def folder(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    run["data"] = str(tmp_path / run["data"])
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    return tmp_path


@pytest.mark.parametrize("load", [kr.load_model, keras.models.load_model])
def test_its_best_model_detects_with_the_settings_it_was_given(folder, load):
    model = load(folder / "run" / "best.keras")
    assert model.inference == SETTINGS
    assert model.get_config()["inference"] == {
        "score_threshold": 0.02,
        "pre_nms_top_k": 1000,
        "nms_iou_threshold": 0.5,
        "max_detections": 20,
        "clip": "before_nms",  # these came later
        "drop_empty": True,
        "nms_across_classes": False,
        "thresholds": None,
        "box_quality_share": 0.5,
    }
    assert model.box_quality == "none" and set(model.output) == {"class_logits", "box_deltas"}
    image = folder / "set" / "val" / "0.png"
    assert len(model.detect(image)) == 0  # after two steps all scores are near 0.01
    model.inference = dataclasses.replace(SETTINGS, score_threshold=0.0)
    found = model.detect(image)
    assert len(found) == 20 and np.isfinite(found.boxes).all()
    np.testing.assert_allclose(found.scores, 0.01, atol=0.002)


def test_its_checkpoint_loads(folder):
    (file,) = (folder / "run" / "checkpoints").iterdir()
    model = kr.load_model(file)
    assert model.inference == SETTINGS
    assert model.backbone_name == "mobilenet_v2"


def test_it_resumes_without_the_backbones_weights_file(folder, call):
    run = folder / "run"
    assert not list(folder.rglob("*.h5"))
    assert call("train", "--resume", run) == 0
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert kr.load_model(run / "last.keras").inference == SETTINGS
