"""All watchers on a real `fit`, their pictures and events; and what survives a restart."""

import csv
import io
import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.pipeline.wait_time import WaitTime
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import ConfigError
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.training.callbacks import EarlyStopping, EvaluateOnDataset
from keras_retinanet.training.progress import Progress
from keras_retinanet.training.setup.input_batches import make_batches, make_plan
from keras_retinanet.training.setup.model_and_loss import build_model, make_loss
from keras_retinanet.training.setup.optimization import make_optimizer
from keras_retinanet.training.setup.run_callbacks import (
    collect_state,
    make_watchers,
    restore_state,
)

pytestmark = pytest.mark.usefixtures("small_resnet18")

TINY = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "model.prior=0.3",
    "image.size=64",
    "schedule.length=3",
    "schedule.warmup_iterations=2",
    "training.batch_size=4",
    "training.evaluate_every_steps=4",
    "training.tensorboard_images=2",
    "inference.score_threshold=0.001",
)
STEPS = 3


class SeesLogs(keras.callbacks.Callback):
    """What a user names in the config."""

    def __init__(self, note):
        super().__init__()
        self.note = note
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=12, num_val=5)
    return load_dataset(path, "train"), load_dataset(path, "val")


@pytest.fixture(scope="module")
def run(sets, tmp_path_factory, small_resnet18):
    """Three epochs of three steps, in two runs; the second begins after the fourth step."""
    folder = tmp_path_factory.mktemp("run")
    config = load_config("quickstart", TINY)
    entry = {"name": f"{__name__}.SeesLogs", "note": "mine"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.utils, "SeesLogs", SeesLogs, raising=False)
        entry["name"] = "keras.utils.SeesLogs"
        config = config.model_copy(
            update={"training": config.training.model_copy(update={"callbacks": (entry,)})}
        )
        plan = make_plan(config, sets[0])
        assert plan.steps_per_epoch == STEPS
        model = build_model(config, sets[0].class_names)
        model.compile(optimizer=make_optimizer(config, STEPS), loss=make_loss(config))

        def watchers(wait, progress):
            watching = make_watchers(
                config, progress=progress, val_set=sets[1], output=folder, wait=wait
            )
            return [progress, *watching]

        def fit(callbacks, wait, first_step, epochs, steps):
            batches = wait.measured(make_batches(config, sets[0], plan).skip(first_step))
            model.fit(
                batches,
                initial_epoch=epochs[0],
                epochs=epochs[1],
                steps_per_epoch=steps,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )

        wait, progress = WaitTime(), Progress(num_epochs=3, steps_per_epoch=STEPS)
        callbacks = watchers(wait, progress)
        fit(callbacks, wait, 0, (0, 1), 3)
        fit(callbacks, wait, 3, (1, 2), 1)
        place = progress.place
        state = json.loads(json.dumps(collect_state(callbacks), allow_nan=False))
        fit(callbacks, wait, 4, (1, 2), 2)  # what the interrupted run did beyond its checkpoint
        time.sleep(1.1)  # event files are read in the order of the seconds in their names
        wait, progress = WaitTime(), Progress(num_epochs=3, steps_per_epoch=STEPS)
        progress.go_on_from(*place)
        callbacks = watchers(wait, progress)
        restore_state(callbacks, state)
        fit(callbacks, wait, 4, (1, 2), 2)
        fit(callbacks, wait, 6, (2, 3), 3)
    return folder, model, callbacks


def of_kind(callbacks, kind):
    return next(c for c in callbacks if isinstance(c, kind))


def test_rows_are_those_of_an_uninterrupted_run(run):
    with open(run[0] / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [
        ("1", "3"),
        ("2", "4"),
        ("2", "6"),
        ("3", "8"),
        ("3", "9"),
    ]
    assert [bool(row["AP"]) for row in rows] == [False, True, False, True, True]
    assert [bool(row["loss"]) for row in rows] == [True, False, True, False, True]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows if row["data_wait"])
    assert float(rows[-1]["images_per_second"]) > 0


def test_the_best_model_has_the_best_ap(run, sets):
    folder, _, callbacks = run
    best = of_kind(callbacks, EvaluateOnDataset)
    metrics, _ = evaluate(load_model(folder / "best.keras"), sets[1], batch_size=4)
    assert metrics["AP"] == pytest.approx(best.best_ap, abs=1e-6)
    assert best.best_step in (4, 8, 9)


def test_a_callback_by_name_sees_all_logs(run):
    seen = of_kind(run[2], SeesLogs)
    assert seen.note == "mine"
    assert {"loss", "AP", "learning_rate", "step", "seconds", "memory_gb"} <= set(seen.logs[-1])


@pytest.fixture(scope="module")
def events(run):
    events = EventAccumulator(str(run[0] / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_tensorboard_s_steps_go_on_after_a_restart(run, events):
    """What the interrupted run wrote of step 6, after its checkpoint, is void."""
    found = []
    for file in sorted((run[0] / "tensorboard").iterdir()):
        for event in EventFileLoader(str(file)).Load():
            if event.HasField("session_log"):  # a start: later steps are dropped, as readers do
                found = [entry for entry in found if entry[1] < event.step]
            found += [(value.tag, event.step) for value in event.summary.value]
    assert [step for tag, step in found if tag == "COCO/AP"] == [4, 8, 9]
    assert [step for tag, step in found if tag == "loss"] == [3, 6, 9]
    assert {"COCO/AP50", "learning_rate", "class_loss"} <= set(events.Tags()["tensors"])
    assert any(tag.startswith("AP of classes/") for tag in events.Tags()["tensors"])


def test_tensorboard_s_pictures(events):
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("detections/")]
    assert len(tags) == 2
    for tag in [*tags, "precision and recall"]:
        found = events.Tensors(tag)
        assert [event.step for event in found] == [4, 8, 9]
        width, height, png = tf.make_ndarray(found[-1].tensor_proto)
        picture = Image.open(io.BytesIO(png))
        assert picture.size == (int(width), int(height))
        assert np.asarray(picture).std() > 10  # something is on it
    images = events.summary_metadata[tags[0]].plugin_data
    assert images.plugin_name == "images"


def test_a_stop_is_known_after_a_restart(sets, tmp_path):
    def early(*overrides):
        config = load_config("quickstart", ["early_stopping.monitor=loss", *overrides])
        progress = Progress(num_epochs=2, steps_per_epoch=2)
        return make_watchers(config, progress=progress, val_set=None, output=tmp_path)

    callbacks = early()
    assert of_kind(callbacks, EarlyStopping).stop_reason is None
    assert not any(isinstance(c, EvaluateOnDataset) for c in callbacks)
    of_kind(callbacks, EarlyStopping).stop_reason = "early stopping after epoch 2"
    again = early("early_stopping.patience=7")
    restore_state(again, collect_state(callbacks))
    assert of_kind(again, EarlyStopping).stop_reason == "early stopping after epoch 2"
    with pytest.raises(ConfigError, match="split val"):
        early("early_stopping.monitor=AP")


def test_only_the_chief_writes(sets, tmp_path):
    config = load_config("quickstart", [*TINY, "training.callbacks=['keras.callbacks.History']"])
    for is_chief in (False, True):
        callbacks = make_watchers(
            config,
            progress=Progress(num_epochs=2, steps_per_epoch=2),
            val_set=sets[1],
            output=tmp_path,
            is_chief=is_chief,
        )
        names = {type(c).__name__ for c in callbacks}
        assert {"Clock", "EvaluateOnDataset", "MetricsHistory"} <= names
        assert ({"TensorBoard", "ProgressLine", "History"} <= names) == is_chief
        history = next(c for c in callbacks if type(c).__name__ == "MetricsHistory")
        assert (history.path is not None) == is_chief
