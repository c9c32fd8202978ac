"""Training steps of this project's RetinaNet, on any Keras backend; a worker of train_step.py."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Memory is taken as it is needed, so that its peak says something.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import argparse

import flops
import keras
import numpy as np
import step_worker

from keras_retinanet import AnchorGenerator, DetectionLoss, RetinaNet, SGDWithL2
from keras_retinanet.conventions import BACKGROUND, IGNORE, NEGATIVE_IOU, POSITIVE_IOU
from keras_retinanet.geometry.boxes import pairwise_iou

COMPILE = {"auto": "auto", "yes": True, "no": False}
GPU_SIDE, CPU_SIDE = 8192, 2048  # of the matrices whose product shows the device's peak


def match_with_numpy(boxes: np.ndarray, generator: AnchorGenerator, height: int, width: int):
    """Return the matches [B, A] of boxes [B, M, 4]: what `matching.match_anchors` does, which is
    TensorFlow, for objects without ignored regions."""
    anchors = keras.ops.convert_to_numpy(generator(height, width))
    matches = []
    for objects in boxes:
        iou = keras.ops.convert_to_numpy(pairwise_iou(objects, anchors))
        best, highest = iou.argmax(axis=0), iou.max(axis=0)
        unmatched = np.where(highest < NEGATIVE_IOU, BACKGROUND, IGNORE)
        matches.append(np.where(highest >= POSITIVE_IOU, best, unmatched))
    return np.stack(matches).astype(np.int32)


def main(options: argparse.Namespace) -> None:
    precision = {"bfloat16": "mixed_bfloat16"}.get(options.precision, options.precision)
    model = RetinaNet(
        options.backbone, options.classes, weights=None, batchnorm="frozen", dtype=precision
    )
    model.compile(
        SGDWithL2(1e-4, momentum=0.9, l2=1e-4),
        loss=DetectionLoss(),
        jit_compile=COMPILE[options.compile],
    )
    images, boxes, labels = step_worker.random_batch(options)
    generator = model.anchor_generator
    targets = {
        "gt_boxes": boxes,
        "gt_labels": labels,
        "matches": match_with_numpy(boxes, generator, options.height, options.width),
    }

    def step() -> float:
        return float(model.train_on_batch(images, targets, return_dict=True)["loss"])

    def facts() -> dict:
        on_gpu = device() != "cpu"
        return {
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
            "device": device(),
            "compiled": bool(model.jit_compile),
            "flops_per_image": flops.training_flops(model, options.height, options.width),
            "peak_flops": flops.matmul_peak(
                options.precision, side=GPU_SIDE if on_gpu else CPU_SIDE
            ),
        }

    step_worker.serve(step, facts, memory)


def device() -> str:
    """Return the name of the first accelerator, or "cpu"."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        kind = jax.devices()[0]
        return "cpu" if kind.platform == "cpu" else kind.device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(found[0])["device_name"] if found else "cpu"


def memory() -> dict[str, int]:
    if device() == "cpu":
        return {}
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return {"device_bytes": jax.devices()[0].memory_stats()["peak_bytes_in_use"]}
    if backend == "torch":
        import torch

        return {"device_bytes": torch.cuda.max_memory_allocated()}
    import tensorflow as tf

    return {"device_bytes": tf.config.experimental.get_memory_info("GPU:0")["peak"]}


if __name__ == "__main__":
    main(step_worker.arguments())
