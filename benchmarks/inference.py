"""Inference on the CPU, decoded image to boxes: our exports against the Keras model and peers.

R50, 80 classes, 512 px, batch 1, random weights with the prior of an untrained detector (few
detections). Candidates take turns. Those whose package is missing are named and left out. bfloat16
is only fast on CPUs with AMX; the machine's line says whether this one has it.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--bfloat16", action="store_true", help="measure bfloat16, too")
    parser.add_argument("--folder", type=Path, help="of exports made by an earlier run")
    options = parser.parse_args()

    import numpy as np

    size = options.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.uint8)
    folder = options.folder or Path(tempfile.mkdtemp())
    candidates = our_candidates(options, image, folder)
    for name, make in (
        ("OpenVINO float32", lambda: openvino_candidate(folder, image, options)),
        ("torchvision compiled network", lambda: torchvision_candidate(image, options.classes)),
    ):
        try:
            candidates[name] = make()
        except Exception as error:  # whatever a peer's import or build raises
            print(f"{name} left out: {type(error).__name__}: {str(error).splitlines()[0]}")
    seconds, cpu = alternate_with_cpu(candidates, options.rounds)
    ours = seconds["SavedModel float32"]
    result = {}
    for name, values in seconds.items():
        spread = {k: 1000 * v for k, v in measure.spread(values).items()}
        cpu_ms = 1000 * measure.spread(cpu[name])["median"]
        # Of each round by itself: a shared machine's speed drifts.
        ratios = measure.spread([a / b for a, b in zip(ours, values, strict=True)])
        result[name] = {**spread, "cpu_ms": cpu_ms, "ours_to_this": ratios}
        print(
            f"{name:>30}: median {spread['median']:8.1f} ms (min {spread['min']:.1f}), "
            f"CPU {cpu_ms:8.1f} ms; SavedModel float32 takes {ratios['median']:.2f} of it "
            f"({ratios['min']:.2f} to {ratios['max']:.2f}), {min(ours) / min(values):.2f} of minima"
        )
    if "network alone" in result:
        share = 1 - result["network alone"]["cpu_ms"] / result["SavedModel float32"]["cpu_ms"]
        print(f"post-processing and scaling: {100 * share:.1f} % of the CPU time")
        result["share_of_postprocessing"] = share
    measure.finish(result, options.json)


def alternate_with_cpu(
    candidates: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """As `measure.alternate`, with the processor time of each call, too."""
    cpu: dict[str, list[float]] = {name: [] for name in candidates}

    def timed(name: str, call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            start = time.process_time()
            call()
            cpu[name].append(time.process_time() - start)

        return run

    seconds = measure.alternate({n: timed(n, c) for n, c in candidates.items()}, rounds=rounds)
    return seconds, {name: values[-rounds:] for name, values in cpu.items()}


def our_candidates(options: Any, image: Any, folder: Path) -> dict[str, Callable[[], Any]]:
    import tensorflow as tf

    from keras_retinanet import InputPolicy, RetinaNet
    from keras_retinanet.export.export import export_model
    from keras_retinanet.export.frozen import freeze
    from keras_retinanet.export.saved_model.exporter import SavedModelExporter
    from keras_retinanet.geometry.postprocess import detect

    model = RetinaNet(
        options.backbone,
        options.classes,
        weights=None,
        input_policy=InputPolicy("square", size=options.size),
    )
    settle(model)
    exporters = {"float32": SavedModelExporter(), "raw": SavedModelExporter(raw="dynamic")}
    if options.bfloat16:
        exporters["bfloat16"] = SavedModelExporter(precision="bfloat16")
    served = {}
    for name, exporter in exporters.items():
        if not (folder / name / "1").exists():
            export_model(model, folder / name, exporter)
        loaded = tf.saved_model.load(str(folder / name / "1"))
        served[name] = (loaded, loaded.signatures["serving_default"])
    tensor = tf.constant(image)
    size = options.size
    sizes = tf.constant([image.shape[1:3]])
    variables = tf.function(lambda images: detect(model, images, sizes), autograph=False)
    network = tf.function(freeze(model, "float32", (size, size))[0], autograph=False)

    def run(name: str) -> Callable[[], Any]:
        return lambda: served[name][1](input_tensor=tensor)["detection_scores"].numpy()

    candidates = {
        "SavedModel float32": run("float32"),
        "network alone": lambda: network(tensor)["box_deltas"].numpy(),
        "Keras model with variables": lambda: variables(tensor)["scores"].numpy(),
    }
    if options.bfloat16:
        candidates["SavedModel bfloat16"] = run("bfloat16")
    return candidates


def settle(model: Any) -> None:
    """Give biases and BatchNormalizations values as after a training.

    Zeros, as before it, are optimised away, and with them TensorFlow's way to compute convolution,
    bias and ReLU in one pass.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "gamma", "moving_mean", "moving_variance"):
            weight.assign(weight.numpy() + np.abs(rng.normal(0, 0.02, weight.shape)))


def openvino_candidate(folder: Path, image: Any, options: Any) -> Callable[[], Any]:
    """The raw SavedModel's network in OpenVINO, then our post-processing in TensorFlow."""
    import openvino

    from keras_retinanet.detection.detector_settings import DetectorSettings
    from keras_retinanet.detection.manifest import read_manifest
    from keras_retinanet.detection.raw import RawDetector

    version = folder / "raw" / "1"
    inference = DetectorSettings.from_json(read_manifest(version)["inference"])
    model = openvino.convert_model(str(version), input=[("images", list(image.shape))])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = ("class_logits", "box_deltas")

    def run(images: Any) -> dict[str, Any]:
        found = compiled({"images": images})
        return {name: found[name] for name in names}

    detector = RawDetector(run, inference)
    sizes = [list(image.shape[1:3])]
    return lambda: detector(image, sizes)


def torchvision_candidate(image: Any, num_classes: int) -> Callable[[], Any]:
    """torchvision's RetinaNet-R50, its network compiled, without its post-processing."""
    import torch

    try:
        import torchvision
    except Exception:  # built for CUDA, beside a CPU build of PyTorch
        from torchvision_on_cpu import torchvision
    model = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=num_classes
    ).eval()
    pixels = torch.from_numpy(image.copy()).permute(0, 3, 1, 2).float() / 255

    @torch.compile
    def network(x: Any) -> Any:
        return model.head(list(model.backbone(x).values()))

    def run() -> None:
        with torch.inference_mode():
            network(pixels)

    run()
    return run


if __name__ == "__main__":
    main()
