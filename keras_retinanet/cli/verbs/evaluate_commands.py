"""`retinanet evaluate`, whole or one process' share, and `merge`, which makes one of the shares."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet import conventions
from keras_retinanet.cli.arguments import (
    AsJson,
    BatchSize,
    Data,
    FileFormats,
    Model,
    OptionalData,
    Split,
    Tile,
    TileOverlap,
    file_formats,
    model_file,
    model_identity,
    output_folder,
    tiled,
)
from keras_retinanet.cli.console import (
    counted,
    described_dataset,
    err,
    out,
    plain,
    print_findings,
    print_metrics,
    print_shard,
    tell,
)
from keras_retinanet.cli.verbs.evaluation_report import prepare_report, write_evaluation_report
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import staged
from keras_retinanet.system.shards.shard import Shard

EvaluationOutput = Annotated[
    Path | None,
    output_folder("Folder for report.html, its plots, metrics.json and detections.json."),
]
SHARD_HELP = (
    "Evaluate share I of N (0/N to N-1/N) and write its part into --output; `retinanet merge` "
    "combines the parts."
)


def evaluate(
    model: Model,
    data: Data,
    split: Split = "val",
    output: EvaluationOutput = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    batch_size: BatchSize = 8,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help=SHARD_HELP)] = None,
    max_detections: Annotated[
        int,
        typer.Option(
            min=conventions.MAX_DETECTIONS,
            help="Detections per image that count. COCO's figures count 100; use 300 or 1000 for "
            "images with more objects.",
        ),
    ] = conventions.MAX_DETECTIONS,
    as_json: AsJson = False,
) -> None:
    """Measure COCO's AP and AR of a model on a data set, and report what to do next."""
    from keras_retinanet.detection.load_detector import load_detector
    from keras_retinanet.detection.runtimes.keras_model import KerasDetector
    from keras_retinanet.detection.tiled_detector import tiling_in_use
    from keras_retinanet.evaluation.evaluate import DatasetEvaluation

    share = None if shard is None else Shard.parse(shard)
    if share is not None and output is None:
        raise ConfigError("--shard needs --output, the folder of the parts")
    file = model_file(model)
    loaded = load_detector(file)
    if max_detections > conventions.MAX_DETECTIONS:
        if isinstance(loaded, KerasDetector):
            loaded = loaded.keeping(max_detections)
        else:
            err.print("an export keeps as many detections as it was exported with")
    loaded = tiled(loaded, tile, tile_overlap)
    dataset = described_dataset(data, split, max_detections=max_detections)
    if share is not None and output is not None:
        _run_shard(file, loaded, dataset, share, output, batch_size, max_detections)
        return
    start = time.perf_counter()
    evaluation = DatasetEvaluation(
        loaded, dataset, batch_size=batch_size, max_detections=max_detections
    )
    with ThreadPoolExecutor(1) as beside:
        if output is not None:
            beside.submit(prepare_report)
        evaluator = evaluation.run()
        seconds = time.perf_counter() - start
    _tell_evaluation(
        evaluator,
        output,
        title=f"{file.stem} on {Path(data).name}, {split}",
        facts={
            "model": told(str(file)),
            "data": f"{data}, {split}",
            "tiles": str(tiling_in_use(loaded)),
            "speed": f"{seconds / len(dataset):.3f} s an image, start included",
        },
        result={"model": file, "data": data, "split": split},
        model=file,
        detector=loaded,
    )


def _run_shard(
    file: Path,
    detector: Any,
    dataset: Any,
    shard: Shard,
    output: Path,
    batch_size: int,
    max_detections: int,
) -> None:
    """Write a shard's part, and say what was done."""
    from keras_retinanet.evaluation.shards.evaluate_shard import evaluate_shard

    path, num_images = evaluate_shard(
        detector,
        dataset,
        shard,
        output,
        model=model_identity(file, detector),
        batch_size=batch_size,
        max_detections=max_detections,
    )
    tell({"part": path, "images": num_images})
    print_shard(shard, path, num_images, "evaluated")


def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Parts, or folders with parts.")
    ],
    data: OptionalData = None,
    split: Annotated[str, typer.Option(help="Split of the data set that was evaluated.")] = "val",
    output: Annotated[
        Path | None,
        output_folder("Folder for what one process would write; of predictions, needed."),
    ] = None,
    file_format: FileFormats = None,
    config: Annotated[
        str | None,
        typer.Option(help="Of a data check: config whose anchors are matched with every object."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Combine the parts that `evaluate`, `predict` or `data check` wrote with --shard."""
    from keras_retinanet.data.checks.shards.check_shard import KIND as CHECK
    from keras_retinanet.detection.predict_shard import KIND as PREDICTION
    from keras_retinanet.system.shards.part_set import kind_of_parts

    parts = [staged(part) for part in parts]
    kind = kind_of_parts(parts)
    if config is not None and kind != CHECK:
        raise ConfigError(f"--config is for a data check, and the parts are of another: {kind}")
    if kind == CHECK:
        _merge_checks(parts, data, config, output, file_format, as_json=as_json)
        return
    if kind == PREDICTION:
        _merge_predictions(parts, data, output, file_format)
        return
    from keras_retinanet.evaluation.shards.evaluate_shard import merge_parts

    if data is None:
        raise ConfigError("parts of an evaluation need --data, the data set that was evaluated")
    if file_format is not None:
        raise ConfigError("--format is for predictions, and the parts are of an evaluation")
    evaluator = merge_parts(parts, described_dataset(data, split))
    _tell_evaluation(
        evaluator,
        output,
        title=f"{Path(data).name}, {split}",
        facts={"parts": told(", ".join(map(str, parts))), "data": f"{data}, {split}"},
        result={"parts": parts, "data": data, "split": split},
    )


def _merge_checks(
    parts: list[Path],
    data: str | None,
    config: str | None,
    output: Path | None,
    file_format: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """Make the report of a data check of its parts."""
    from keras_retinanet.cli.data_verbs.check_command import merge_checks

    if data is None:
        raise ConfigError("parts of a data check need --data, the data set that was checked")
    if file_format is not None:
        raise ConfigError("--format is for predictions, and the parts are of a data check")
    merge_checks(parts, data, config, output, as_json=as_json)


def _merge_predictions(
    parts: list[Path], data: str | None, output: Path | None, file_format: list[str] | None
) -> None:
    """Write the files of a prediction's parts."""
    from keras_retinanet.detection.predict_shard import merge_predictions
    from keras_retinanet.detection.prediction_files import TEXT_NAMES

    if data is not None:
        raise ConfigError("--data is for an evaluation, and the parts are of a prediction")
    if output is None:
        raise ConfigError("parts of a prediction need --output, the folder for predictions.json")
    summary = merge_predictions(parts, output, formats=file_formats(file_format))
    print_findings(summary.findings)
    written = [output / name for name in TEXT_NAMES if (output / name).exists()]
    tell(
        {
            "parts": parts,
            "images": summary.num_images,
            "detections": summary.num_detections,
            "passed_over": [finding.where for finding in summary.findings],
            "written": written,
        }
    )
    out.print(
        f"{counted(summary.num_images, 'image')}, {counted(summary.num_detections, 'detection')}: "
        + ", ".join(plain(str(path)) for path in written)
    )


def _tell_evaluation(
    evaluator: Any,
    output: Path | None,
    *,
    title: str,
    facts: dict[str, str],
    result: dict[str, Any],
    model: Path | None = None,
    detector: Any = None,
) -> None:
    """Print the figures, and write them with the report.

    Args:
        result: what --json prints, with "data" and "split".
        model: the file; None where it is not known.
        detector: what was evaluated; None where several processes were.
    """
    from keras_retinanet.data.source import absolute_name
    from keras_retinanet.detection.runtimes.keras_model import KerasDetector
    from keras_retinanet.evaluation.evaluate import write_evaluation
    from keras_retinanet.evaluation.evaluation_record import EvaluationRecord

    metrics = evaluator.metrics()
    print_metrics(metrics)
    tell({**result, "metrics": metrics, "output": output})
    if output is not None:
        write_evaluation(metrics, evaluator.results, output)
        EvaluationRecord(
            model=None if model is None else told(str(model.absolute())),
            data=absolute_name(result["data"]),
            split=result["split"],
            max_detections=evaluator.max_detections,
        ).write(output)
        report = write_evaluation_report(
            evaluator,
            output,
            title=title,
            facts=facts,
            model=detector.model if isinstance(detector, KerasDetector) else None,
            folder_of_model=None if model is None else model.parent,
        )
        out.print(f"{report}, {output / 'metrics.json'}, {output / 'detections.json'}")
