"""The verb predict: a model's detections in image files."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import (
    AsJson,
    BatchSize,
    FileFormats,
    Model,
    Tile,
    TileOverlap,
    file_formats,
    model_file,
    model_identity,
    output_folder,
    tiled,
)
from keras_retinanet.cli.console import counted, out, plain, print_findings, print_shard, tell
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.shards.shard import Shard

SHARD_HELP = (
    "Take share I of N of the images (0/N to N-1/N) and write its part into --output; `retinanet "
    "merge` combines the parts."
)


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
    file_format: FileFormats = None,
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
    shard: Annotated[str | None, typer.Option(metavar="I/N", help=SHARD_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a model's detections on images and videos, and write them as JSON, COCO, YOLO or CSV."""
    from keras_retinanet.detection.load_detector import load_detector
    from keras_retinanet.detection.predict import predict as run_prediction
    from keras_retinanet.detection.predict import shown_from
    from keras_retinanet.detection.prediction_files import NAMES, refuse_earlier
    from keras_retinanet.detection.video.frames import Pace

    formats = file_formats(file_format)
    file = model_file(model)
    if shard is not None:
        _refuse_with_shard(file_format, overwrite=overwrite, has_pace=every != 1 or fps is not None)
        _predict_shard(
            Shard.parse(shard),
            file,
            tiled(load_detector(file), tile, tile_overlap),
            images,
            output,
            lines=sys.stdin,
            min_score=min_score,
            keep_all=keep_all,
            classes=class_name or (),
            crops=crops,
            batch_size=batch_size,
        )
        return
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


def _refuse_with_shard(formats: list[str] | None, *, overwrite: bool, has_pace: bool) -> None:
    """Refuse what would have no effect on a share.

    Raises:
        ConfigError: it is given.
    """
    if formats is not None:
        raise ConfigError("--shard writes a part: give --format to `retinanet merge`")
    if overwrite:
        raise ConfigError("--shard goes on with what is there: remove the folder to begin anew")
    if has_pace:
        raise ConfigError("--every and --fps are for videos, and --shard takes images alone")


def _predict_shard(
    shard: Shard,
    file: Path,
    detector: Any,
    images: list[str],
    output: Path,
    **options: Any,
) -> None:
    """Write a shard's part, and say what was done."""
    from keras_retinanet.detection.predict_shard import predict_shard

    done = predict_shard(
        detector, images, output, shard, model_id=model_identity(file, detector), **options
    )
    print_findings(done.findings)
    tell(
        {
            "part": done.part,
            "images": done.num_images,
            "passed_over": [finding.where for finding in done.findings],
        }
    )
    print_shard(shard, done.part, done.num_images, "looked at")
