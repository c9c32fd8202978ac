"""The network, its losses and a training step run on JAX, where there is no TensorFlow."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_retinanet"

TRAINING_STEP = """
import sys


class NoTensorflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError("this test has no TensorFlow")


sys.meta_path.insert(0, NoTensorflow())

import numpy as np
import keras
from keras_retinanet import DetectionLoss, RetinaNet, SGDWithL2

assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
model = RetinaNet(
    "resnet18", num_classes=2, weights=None, fpn_channels=8, head_channels=8, head_depth=1
)
model.compile(SGDWithL2(0.01, momentum=0.9, l2=1e-4), loss=DetectionLoss())
matches = np.full((2, len(model.anchor_generator(64, 64))), -1, "int32")
matches[0, ::40], matches[1, 7] = 0, -2
targets = {
    "gt_boxes": np.array([[[4, 4, 40, 50]], [[0, 0, 0, 0]]], "float32"),
    "gt_labels": np.array([[1], [-1]], "int32"),
    "matches": matches,
}
images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
before = [np.asarray(v) for v in model.trainable_variables]
losses = model.train_on_batch(images, targets, return_dict=True)
assert 0.5 < losses["class_loss"] < 3, losses
assert np.isfinite(losses["box_loss"]) and losses["box_loss"] > 0, losses
assert np.isclose(losses["loss"], losses["class_loss"] + losses["box_loss"]), losses
unchanged = [
    v.path for v, old in zip(model.trainable_variables, before) if np.array_equal(v, old)
]
assert not unchanged, unchanged
assert all(np.isfinite(v).all() for v in model.get_weights())
assert "tensorflow" not in sys.modules
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_training_step_without_tensorflow():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(PACKAGE.parent)}
    step = subprocess.run(
        [sys.executable, "-c", TRAINING_STEP], env=environment, capture_output=True, text=True
    )
    assert step.returncode == 0, step.stderr


@pytest.mark.parametrize(
    "name",
    [
        "conventions.py",
        "geometry/boxes.py",
        "geometry/anchors.py",
        "geometry/input_policy.py",
        *(
            path.relative_to(PACKAGE).as_posix()
            for folder in ("losses", "models", "optimizers")
            for path in sorted(PACKAGE.glob(f"{folder}/**/*.py"))
        ),
    ],
)
def test_source_imports_no_tensorflow(name):
    source = (PACKAGE / name).read_text()
    assert not re.search(r"^\s*(import|from)\s+tensorflow\b", source, re.MULTILINE)


def test_replicas_imports_tensorflow_only_inside_functions():
    source = (PACKAGE / "system" / "replicas.py").read_text()
    assert not re.search(r"^(import|from)\s+tensorflow\b", source, re.MULTILINE)
