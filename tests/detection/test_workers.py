"""Two workers on loopback share an evaluation, and both end with all of it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset

ROOT = Path(__file__).parents[2]
WORKER = """
import json, sys
import numpy as np, keras, tensorflow as tf
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.data.source import load_dataset
from keras_retinanet.evaluation.evaluate import DatasetEvaluation
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet

data, output, alone = sys.argv[1], sys.argv[2], len(sys.argv) > 3
strategy = tf.distribute.get_strategy() if alone else tf.distribute.MultiWorkerMirroredStrategy()
demo = load_dataset(data, "val")
keras.utils.set_random_seed(0)
with strategy.scope():
    model = RetinaNet(
        "resnet18", class_names=demo.class_names, weights=None, fpn_channels=8, head_channels=8,
        head_depth=1, prior=0.3, anchor_generator=AnchorGenerator(sizes=(8, 16, 24, 32, 48)),
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(max_detections=20),
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "class_head" in weight.path and "kernel" in weight.path:
            weight.assign(rng.normal(0, 0.15, weight.shape))
evaluation = DatasetEvaluation(model, demo, batch_size=1)
mine = len(evaluation._images)
for _ in range(2):
    found = evaluation.run()
with open(output, "w") as file:
    json.dump({"mine": mine, "metrics": found.metrics(), "results": found.results}, file)
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


@pytest.mark.slow
def test_two_workers_measure_what_one_does(tmp_path):
    data = write_demo_dataset(tmp_path / "set", num_train=1, num_val=7)
    workers = [f"localhost:{port}" for port in free_ports(2)]
    processes = []
    for index in range(3):  # the third is alone
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if index < 2:
            task = {"type": "worker", "index": index}
            config = {"cluster": {"worker": workers}, "task": task}
            environment["TF_CONFIG"] = json.dumps(config)
        command = [sys.executable, "-c", WORKER, str(data), str(tmp_path / f"{index}.json")]
        processes.append(subprocess.Popen([*command, *["alone"] * (index == 2)], env=environment))
    try:
        assert [process.wait(timeout=500) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    first, second, alone = (
        json.loads((tmp_path / f"{index}.json").read_text()) for index in range(3)
    )
    assert (first["mine"], second["mine"], alone["mine"]) == (4, 3, 7)
    assert first["metrics"] == second["metrics"] == alone["metrics"]

    def rows(found):
        return sorted(map(json.dumps, found["results"]))

    assert rows(first) == rows(second) == rows(alone)
    assert len(alone["results"]) == 7 * 20
