"""`retinanet beam`: prediction and conversion as jobs of Apache Beam."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import AsJson, Data, output_folder
from keras_retinanet.cli.console import counted, out, plain, print_findings, tell
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.beam_environment import (
    DIRECT_RUNNER,
    import_beam,
    make_runner,
    pipeline_options,
)

app = typer.Typer(
    help="Predict and convert with Apache Beam, for millions of images.", no_args_is_help=True
)

Runner = Annotated[
    str,
    typer.Option(
        help="DirectRunner (this process), PrismRunner, FlinkRunner, SparkRunner, DataflowRunner, "
        "..."
    ),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--beam-option",
        metavar="NAME=VALUE",
        help="An option of Beam's or of its runner; may be repeated.",
    ),
]


@app.command()
def predict(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="Version of an exported SavedModel, on all workers."),
    ],
    output: Annotated[
        str, typer.Option(metavar="FOLDER", help="New folder, or address, for JSON lines.")
    ],
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES...",
            help="Files, folders, patterns in quotes, and URLs and other addresses.",
        ),
    ] = None,
    list_file: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="FILE", help="Text file with an address on each line, for many."
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out detections below; default as of predict."),
    ] = None,
    keep_all: Annotated[bool, typer.Option("--all", help="Leave out no detection.")] = False,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="This class alone; may be repeated."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images per batch, at most; Beam finds the best size.")
    ] = 32,
    runner: Runner = DIRECT_RUNNER,
    beam_option: BeamOptions = None,
    as_json: AsJson = False,
) -> None:
    """Write an exported model's detections in images as lines of JSON, without pictures."""
    import_beam()
    options = pipeline_options(runner, beam_option or [])
    from keras_retinanet.detection.beam_jobs.detect_objects import DetectObjects
    from keras_retinanet.detection.beam_jobs.predict_job import run_prediction

    given, passed_over = _addresses(images or [])
    print_findings(passed_over)  # the rest is known to the workers alone
    done = run_prediction(
        DetectObjects(
            model,
            min_score=min_score,
            keep_all=keep_all,
            classes=class_name or (),
            max_batch_size=batch_size,
        ),
        given,
        output,
        address_list=list_file,
        findings=passed_over,
        runner=make_runner(runner),
        options=options,
    )
    tell(
        {
            "images": done.num_images,
            "detections": done.num_detections,
            "passed_over": done.num_passed_over,
            "output": output,
        }
    )
    out.print(
        f"{counted(done.num_images, 'image')}, {counted(done.num_detections, 'detection')}, "
        f"{done.num_passed_over} passed over: {plain(output)}"
    )


@app.command()
def convert(
    data: Data,
    output: Annotated[Path, output_folder("New folder, which all workers write into.")],
    splits: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Splits to convert; by default all.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="TFRecord files per split; default: by size.")
    ] = None,
    check_images: Annotated[
        bool, typer.Option(help="Decode every image, and leave out damaged ones.")
    ] = True,
    runner: Runner = DIRECT_RUNNER,
    beam_option: BeamOptions = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set as TFRecord files, those of `data convert --to tfrecord`."""
    import_beam()
    options = pipeline_options(runner, beam_option or [])
    from keras_retinanet.data.convert.beam_convert import ConversionSettings, convert_with_beam

    settings = ConversionSettings(
        data=data,
        output=output.absolute(),
        splits=[s.strip() for s in splits.split(",")] if splits is not None else None,
        num_files=shards,
        check_images=check_images,
    )
    done = convert_with_beam(settings, runner=make_runner(runner), options=options)
    print_findings(done.findings)
    tell(
        {
            "data": done.data_yaml,
            "images": done.num_images,
            "boxes": done.num_boxes,
            "classes": done.num_classes,
            "findings": len(done.findings),
        }
    )
    out.print(
        f"tfrecord: {counted(done.num_images, 'image')}, {counted(done.num_boxes, 'box')} of "
        f"{counted(done.num_classes, 'class')}: {plain(str(done.data_yaml))}"
    )


def _addresses(given: list[str]) -> tuple[list[str], list[Any]]:
    """Return the addresses of images, and what was passed over on the way.

    Raises:
        ConfigError: there is a video or a camera.
        DataError: what is given is not there.
    """
    from keras_retinanet.data.images.download import is_url
    from keras_retinanet.data.images.given_images import given_images

    remote = [name for name in given if "://" in name and not is_url(name)]
    local = given_images([name for name in given if name not in remote])
    videos = [*map(str, local.videos), *local.streams]
    if videos:
        raise ConfigError(f"{videos[0]} is a video or camera: look at it with `retinanet predict`")
    return [*map(str, local.files), *local.urls, *remote], local.findings
