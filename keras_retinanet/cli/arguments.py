"""Arguments and options that several verbs have, described alike, and what they may be."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.console import lines_to_stderr, writable
from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.conventions import TILE_OVERLAP
from keras_retinanet.errors import ConfigError, WeightsError
from keras_retinanet.system.buckets.incoming import staged

_CONFIG_HELP = "YAML file, or the name of a shipped config."
DATA_HELP = (
    "Data YAML, a folder or file in a known format, here or in a bucket (s3://...), or tfds:NAME."
)
_MODEL_HELP = (
    "A run directory (its best.keras), a .keras, .tflite, .onnx or .xml file, or an export's "
    "version."
)
_KERAS_MODEL_HELP = "A run directory (its best.keras), a .keras file or a checkpoint."


def output_folder(help: str) -> Any:
    """Return the option --output; a folder that cannot be written is refused before the work.

    Of an address in a bucket, the verb gets the local folder whose files are sent there.
    """
    return typer.Option("--output", metavar="FOLDER", help=help, callback=_writable)


def _writable(value: Path | None) -> Path | None:
    return None if value is None else writable(value, "--output ")


def _known_target(value: str) -> str:
    if value not in ("server", "edge"):
        raise ConfigError(f"--target is server or edge, not {value}")
    return value


ConfigName = Annotated[str, typer.Argument(metavar="CONFIG", help=_CONFIG_HELP)]
OptionalConfigName = Annotated[str | None, typer.Argument(metavar="CONFIG", help=_CONFIG_HELP)]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings to change.")
]
Data = Annotated[str, typer.Option(metavar="DATA", help=DATA_HELP)]
OptionalData = Annotated[str | None, typer.Option(metavar="DATA", help=DATA_HELP)]
Split = Annotated[str, typer.Option(help="Split of the data set.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help=_MODEL_HELP)]
Models = Annotated[list[Path], typer.Argument(metavar="MODEL...", help=_MODEL_HELP)]
KerasModel = Annotated[Path, typer.Argument(metavar="MODEL", help=_KERAS_MODEL_HELP)]
OptionalKerasModel = Annotated[Path | None, typer.Option(metavar="MODEL", help=_KERAS_MODEL_HELP)]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=lines_to_stderr,
        help="Print the result as JSON; everything else goes to stderr.",
    ),
]
FileFormats = Annotated[
    list[str] | None,
    typer.Option("--format", help="json (default), coco, yolo or csv; may be repeated."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images, or tiles of one image, per batch.")]
Minutes = Annotated[
    float,
    typer.Option(min=0.5, help="How long the training may take, from its start to its report."),
]
Target = Annotated[
    str,
    typer.Option(
        metavar="server|edge",
        callback=_known_target,
        help="Where the detector is to run: edge plans for phones and single-board computers.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="SIZE",
        help="Cut images into tiles of so many pixels; 0: do not. By default as the model says.",
    ),
]
TileOverlap = Annotated[
    float | None,
    typer.Option(min=0, max=0.9, help="Of neighbouring tiles, in shares of their side (0.2)."),
]


def tiled(detector: Any, tile: int | None, overlap: float | None) -> Any:
    """Return a detector that cuts images as --tile and --tile-overlap say, or as its model does.

    Raises:
        ConfigError: they fit neither each other nor a detector.
    """
    from keras_retinanet.detection.tiled_detector import with_tiles
    from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling

    inside = getattr(detector, "tiling_inside", WHOLE_IMAGES)
    if inside.size is not None and (tile is not None or overlap is not None):
        raise ConfigError(
            f"--tile: this export cuts images into tiles of {inside.size} px itself, which cannot "
            "be changed: take the .keras file"
        )
    if tile == 0:
        return with_tiles(detector, WHOLE_IMAGES)
    if tile is None and overlap is None:
        return with_tiles(detector)
    own = detector.tiling
    if tile is None and own.size is None:
        raise ConfigError("--tile-overlap needs --tile: the model itself has no tiles")
    default = own.overlap if own.size is not None else TILE_OVERLAP
    try:
        return with_tiles(
            detector, Tiling(tile or own.size, default if overlap is None else overlap)
        )
    except ValueError as error:
        raise ConfigError(f"--tile: {error}") from error


def file_formats(given: list[str] | None) -> list[str]:
    """Return the formats of predictions that --format names; JSON without it.

    Raises:
        ConfigError: there is no such format.
    """
    from keras_retinanet.detection.prediction_files import FORMATS

    for name in given or ():
        if name not in FORMATS:
            raise ConfigError(f"--format {name}: {did_you_mean(name, list(FORMATS))}")
    return given or ["json"]


def model_file(model: Path) -> Path:
    """Return what a MODEL argument means: a run directory stands for its best.keras.

    Raises:
        WeightsError: the run has no best.keras yet.
    """
    from keras_retinanet.training.runs.run_directory import BEST_MODEL_FILE, is_run

    model = staged(model)
    if not is_run(model):
        return model
    best = model / BEST_MODEL_FILE
    if not best.is_file():
        raise WeightsError(
            f"{model} has no {BEST_MODEL_FILE} yet: train on, or name one of its checkpoints/"
        )
    return best


def keras_file(model: Path) -> Path:
    """Return what a MODEL argument means where a Keras model is needed.

    Raises:
        WeightsError: as `model_file`; a folder that is no run directory.
    """
    file = model_file(model)
    if file.is_dir():
        raise WeightsError(
            f"{model} is no run directory: name one, a .keras file or a checkpoint of a run"
        )
    return file


def model_identity(file: Path, detector: Any) -> str:
    """Return what changes with a model's weights, or with its tiles: parts record it."""
    from keras_retinanet.detection.tiled_detector import tiling_in_use
    from keras_retinanet.system.digests import sha256

    tiling = tiling_in_use(detector)
    return sha256(file) + (f", tiles of {tiling}" if tiling.size else "")
