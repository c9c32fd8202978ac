"""The network of OpenVINO in int8: its maps' ranges taken from images, by nncf."""

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.export.converters import converting
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.system.silence import silence


def import_nncf() -> Any:
    """Return nncf, or raise the UserError that says how to install it."""
    is_new = "nncf" not in sys.modules
    try:
        with silence("nncf"):
            import nncf

            if is_new:
                # They would go on with the stream that is kept off the terminal, and closed then.
                for handler in logging.getLogger("nncf").handlers:
                    if isinstance(handler, logging.StreamHandler):
                        handler.setStream(sys.__stderr__)
    except ImportError as error:
        raise UserError(
            f"int8 for OpenVINO needs: pip install '{DISTRIBUTION}[openvino]'"
        ) from error
    return nncf


def quantize(network: Any, inputs: Sequence[np.ndarray]) -> Any:
    """Return the network with weights and maps of 8 bits.

    Args:
        network: of OpenVINO; left as it is.
        inputs: its inputs to calibrate with, each [1, H, W, 3].
    """
    nncf = import_nncf()
    with converting("nncf"):
        return nncf.quantize(network, nncf.Dataset(inputs), subset_size=len(inputs))


def quantize_within(
    network: Any,
    inputs: Sequence[np.ndarray],
    average_precision: Callable[[Any, Sequence[int]], float],
    num_images: int,
    max_drop: float,
) -> Any:
    """Return the network in int8 but for the layers that cost more AP than `max_drop` together.

    The layers are tried one by one, so that this takes many times as long as `quantize`.

    Args:
        average_precision: a compiled network of OpenVINO, and the numbers of the images to measure
            it on -> AP (0 to 1).
        num_images: images that AP can be measured on.
    """
    nncf = import_nncf()

    def validate(compiled: Any, images: Iterable[int]) -> tuple[float, None]:
        return average_precision(compiled, list(images)), None

    with converting("nncf"):
        return nncf.quantize_with_accuracy_control(
            network,
            nncf.Dataset(inputs),
            nncf.Dataset(range(num_images)),
            validate,
            max_drop=max_drop,
            subset_size=len(inputs),
        )
