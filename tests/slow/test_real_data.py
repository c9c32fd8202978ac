"""Trainings on real images, minutes long: what the small-machine configs reach."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.training import train as training
from keras_retinanet.training.setup import prepare

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

CHECKOUT = Path(__file__).parents[2]
DATA_YAMLS = CHECKOUT / "configs" / "data"


@pytest.fixture(autouse=True)
def real_data(monkeypatch):
    default = CHECKOUT.parent / "shared" / "data"
    folder = Path(os.environ.get("KERAS_RETINANET_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"needs the data sets: there is no {folder}; set KERAS_RETINANET_DATA")
    monkeypatch.setenv("KERAS_RETINANET_DATA", str(folder.resolve()))
    # One device, as on a small machine, and not the two logical ones of the other tests.
    monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())


def test_bccd_from_random_values(tmp_path):
    train_set, val_set = (
        load_dataset(DATA_YAMLS / "bccd.yaml", split) for split in ("train", "val")
    )
    training.train(load_config("bccd_r18"), train_set, val_set, tmp_path, progress=False)
    metrics, _ = evaluate(load_model(tmp_path / "best.keras"), val_set)
    assert metrics["AP"] >= 0.51
    assert metrics["AP50"] >= 0.82
    # Small and rare: the first to be lost.
    assert metrics["per_class"]["Platelets"] >= 0.3


def test_sixteen_coco_images_can_be_learnt(tmp_path):
    """From random values, on the first 16 images whose objects all measure 32 px or more."""
    dataset = load_dataset(DATA_YAMLS / "coco_subset.yaml", "train")
    large = [i for i in range(len(dataset)) if smallest_side(dataset, i) >= 32]
    dataset = dataset.select(large[:16])
    overrides = (
        "schedule.length=75",
        "training.evaluate_every=25",
        "image.size=256",
        "image.max_size=384",
        "image.horizontal_flip=false",
        "anchors.force_match=true",
    )
    config = load_config("coco_subset_r18", overrides)
    training.train(config, dataset, dataset, tmp_path, progress=False)
    metrics, _ = evaluate(load_model(tmp_path / "best.keras"), dataset)
    assert metrics["AP"] >= 0.60


def smallest_side(dataset, image):
    boxes = dataset.boxes[dataset.rows(image)]
    return (boxes[:, 2:] - boxes[:, :2]).min(initial=np.inf) if len(boxes) else 0
