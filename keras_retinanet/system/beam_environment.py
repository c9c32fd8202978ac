"""Apache Beam: whether it can be had here, and the options that its runners get. No TensorFlow."""

import importlib.metadata
import logging
from collections.abc import Sequence
from typing import Any

from keras_retinanet.errors import ConfigError, DataError, UserError
from keras_retinanet.system.distribution import DISTRIBUTION

DIRECT_RUNNER = "DirectRunner"
# Of Beam 2.77, the versions from which on it does not take what TensorFlow does.
TOO_NEW = {"protobuf": 7, "pillow": 13}
CONSTRAINTS = "docs/beam-constraints.txt"


def import_beam() -> Any:
    """Return apache_beam.

    Raises:
        UserError: it is not installed, or not with what it needs; the message says what to do.
    """
    install = f"pip install '{DISTRIBUTION}[beam]' -c {CONSTRAINTS}"
    try:
        importlib.metadata.version("apache-beam")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"this needs Apache Beam, in an environment of its own: {install}"
        ) from error
    for name, limit in TOO_NEW.items():
        version = importlib.metadata.version(name)
        if int(version.split(".")[0]) >= limit:
            raise UserError(
                f"Apache Beam needs {name} < {limit}, and here is {version}: make an environment "
                f"of its own with {install}"
            )
    try:
        import apache_beam
    except ImportError as error:
        raise UserError(f"Apache Beam cannot be imported ({error}): {install}") from error
    return apache_beam


def pipeline_options(runner: str, given: Sequence[str]) -> Any:
    """Return Beam's options.

    Args:
        given: "name=value", or "name" of a flag, as Beam calls them.

    Raises:
        ConfigError: Beam has no option of a name, or no such value of it.
    """
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    from keras_retinanet.system.private_names import beam_argument_parser  # brings TensorFlow

    flags = [f"--{option.removeprefix('--')}" for option in given]
    kinds = [PipelineOptions]
    for kind in kinds:
        kinds += kind.__subclasses__()
    parser = beam_argument_parser(kinds)
    try:
        _, unknown = parser.parse_known_args(flags)
    except (Exception, SystemExit) as error:  # argparse's, of several kinds
        raise ConfigError(f"--beam-option {' '.join(given)}: {error}") from error
    if unknown:
        raise ConfigError(f"Beam has no option {unknown[0].removeprefix('--').split('=')[0]!r}")
    return PipelineOptions(flags=flags, runner=None if runner == DIRECT_RUNNER else runner)


def make_runner(name: str) -> Any:
    """Return a runner by the name that Beam knows it by.

    DirectRunner is Beam's runner in this process, without a look for Prism, which Beam's own
    DirectRunner would fetch from the web.

    Raises:
        ConfigError: Beam has no such runner.
    """
    import_beam()
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.runner import create_runner

    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    if name == DIRECT_RUNNER:
        return FnApiRunner()
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"--runner {name}: {str(error).splitlines()[0]}") from error


def run_to_end(pipeline: Any) -> Any:
    """Run a pipeline and wait; return its result.

    Raises:
        DataError: it failed.
    """
    import_beam()
    from apache_beam.runners.runner import PipelineState

    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except (RuntimeError, ValueError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise DataError(f"the pipeline failed: {lines[-1] if lines else error!r}") from error
    if state not in (None, PipelineState.DONE):
        raise DataError(f"the pipeline ended as {state}")
    return result


def counters(result: Any) -> dict[str, int]:
    """Return the sums of a finished pipeline's counters of this package by their names."""
    import_beam()
    from apache_beam.metrics.metric import MetricsFilter

    wanted = MetricsFilter().with_namespace(DISTRIBUTION)
    sums: dict[str, int] = {}
    for one in result.metrics().query(wanted)["counters"]:
        sums[one.key.metric.name] = sums.get(one.key.metric.name, 0) + one.result
    return sums
