"""A candidate of inference.py in a process of its own, decoded image to boxes.

The candidate "prepare" is none: it writes what the others load, and makes no calls.
"""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure  # noqa: F401  # quietens TensorFlow
import numpy as np
import processes

Call = Callable[[], Any]
# What each of ours loads from the folder.
MODEL_FILE = "model.keras"
EXPORTS = {"float32": {}, "raw": {"raw": "dynamic"}, "bfloat16": {"precision": "bfloat16"}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidate", choices=["prepare", *CANDIDATES])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--backbone")
    parser.add_argument("--size", type=int)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--exports", nargs="*", default=[])
    parser.add_argument("--import-first")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.import_first:
        importlib.import_module(options.import_first)
    if options.candidate == "prepare":
        prepare(options)
        processes.serve(lambda: None, warmup=0)
    else:
        processes.serve(CANDIDATES[options.candidate](options))


def image(options: argparse.Namespace) -> np.ndarray:
    """Return one image of noise, uint8 [1, size, size, 3], the same for all."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (1, options.size, options.size, 3)).astype(np.uint8)


def prepare(options: argparse.Namespace) -> None:
    """Write the model and its exports, those that an earlier run has not left."""
    from keras_retinanet import InputPolicy, RetinaNet
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.export.export import export_model
    from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
    from keras_retinanet.models.saving import save_for_inference

    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / MODEL_FILE
    if not path.exists():
        policy = InputPolicy("square", size=options.size)
        model = RetinaNet(options.backbone, options.classes, weights=None, input_policy=policy)
        settle(model)
        save_for_inference(model, path)
    for name in options.exports:
        if not (options.folder / name / "1").exists():
            exporter = SavedModelExporter(**EXPORTS[name])
            export_model(load_model(path), options.folder / name, exporter)


def settle(model: Any) -> None:
    """Give biases and BatchNormalizations values as after a training.

    Zeros, as before it, are optimised away, and with them TensorFlow's way to compute convolution,
    bias and ReLU in one pass.
    """
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "gamma", "moving_mean", "moving_variance"):
            weight.assign(weight.numpy() + np.abs(rng.normal(0, 0.02, weight.shape)))


def saved_model(name: str) -> Callable[[argparse.Namespace], Call]:
    def make(options: argparse.Namespace) -> Call:
        import tensorflow as tf

        loaded = tf.saved_model.load(str(options.folder / name / "1"))
        serve = loaded.signatures["serving_default"]
        tensor = tf.constant(image(options))
        # `loaded` has to live as long as its signatures.
        return lambda _=loaded: serve(input_tensor=tensor)["detection_scores"].numpy()

    return make


def network(options: argparse.Namespace) -> Call:
    """The SavedModel's network without scaling and post-processing."""
    import tensorflow as tf

    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.export.frozen import freeze

    model = load_model(options.folder / MODEL_FILE)
    sides = (options.size, options.size)
    run = tf.function(freeze(model, "float32", sides)[0], autograph=False)
    tensor = tf.constant(image(options))
    return lambda: run(tensor)["box_deltas"].numpy()


def keras_model(options: argparse.Namespace) -> Call:
    import tensorflow as tf

    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.geometry.postprocess import detect

    model = load_model(options.folder / MODEL_FILE)
    tensor = tf.constant(image(options))
    sizes = tf.constant([[options.size, options.size]])
    run = tf.function(lambda images: detect(model, images, sizes), autograph=False)
    return lambda: run(tensor)["scores"].numpy()


def openvino_network(options: argparse.Namespace) -> Call:
    """The raw SavedModel's network in OpenVINO, then our post-processing in TensorFlow."""
    import openvino

    from keras_retinanet.detection.detector_settings import DetectorSettings
    from keras_retinanet.detection.manifest import read_manifest
    from keras_retinanet.detection.runtimes.raw import RawDetector

    images = image(options)
    version = options.folder / "raw" / "1"
    inference = DetectorSettings.from_json(read_manifest(version)["inference"])
    model = openvino.convert_model(str(version), input=[("images", list(images.shape))])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: Any) -> dict[str, Any]:
        found = compiled({"images": images})
        return {name: found[name] for name in ("class_logits", "box_deltas")}

    detector = RawDetector(run, inference)
    sizes = [[options.size, options.size]]
    return lambda: detector(images, sizes)


def torchvision_network(options: argparse.Namespace) -> Call:
    """torchvision's RetinaNet-R50, its network compiled, without its post-processing."""
    import torch
    import torchvision

    model = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=options.classes
    ).eval()
    pixels = torch.from_numpy(image(options)).permute(0, 3, 1, 2).float() / 255

    @torch.compile
    def run(x: Any) -> Any:
        return model.head(list(model.backbone(x).values()))

    def call() -> None:
        with torch.inference_mode():
            run(pixels)

    return call


CANDIDATES: dict[str, Callable[[argparse.Namespace], Call]] = {
    "saved_model": saved_model("float32"),
    "saved_model_bfloat16": saved_model("bfloat16"),
    "network": network,
    "keras": keras_model,
    "openvino": openvino_network,
    "torchvision": torchvision_network,
}

if __name__ == "__main__":
    main()
