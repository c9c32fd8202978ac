"""retinanet export: a model in a format for serving, published after it was verified."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import (
    AsJson,
    KerasModel,
    OptionalData,
    Split,
    keras_file,
    output_folder,
)
from keras_retinanet.cli.console import described_dataset, out, tell
from keras_retinanet.errors import ConfigError, UserError

Output = Annotated[Path, output_folder("Folder for numbered versions, as TF Serving polls it.")]
Format = Annotated[
    str, typer.Option(help="saved_model, tflite, onnx, openvino, keras or torchvision.")
]
_PRECISION_HELP = (
    "float32 (default); saved_model: bfloat16; openvino: bfloat16 or int8; onnx: int8; tflite: "
    "float16, dynamic or int8."
)
Precision = Annotated[str | None, typer.Option(help=_PRECISION_HELP)]
Postprocessing = Annotated[
    str | None, typer.Option(help="tflite: op, builtin or none (docs/edge.md).")
]
InputType = Annotated[str | None, typer.Option(help="tflite: float32 or uint8.")]
InputSize = Annotated[int | None, typer.Option(min=32, help="tflite: side of the input in pixels.")]
CalibrationData = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="int8: data set whose split train is used for calibration."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="openvino int8: keep layers in float32 until AP on --calibrate drops by no more.",
    ),
]
Signatures = Annotated[
    list[str] | None, typer.Option(metavar="KIND=NAME", help="Rename a signature; KIND= omits it.")
]
Raw = Annotated[str | None, typer.Option(help="Leave out NMS; input size: dynamic or fixed.")]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Largest image that a SavedModel decodes, in pixels.")
]
Warmup = Annotated[
    bool | None, typer.Option(help="Write warm-up requests for TF Serving (default).")
]
Threshold = Annotated[float | None, typer.Option(min=0, max=1, help="Overrides the model's.")]
MaxDetections = Annotated[int | None, typer.Option(min=1, help="Overrides the model's.")]
Images = Annotated[Path | None, typer.Option(help="Image or folder to compare detections on.")]
Count = Annotated[int, typer.Option(min=1, help="At most this many images.")]


def export(
    model: KerasModel,
    output: Output,
    format: Format = "saved_model",
    precision: Precision = None,
    postprocessing: Postprocessing = None,
    input_type: InputType = None,
    input_size: InputSize = None,
    calibrate: CalibrationData = None,
    calibrate_count: Count = 128,
    max_ap_drop: MaxDrop = None,
    signature: Signatures = None,
    raw: Raw = None,
    max_pixels: MaxPixels = None,
    warmup: Warmup = None,
    score_threshold: Threshold = None,
    nms_iou_threshold: Threshold = None,
    max_detections: MaxDetections = None,
    verify_images: Images = None,
    verify_count: Count = 16,
    data: OptionalData = None,
    split: Split = "val",
    as_json: AsJson = False,
) -> None:
    """Write OUTPUT/<next version>, once it is verified to give the model's detections.

    With --data, AP of the model and of the export is measured, too.
    """
    from keras_retinanet.export.export import EXPORTERS, export_model

    file = keras_file(model)
    calibration_files = _calibration_files(calibrate, calibrate_count)
    options = {
        "precision": precision,
        "postprocessing": postprocessing,
        "input_type": input_type,
        "input_size": input_size,
        "calibration_files": calibration_files,
        "calibration_data": None if max_ap_drop is None else calibrate,
        "max_ap_drop": max_ap_drop,
        "signatures": tuple(signature) if signature else None,
        "raw": raw,
        "max_pixels": max_pixels,
        "warmup": warmup,
    }
    exporter = _exporter(EXPORTERS, format, options)
    images = _verification_files(verify_images, verify_count, calibration_files or ())
    loaded = _loaded(file, score_threshold, nms_iou_threshold, max_detections)
    dataset = None
    if data is not None:
        dataset = described_dataset(data, split)
        images = dataset.image_paths[:verify_count] if verify_images is None else images
    version, parity = export_model(
        loaded, output, exporter, images=images, dataset=dataset, model_file=file
    )
    tell({"version": version, "parity": str(parity)})
    out.print(f"{version}: same as the model: {parity}")


def _calibration_files(data: str | None, count: int) -> tuple[str, ...] | None:
    """Return at most `count` images of the split train, spread over all: neighbours are alike."""
    if data is None:
        return None
    files = described_dataset(data, "train").image_paths
    return tuple(files[:: max(1, len(files) // count)][:count])


def _verification_files(images: Path | None, count: int, others: Sequence[str]) -> list[str]:
    """Return the files to compare detections on: those of `images`, if given, else the others."""
    from keras_retinanet.data.images.listing import list_images

    if images is None:
        return list(others[:count])
    files = [str(path) for path in list_images(images)[:count]]
    if not files:
        raise UserError(f"{images} holds no image to verify the export with")
    return files


def _loaded(
    file: Path,
    score_threshold: float | None,
    nms_iou_threshold: float | None,
    max_detections: int | None,
) -> Any:
    """Return the model in a file, with its settings of inference changed as far as given."""
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.models.saving import copy_for_inference

    model = load_model(file)
    changes: dict[str, Any] = {
        "score_threshold": score_threshold,
        "nms_iou_threshold": nms_iou_threshold,
        "max_detections": max_detections,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        return model
    return copy_for_inference(model, inference=dataclasses.replace(model.inference, **changes))


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
