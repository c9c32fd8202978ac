"""Milliseconds and bytes of the light model's TFLite files, post-processing inside."""

import tempfile
from pathlib import Path

import measure

CONFIG = "mobilenet_320"


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

    from keras_retinanet.builders import build_model
    from keras_retinanet.config import load_config
    from keras_retinanet.export.tflite import TFLiteExporter

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
    seconds = measure.alternate(runs, rounds=options.rounds, warmup=5)
    milliseconds = {k: measure.spread([1000 * s for s in v]) for k, v in seconds.items()}
    print(f"{options.config}: {side} px, {options.classes} classes, {options.threads} threads")
    for name, values in milliseconds.items():
        print(
            f"{name:>16}: {sizes[name] / 1e6:6.2f} MB, min {values['min']:6.1f} ms, "
            f"median {values['median']:6.1f} ms"
        )
    measure.finish({"bytes": sizes, "milliseconds": milliseconds}, options.json)


def _runner(interpreter_class: type, content: bytes, image, threads: int):
    interpreter = interpreter_class(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], image.astype(given["dtype"]))
    return interpreter.invoke


if __name__ == "__main__":
    main()
