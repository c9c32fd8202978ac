"""The verb predict: a model's detections in image files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.arguments import (
    AsJson,
    BatchSize,
    Model,
    Tile,
    TileOverlap,
    model_file,
    output_folder,
    tiled,
)
from keras_retinanet.cli.console import counted, out, plain, print_findings, tell
from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.errors import ConfigError


def predict(
    model: Model,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Images and videos: files, folders, patterns in quotes, URLs, camera:0, or - for "
            "a list on standard input.",
        ),
    ],
    output: Annotated[Path, output_folder("Folder for pictures and files.")],
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Leave out detections below this score. By default the model's own thresholds, "
            "if it was trained with inference.thresholds=best, else 0.5.",
        ),
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--all", help="Write detections below it to files, not to pictures.")
    ] = False,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="This class alone; may be repeated."),
    ] = None,
    file_format: Annotated[
        list[str] | None,
        typer.Option("--format", help="json (default), coco, yolo or csv; may be repeated."),
    ] = None,
    crops: Annotated[bool, typer.Option("--crops", help="Cut each object out, too.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier call's predictions.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of a video, look at each Nth frame.")
    ] = 1,
    fps: Annotated[
        float | None,
        typer.Option(min=0.001, help="In place of --every: so many frames of a second, at most."),
    ] = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    batch_size: BatchSize = 8,
    as_json: AsJson = False,
) -> None:
    """Draw a model's detections on images and videos, and write them as JSON, COCO, YOLO or CSV."""
    from keras_retinanet.detection.load_detector import load_detector
    from keras_retinanet.detection.predict import predict as run_prediction
    from keras_retinanet.detection.predict import shown_from
    from keras_retinanet.detection.prediction_files import FORMATS, NAMES, refuse_earlier
    from keras_retinanet.detection.video.frames import Pace

    formats = file_format or ["json"]
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"--format {name}: {did_you_mean(name, list(FORMATS))}")
    file = model_file(model)
    refuse_earlier(output, overwrite=overwrite)
    detector = tiled(load_detector(file), tile, tile_overlap)
    limits = shown_from(detector) if min_score is None else min_score
    summary = run_prediction(
        detector,
        images,
        output,
        lines=sys.stdin,
        min_score=min_score,
        keep_all=keep_all,
        classes=class_name or (),
        formats=formats,
        crops=crops,
        batch_size=batch_size,
        pace=Pace(every, fps),
    )
    print_findings(summary.findings)
    above = "its class's threshold" if isinstance(limits, tuple) else f"score {limits}"
    scores = "all scores" if keep_all else f"{above} and more"
    paths = [output / name for name in NAMES if (output / name).exists()]
    tell(
        {
            "images": summary.num_images,
            "videos": [video.as_json(output) for video in summary.videos],
            "detections": summary.num_detections,
            "passed_over": [finding.where for finding in summary.findings],
            "written": paths,
        }
    )
    written = ", ".join(plain(str(path)) for path in paths)
    done = [counted(summary.num_images, "image")]
    if summary.videos:
        num_frames = sum(video.num_frames for video in summary.videos)
        done.append(f"{counted(num_frames, 'frame')} of {counted(len(summary.videos), 'video')}")
    done.append(counted(summary.num_detections, "detection"))
    out.print(f"{', '.join(done)} of {scores}: {written}")
