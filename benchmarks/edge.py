"""Milliseconds and bytes of the light model's TFLite files, post-processing inside.

Beside them, as a measure of the machine, a plain network of the same parts: MobileNetV2, a pyramid
and heads of separable convolutions, 96 channels, nine anchors; without post-processing.
"""

import tempfile
from pathlib import Path
from typing import Any

import measure

CONFIG = "mobilenet_320"
CHANNELS = 96


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--precisions", default="float32,float16,dynamic,int8")
    parser.add_argument("--postprocessings", default="op,builtin,none")
    options = parser.parse_args()

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image

    from keras_retinanet.config.load import load_config
    from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
    from keras_retinanet.training.setup.model_and_loss import build_model

    config = load_config(options.config, ["model.weights=none", "model.prior=0.04"])
    model = build_model(config, tuple(f"class {i}" for i in range(options.classes)))
    side = config.image.size
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, side, side, 3), np.uint8)
    runs, sizes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        calibration = Path(folder, "noise.png")
        Image.fromarray(image[0]).save(calibration)
        for precision in options.precisions.split(","):
            for postprocessing in options.postprocessings.split(","):
                name = f"{precision} {postprocessing}"
                TFLiteExporter(
                    precision=precision,
                    postprocessing=postprocessing,
                    calibration_files=(str(calibration),) if precision == "int8" else (),
                ).write(model, Path(folder))
                content = Path(folder, "model.tflite").read_bytes()
                sizes[name] = len(content)
                runs[name] = _runner(Interpreter, content, image, options.threads)
        for precision in {"float32", "int8"} & set(options.precisions.split(",")):
            content = plain_network(image, options.classes, quantise=precision == "int8")
            sizes[f"{precision} plain"] = len(content)
            runs[f"{precision} plain"] = _runner(Interpreter, content, image, options.threads)
    seconds = measure.alternate(runs, rounds=options.rounds, warmup=5)
    milliseconds = {k: measure.spread([1000 * s for s in v]) for k, v in seconds.items()}
    print(f"{options.config}: {side} px, {options.classes} classes, {options.threads} threads")
    ratios = {}
    for name, values in milliseconds.items():
        line = f"{name:>16}: {sizes[name] / 1e6:6.2f} MB, min {values['min']:6.1f} ms, "
        line += f"median {values['median']:6.1f} ms"
        plain = seconds.get(f"{name.split()[0]} plain")
        if plain and not name.endswith("plain"):
            pairs = [a / b for a, b in zip(seconds[name], plain, strict=True)]
            ratios[name] = measure.spread(pairs)
            line += f", {ratios[name]['median']:.2f} of the plain network"
        print(line)
    measure.finish({"bytes": sizes, "milliseconds": milliseconds, "to_plain": ratios}, options.json)


def plain_network(image: Any, num_classes: int, *, quantise: bool) -> bytes:
    """Return a TFLite file of what the light model is made of, without what it adds."""
    import keras
    import tensorflow as tf
    from keras import layers

    def separable(maps: Any, stride: int = 1) -> Any:
        maps = layers.SeparableConv2D(CHANNELS, 3, strides=stride, padding="same", use_bias=False)(
            maps
        )
        return layers.BatchNormalization()(maps)

    given = keras.Input(image.shape[1:], batch_size=1)
    backbone = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_tensor=given / 127.5 - 1.0
    )
    names = ("block_6_expand_relu", "block_13_expand_relu", "out_relu")
    c3, c4, c5 = (layers.Conv2D(CHANNELS, 1)(backbone.get_layer(n).output) for n in names)
    p4 = c4 + layers.UpSampling2D()(c5)
    levels = [separable(maps) for maps in (c3 + layers.UpSampling2D()(p4), p4, c5)]
    for _ in range(2):
        levels.append(separable(levels[-1], stride=2))
    outputs = []
    for depth in (num_classes, 4):
        tower = [
            layers.SeparableConv2D(CHANNELS, 3, padding="same", activation="relu6")
            for _ in range(4)
        ]
        tower.append(layers.SeparableConv2D(9 * depth, 3, padding="same"))
        tower.append(layers.Reshape((-1, depth)))
        outputs.append(layers.Concatenate(axis=1)([_chain(tower, maps) for maps in levels]))
    with tempfile.TemporaryDirectory() as folder:
        keras.Model(given, outputs).export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: [[image.astype("float32")]]
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        return converter.convert()


def _chain(steps: list[Any], maps: Any) -> Any:
    for step in steps:
        maps = step(maps)
    return maps


def _runner(interpreter_class: type, content: bytes, image, threads: int):
    interpreter = interpreter_class(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], image.astype(given["dtype"]))
    return interpreter.invoke


if __name__ == "__main__":
    main()
