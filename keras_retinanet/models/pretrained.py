"""Loading a backbone's weights: what goes wrong becomes one line that says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_retinanet.errors import WeightsError


def with_weights_error(load: Callable[[], Any], weights: str | None) -> Any:
    """Call `load`, and return what it does.

    Raises:
        WeightsError: `weights` are neither None nor "imagenet" nor a file, or `load` fails.
    """
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise WeightsError(f"model.weights: there is no file {weights}")
    try:
        return load()
    except Exception as error:
        if weights is None:
            raise
        raise WeightsError(
            f"weights {weights!r} of the backbone cannot be had or do not fit "
            f"({str(error).strip().splitlines()[0]}): give model.weights=none to start from random "
            "values, or the path of a weights file of this backbone"
        ) from error
