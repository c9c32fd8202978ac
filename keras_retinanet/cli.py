"""The command line: thin verbs that read files, call the package and print what came of it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keras_retinanet.config import dump_config, load_config
from keras_retinanet.errors import ConfigError, UserError

# The heavy modules (TensorFlow) are imported in the verbs that need them: --help answers at once.

EXIT_USER_ERROR = 2

app = typer.Typer(
    help="RetinaNet: train, evaluate, look, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigName = Annotated[
    str, typer.Argument(metavar="CONFIG", help="YAML file, or name of a shipped config.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings to change.")
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras file of a run.")]
DataYaml = Annotated[Path, typer.Option(help="YAML that names the data set's files.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images at once.")]


def main() -> None:
    """Run the command line; a mistake in what was given is one line and exit status 2."""
    debug = "--debug" in sys.argv
    try:
        app(standalone_mode=True)
    except UserError as error:
        if debug:
            raise
        err.print(f"[bold red]error:[/] {_plain(str(error))}")
        raise SystemExit(EXIT_USER_ERROR) from None


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """RetinaNet: train, evaluate, look, export."""


@app.command()
def train(
    config: ConfigName,
    data: DataYaml,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(help="New folder; by default runs/CONFIG-001, -002, ...")
    ] = None,
) -> None:
    """Train on the split "train", measuring AP on "val"; writes a run directory."""
    settings = load_config(config, overrides or [])
    output = _new_folder(output, Path("runs") / Path(config).stem)
    with _quiet_import():
        from keras_retinanet.data.source import load_dataset, split_names
        from keras_retinanet.training import train as run_training

    decode = settings.training.check_images
    train_set = load_dataset(data, "train", decode_images=decode)
    _describe("train", train_set)
    val_set = None
    if "val" in split_names(data):
        val_set = load_dataset(data, "val", decode_images=decode)
        _describe("val", val_set)
    else:
        err.print("note: the data has no split val: no AP, and best.keras is the last model")
    out.print(f"run directory: {output}")
    run_training(settings, train_set, val_set, output, progress=sys.stdout.isatty())
    _summarize_run(output, train_set, val_set)


@app.command()
def evaluate(
    model: ModelFile,
    data: DataYaml,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json and detections.json.")
    ] = None,
    batch_size: BatchSize = 8,
) -> None:
    """Measure COCO's AP and AR of a model on a data set."""
    with _quiet_import():
        from keras_retinanet.data.source import load_dataset
        from keras_retinanet.evaluation import evaluate as run_evaluation
        from keras_retinanet.evaluation import write_evaluation
        from keras_retinanet.model_files import load_model

    loaded = load_model(model)
    dataset = load_dataset(data, split)
    _describe(split, dataset)
    metrics, results = run_evaluation(loaded, dataset, batch_size=batch_size)
    _print_metrics(metrics)
    if output is not None:
        write_evaluation(metrics, results, output)
        out.print(f"{output / 'metrics.json'}, {output / 'detections.json'}")


@app.command()
def predict(
    model: ModelFile,
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option(help="Folder for predictions.json and pictures.")],
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Draw detections from this score on.")
    ] = 0.4,
    batch_size: BatchSize = 8,
) -> None:
    """Draw a model's detections on images, and write them as JSON."""
    with _quiet_import():
        from keras_retinanet.model_files import load_model
        from keras_retinanet.prediction import predict as run_prediction

    summary = run_prediction(
        load_model(model), images, output, min_score=min_score, batch_size=batch_size
    )
    _print_findings(summary.findings)
    out.print(
        f"{summary.num_images} images, {summary.num_detections} detections "
        f"(pictures show those of score {min_score} and more): "
        f"{output / 'images'}, {output / 'predictions.json'}"
    )


@app.command()
def export(
    model: ModelFile,
    output: Annotated[Path, typer.Option(help="Folder of the versions, as TF Serving polls it.")],
    verify_images: Annotated[
        Path | None, typer.Option(help="Image or folder to compare the detections on.")
    ] = None,
    verify_count: Annotated[int, typer.Option(min=1, help="At most this many images.")] = 16,
) -> None:
    """Write a SavedModel for TensorFlow Serving, after it was seen to give the same detections."""
    with _quiet_import():
        from keras_retinanet.data.image_files import list_images
        from keras_retinanet.export.saved_model import export_saved_model
        from keras_retinanet.model_files import load_model

    files = []
    if verify_images is not None:
        files = [str(path) for path in list_images(verify_images)[:verify_count]]
        if not files:
            raise UserError(f"{verify_images} holds no image to verify the export with")
    version, parity = export_saved_model(load_model(model), output, verify_images=files)
    out.print(f"{version}: same as the model: {parity}")


@app.command()
def config(
    name: ConfigName,
    overrides: Overrides = None,
) -> None:
    """Print all settings of a config, defaults included."""
    sys.stdout.write(dump_config(load_config(name, overrides or [])))


@data_app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="New folder for images and annotations.")],
    num_train: Annotated[int, typer.Option(min=1, help="Training images.")] = 320,
    num_val: Annotated[int, typer.Option(min=1, help="Validation images.")] = 80,
    seed: Annotated[int, typer.Option(help="Another seed makes another set.")] = 0,
) -> None:
    """Make a small data set of drawn objects, in COCO's format."""
    from keras_retinanet.data.demo import write_demo_dataset

    try:
        path = write_demo_dataset(folder, num_train=num_train, num_val=num_val, seed=seed)
    except FileExistsError as error:
        raise UserError(str(error)) from error
    out.print(f"{num_train} training and {num_val} validation images: {path}")


def _new_folder(wanted: Path | None, default: Path) -> Path:
    """Make and return the folder of a run; without a wish the first free of default-001, ..."""
    if wanted is None:
        number = 1
        while True:
            folder = default.with_name(f"{default.name}-{number:03d}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise ConfigError(f"--output {wanted} exists and is not empty: name a new folder")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


def _describe(split: str, dataset: Any) -> None:
    crowd = int(dataset.is_crowd.sum())
    out.print(
        f"{split}: {len(dataset)} images, {dataset.num_boxes - crowd} objects of "
        f"{len(dataset.class_names)} classes" + (f", {crowd} ignored regions" if crowd else "")
    )
    _print_findings(dataset.findings)


def _print_findings(findings: list) -> None:
    from keras_retinanet.data.dataset import summarize

    for line in summarize(findings):
        err.print(f"  [yellow]{_plain(line)}[/]")


def _print_metrics(metrics: dict[str, Any]) -> None:
    figures = {name: value for name, value in metrics.items() if name != "per_class"}
    for title, values in (("COCO metrics", figures), ("AP per class", metrics["per_class"])):
        table = Table("", "", title=title, show_header=False)
        for name, value in values.items():
            table.add_row(_plain(name), "n/a" if value is None else f"{value:.3f}")
        out.print(table)


def _summarize_run(output: Path, train_set: Any, val_set: Any) -> None:
    left_out = len(train_set.findings) + (len(val_set.findings) if val_set else 0)
    out.print(f"best model: {output / 'best.keras'}; last model: {output / 'last.keras'}")
    out.print(f"metrics: {output / 'metrics.csv'}; TensorBoard: {output / 'tensorboard'}")
    if left_out:
        out.print(f"{left_out} findings in the data: {output / 'data_findings.json'}")


def _plain(text: str) -> str:
    """Keep rich from reading square brackets in file names and values as markup."""
    return text.replace("[", "\\[")


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep TensorFlow's start-up lines (missing CUDA, oneDNN) off the terminal.

    They are written by C++ before any log level is read, straight to file descriptor 2.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "--debug" in sys.argv:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()  # the search for devices prints, too
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


if __name__ == "__main__":
    main()
