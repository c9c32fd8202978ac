"""Prediction by Beam's DirectRunner against `retinanet predict`, on the same images and cores.

Repeats the images of a folder up to --count, breaks some of them, and looks at all in processes of
their own, in turn: `predict`, which draws pictures; the walk over image files inside of it, which
does not; and Beam. Compared are the detections, what is passed over, and images a second, from the
listing to the last file written, with and without the loading of the model.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

WORKERS = ("predict", "walk", "beam")
SUFFIXES = (".jpg", ".jpeg", ".png")
# Of a broken file, what is left.
KEPT_SHARE = 0.6


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("model", type=Path, help="version of an exported SavedModel")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--broken", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8, help="of predict; Beam's are adapted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        result = globals()[f"run_{options.worker}"](options)
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        make_images(options.images, folder, count=options.count, num_broken=options.broken)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WORKERS}
        for round_number in range(options.rounds):
            for name in WORKERS:
                output = Path(scratch) / f"{name}-{round_number}"
                runs[name].append(worker(name, options, folder, output))
        compared = compare(Path(scratch) / "predict-0", Path(scratch) / "beam-0")
    rates = {
        name: {
            "images_per_second": statistics.median(r["images"] / r["seconds"] for r in found),
            "with_loading": statistics.median(
                r["images"] / (r["seconds"] + r["load_seconds"]) for r in found
            ),
        }
        for name, found in runs.items()
    }
    for name, rate in rates.items():
        ratio = rate["images_per_second"] / rates["predict"]["images_per_second"]
        print(
            f"{name:8} {rate['images_per_second']:6.2f} images/s ({ratio:.2f} of predict), "
            f"{rate['with_loading']:.2f} with the loading of the model"
        )
    print(
        f"{compared['images']} images, {compared['detections']} detections: "
        f"{compared['same_detections']} the same to the last digit, largest difference of a score "
        f"{compared['score_difference']:.1e}, of a box {compared['box_difference']:.2f} px; "
        f"passed over: {compared['passed_over']} by predict, {compared['passed_over_by_beam']} by "
        f"Beam, the same with the same reasons: {compared['passed_over_alike']}"
    )
    measure.finish({"rates": rates, "compared": compared, "runs": runs}, options.json)


def make_images(source: Path, folder: Path, *, count: int, num_broken: int) -> None:
    """Copy images, again and again, and cut some of the copies short."""
    files = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
    folder.mkdir()
    for i in range(count):
        file = files[i % len(files)]
        shutil.copyfile(file, folder / f"{i:05d}{file.suffix}")
    copies = sorted(folder.iterdir())
    for path in copies[:: max(1, count // num_broken)][:num_broken] if num_broken else ():
        os.truncate(path, int(path.stat().st_size * KEPT_SHARE))


def worker(name: str, options: Any, images: Path, output: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, str(options.model), str(images), "--worker", name]
    command += ["--output", str(output), "--batch-size", str(options.batch_size)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def run_predict(options: Any) -> dict[str, Any]:
    from keras_retinanet.detection.load_detector import load_detector
    from keras_retinanet.detection.predict import predict

    detector, load_seconds = timed(lambda: load_detector(options.model))
    summary, seconds = timed(
        lambda: predict(detector, options.images, options.output, batch_size=options.batch_size)
    )
    return {"images": summary.num_images, "seconds": seconds, "load_seconds": load_seconds}


def run_walk(options: Any) -> dict[str, Any]:
    from keras_retinanet.data.images.given_images import given_images
    from keras_retinanet.detection.load_detector import load_detector
    from keras_retinanet.detection.predict import sides_of
    from keras_retinanet.detection.usable_images import usable_images

    detector, load_seconds = timed(lambda: load_detector(options.model))

    def walk() -> int:
        usable = usable_images(given_images([options.images]), options.images).images
        paths = [str(image.read_from) for image in usable]
        found = detector.detect_files(paths, *sides_of(usable), batch_size=options.batch_size)
        return sum(1 for _ in found)

    count, seconds = timed(walk)
    return {"images": count, "seconds": seconds, "load_seconds": load_seconds}


def run_beam(options: Any) -> dict[str, Any]:
    from keras_retinanet.data.images.given_images import given_images
    from keras_retinanet.system.beam_environment import make_runner, pipeline_options

    runner, flags = make_runner("DirectRunner"), pipeline_options("DirectRunner", [])
    from keras_retinanet.detection.beam_jobs.detect_objects import DetectObjects
    from keras_retinanet.detection.beam_jobs.model_handler import SavedModelHandler
    from keras_retinanet.detection.beam_jobs.predict_job import run_prediction

    loads: list[float] = []
    load = SavedModelHandler.load_model

    def timed_load(self: Any) -> Any:
        model, seconds = timed(lambda: load(self))
        loads.append(seconds)
        return model

    SavedModelHandler.load_model = timed_load
    detect, checked = timed(lambda: DetectObjects(options.model))

    def run() -> Any:
        files = [str(path) for path in given_images([options.images]).files]
        return run_prediction(detect, files, str(options.output), runner=runner, options=flags)

    summary, seconds = timed(run)
    inside = sum(loads)
    return {
        "images": summary.num_images,
        "seconds": seconds - inside,
        "load_seconds": checked + inside,
        "loads": len(loads),
    }


def compare(predicted: Path, by_beam: Path) -> dict[str, Any]:
    """Return how the files of the two differ."""
    content = json.loads((predicted / "predictions.json").read_text(encoding="utf-8"))
    expected = {Path(image["file"]).name: image["detections"] for image in content["images"]}
    found = {Path(row["file"]).name: row["detections"] for row in rows(by_beam, "detections")}
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    same, scores, boxes = 0, 0.0, 0.0
    for name, detections in expected.items():
        others = found[name]
        assert [d["class"] for d in others] == [d["class"] for d in detections], name
        for a, b in zip(detections, others, strict=True):
            same += a == b
            scores = max(scores, abs(a["score"] - b["score"]))
            boxes = max([boxes, *(abs(x - y) for x, y in zip(a["box"], b["box"], strict=True))])
    reasons = [
        {(Path(row["file"]).name, row["problem"], row["action"]) for row in passed}
        for passed in (content["passed_over"], list(rows(by_beam, "passed_over")))
    ]
    return {
        "images": len(expected),
        "detections": sum(map(len, expected.values())),
        "same_detections": same,
        "score_difference": scores,
        "box_difference": boxes,
        "passed_over": len(reasons[0]),
        "passed_over_by_beam": len(reasons[1]),
        "passed_over_alike": reasons[0] == reasons[1],
    }


def rows(folder: Path, name: str) -> Any:
    for path in sorted(folder.glob(f"{name}-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


if __name__ == "__main__":
    main()
