"""The main verbs: train, evaluate, predict, config; and how the command line ends."""

import contextlib
import os
import sys
from typing import Annotated

import typer

from keras_retinanet import __version__
from keras_retinanet.cli.arguments import (
    AsJson,
    ConfigName,
    Overrides,
)
from keras_retinanet.cli.console import (
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    err,
    logged_lines,
    out,
    plain,
    quiet_libraries,
    results_as_json,
    results_sent,
    tell,
)
from keras_retinanet.cli.data_verbs.data_commands import app as data_app
from keras_retinanet.cli.verbs.about_commands import configs, doctor
from keras_retinanet.cli.verbs.anchors_command import anchors
from keras_retinanet.cli.verbs.beam_commands import app as beam_app
from keras_retinanet.cli.verbs.benchmark_command import benchmark
from keras_retinanet.cli.verbs.compare_command import compare
from keras_retinanet.cli.verbs.evaluate_commands import evaluate, merge
from keras_retinanet.cli.verbs.export_command import export
from keras_retinanet.cli.verbs.finder_commands import find_batch
from keras_retinanet.cli.verbs.plan_command import plan
from keras_retinanet.cli.verbs.predict_command import predict
from keras_retinanet.cli.verbs.reproduce_command import reproduce
from keras_retinanet.cli.verbs.train_command import train
from keras_retinanet.cli.verbs.weights_command import app as weights_app
from keras_retinanet.config.load import dump_config, load_config
from keras_retinanet.errors import TrainingInterrupted, UserError
from keras_retinanet.system.distribution import clash_warning

# The heavy modules (TensorFlow) are imported in the verbs that need them: --help answers at once.

app = typer.Typer(
    help="Train, evaluate, inspect and export RetinaNet detectors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
app.add_typer(beam_app, name="beam")
app.command()(train)
app.command()(plan)
app.command()(reproduce)


def main() -> None:
    """Run the command line; a mistake in what was given is one line and exit status 2."""
    debug = "--debug" in sys.argv
    # No figure needs a window, and pyplot, which Keras and pycocotools import, would fail for the
    # backend of a notebook, which its shell commands inherit and may not have.
    os.environ["MPLBACKEND"] = "Agg"
    quiet = contextlib.nullcontext() if debug else quiet_libraries()
    with quiet, logged_lines(debug=debug):
        clash = clash_warning()
        if clash is not None:
            err.print(f"[yellow]warning: {plain(clash)}[/]")
        try:
            app(standalone_mode=True)
        except TrainingInterrupted as error:
            err.print(plain(str(error)))
            raise SystemExit(EXIT_INTERRUPTED) from None
        except UserError as error:
            if debug:
                raise
            err.print(f"[bold red]error:[/] {plain(str(error))}")
            raise SystemExit(EXIT_USER_ERROR) from None


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"keras_retinanet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and TensorFlow's log.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, evaluate, inspect and export RetinaNet detectors."""
    context.with_resource(results_as_json())
    context.with_resource(results_sent())


@app.command()
def config(
    name: ConfigName,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Print all settings of a config, defaults included."""
    settings = load_config(name, overrides or [])
    if as_json:
        tell(settings.model_dump(mode="json"))
    else:
        sys.stdout.write(dump_config(settings))


app.command()(evaluate)
app.command()(merge)
app.command()(compare)
app.command()(predict)
app.command()(configs)
app.command()(doctor)
app.command()(export)
app.command()(benchmark)
app.command()(anchors)
app.command("find-batch")(find_batch)
