"""retinanet export: a model in a format for serving, published after it was verified."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import OptionalData, Split, model_file
from keras_retinanet.cli.console import describe, out
from keras_retinanet.errors import ConfigError, UserError


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A run directory (its best.keras), a .keras file or a checkpoint."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the versions, as TF Serving polls it.")],
    format: Annotated[
        str, typer.Option(help="saved_model, tflite, onnx or keras.")
    ] = "saved_model",
    precision: Annotated[str | None, typer.Option(help="Of the weights; see the docs.")] = None,
    postprocessing: Annotated[
        str | None, typer.Option(help="tflite: op, builtin or none (docs/edge.md).")
    ] = None,
    input_type: Annotated[str | None, typer.Option(help="tflite: float32 or uint8.")] = None,
    input_size: Annotated[
        int | None, typer.Option(min=32, help="tflite: side of the input in pixels.")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="tflite int8: as --data; its split train has the images."
        ),
    ] = None,
    calibrate_count: Annotated[int, typer.Option(min=1, help="At most this many images.")] = 128,
    signature: Annotated[
        list[str] | None, typer.Option(metavar="KIND=NAME", help="Name a SavedModel's signature.")
    ] = None,
    raw: Annotated[
        str | None, typer.Option(help="Without NMS, for inputs of size: dynamic or fixed.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Largest image file that a SavedModel decodes.")
    ] = None,
    warmup: Annotated[
        bool | None, typer.Option(help="Write warm-up requests for TF Serving (default).")
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="In place of the model's.")
    ] = None,
    nms_iou_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="In place of the model's.")
    ] = None,
    max_detections: Annotated[
        int | None, typer.Option(min=1, help="In place of the model's.")
    ] = None,
    verify_images: Annotated[
        Path | None, typer.Option(help="Image or folder to compare the detections on.")
    ] = None,
    verify_count: Annotated[int, typer.Option(min=1, help="At most this many images.")] = 16,
    data: OptionalData = None,
    split: Split = "val",
) -> None:
    """Write OUTPUT/<next version>, after it was seen to give the model's detections."""
    from keras_retinanet.data.images.listing import list_images
    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.export.export import EXPORTERS, export_model
    from keras_retinanet.models.saving import copy_for_inference

    model = model_file(model)
    calibration_files = None
    if calibrate is not None:
        train_set = load_dataset(calibrate, "train")
        describe("train", train_set)
        calibration_files = _evenly(train_set.image_paths, calibrate_count)
    options = {
        "precision": precision,
        "postprocessing": postprocessing,
        "input_type": input_type,
        "input_size": input_size,
        "calibration_files": calibration_files,
        "signatures": tuple(signature) if signature else None,
        "raw": raw,
        "max_pixels": max_pixels,
        "warmup": warmup,
    }
    thresholds: dict[str, Any] = {
        "score_threshold": score_threshold,
        "nms_iou_threshold": nms_iou_threshold,
        "max_detections": max_detections,
    }
    exporter = _exporter(EXPORTERS, format, options)
    files = list((calibration_files or ())[:verify_count])
    if verify_images is not None:
        files = [str(path) for path in list_images(verify_images)[:verify_count]]
        if not files:
            raise UserError(f"{verify_images} holds no image to verify the export with")
    loaded = load_model(model)
    changes = {name: value for name, value in thresholds.items() if value is not None}
    if changes:
        inference = dataclasses.replace(loaded.inference, **changes)
        loaded = copy_for_inference(loaded, inference=inference)
    dataset = None
    if data is not None:
        dataset = load_dataset(data, split)
        describe(split, dataset)
        if verify_images is None:
            files = dataset.image_paths[:verify_count]
    version, parity = export_model(
        loaded, output, exporter, images=files, dataset=dataset, model_file=model
    )
    out.print(f"{version}: same as the model: {parity}")


def _evenly(files: list[str], count: int) -> tuple[str, ...]:
    """Return at most `count` files, spread over all: neighbours are often alike."""
    step = max(1, len(files) // count)
    return tuple(files[::step][:count])


def _exporter(exporters: dict[str, type], name: str, options: dict[str, Any]) -> Any:
    """Return the exporter of a format with the options that were given.

    Options are fields of the exporters, under the same names.
    """
    if name not in exporters:
        raise ConfigError(f"--format must be one of {', '.join(exporters)}, not {name!r}")
    known = {field.name for field in dataclasses.fields(exporters[name])}
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            key = "calibrate" if key == "calibration_files" else key
            raise ConfigError(f"--{key.replace('_', '-')} does not go with --format {name}")
    return exporters[name](**given)
