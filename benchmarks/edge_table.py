"""AP, milliseconds and megabytes of int8 TFLite files: image sizes, and one anchor a cell or six.

    python benchmarks/edge_table.py --data configs/data/bccd.yaml --output edge

All are EfficientNet-Lite0 with the light pyramid and heads of the configs for phones, trained for
as many epochs. One anchor comes with edge_320's matching and losses, six with mobilenet_320's. What
--output already holds is not trained or exported again, but timed again.
"""

import json
from pathlib import Path

import measure

# The configs for phones, with one anchor a cell and with six.
CONFIGS = {1: "edge_320", 6: "mobilenet_320"}
# A pretrained backbone and a schedule for some hundreds of images, in place of COCO's.
SETTINGS = (
    *("model.backbone=efficientnet_lite0", "model.weights=efficientnet-lite0"),
    *("model.fpn_channels=64", "model.head_channels=64", "model.head_depth=2"),
    *("anchors.sizes=[16,32,64,128,256]", "augment.preset=paper"),
    *("schedule.warmup_iterations=50", "training.batch_size=4", "optimizer.learning_rate=0.001"),
    "optimizer.learning_rate_batch_size=4",
)


def row(folder: Path, data: str, size: int, anchors: int, epochs: int) -> dict[str, float]:
    """Train, export and time one network; return its figures."""
    run, export = folder / f"{size}-{anchors}", folder / f"{size}-{anchors}-int8"
    length = (f"schedule.length={epochs}", f"training.evaluate_every={epochs}")
    settings = (*SETTINGS, f"image.size={size}", *length)
    measure.train_once(run, CONFIGS[anchors], "--data", data, *settings)
    if not (export / "1" / "manifest.json").is_file():
        writing = ("export", run, "--format", "tflite", "--precision", "int8", "--output", export)
        measure.command_line(*writing, "--calibrate", data, "--data", data)
    file, timing = export / "1" / "model.tflite", folder / f"{size}-{anchors}-timing"
    sized = ("--image-size", f"{size}x{size}", "--rounds", 30)
    measure.command_line("benchmark", file, *sized, "--output", timing)
    (timed,) = json.loads((timing / "benchmark.json").read_text())["results"]
    manifest = json.loads((export / "1" / "manifest.json").read_text())
    return {
        "AP": 100 * float(measure.evaluations(run)[-1]["AP"]),
        "int8 AP": 100 * manifest["parity"][file.name]["ap"],
        "ms": timed["median_ms"],
        "MB": file.stat().st_size / 1e6,
    }


def main() -> None:
    parser = measure.parser(__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 320, 384])
    parser.add_argument("--anchors", type=int, nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--output", type=Path, required=True, help="folder for runs and exports")
    arguments = parser.parse_args()
    rows = {}
    for size in arguments.sizes:
        for anchors in arguments.anchors:
            name = f"{size} px, {anchors} a cell"
            rows[name] = row(arguments.output, arguments.data, size, anchors, arguments.epochs)
            figures = "  ".join(f"{key} {value:.1f}" for key, value in rows[name].items())
            print(f"{name}: {figures}", flush=True)
    measure.finish({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
