"""`import_backbone`: values of a backbone trained on ImageNet by another project."""

import logging
from pathlib import Path

from keras_retinanet.conventions import STAGE_PREFIXES
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.weights.fetch import file_of
from keras_retinanet.weights.files.read_arrays import read_arrays
from keras_retinanet.weights.import_weights import layer_values
from keras_retinanet.weights.published import published_weights
from keras_retinanet.weights.sources.backbone_names import BACKBONE_SOURCES, BackboneSource
from keras_retinanet.weights.sources.network_source import Arrays, Network, Source

_MOST_NAMES = 6
# Of files that Keras does not read.
_SUFFIXES = (".pth", ".pt", ".bin", ".pkl", ".safetensors")
# The first of three convolutions in place of one 7x7, in timm's ResNets C, D, S and T.
_DEEP_STEM = "conv1.0.weight"

logger = logging.getLogger(__name__)


def has_others_values(weights: str) -> bool:
    """Return whether `model.weights` are another project's: a file, or a name in the table."""
    return Path(weights).suffix in _SUFFIXES or weights in published_weights()


def import_backbone(model: RetinaNet, weights: str | Path) -> None:
    """Give a model's backbone the values in a file of another project.

    Args:
        weights: the file, or a name in `weights.published`, whose file is fetched if need be.

    Raises:
        WeightsError: it cannot be had or read, or does not fit; the model is as it was then.
    """
    path = file_of(weights)
    try:
        arrays = read_arrays(path)
        source = _source(arrays)
        _refuse_another(source.backbone_of(arrays), model.backbone_name)
        _take(model, source, source.renamed(arrays), path)
    except WeightsError as error:
        message = str(error)
        where = "" if str(path) in message else f"{path}: "
        raise WeightsError(f"model.weights: {where}{message}") from error


def _source(arrays: Arrays) -> BackboneSource:
    for source in BACKBONE_SOURCES:
        if source.is_own(arrays):
            return source
    if _DEEP_STEM in arrays:
        raise WeightsError(
            "its stem has several convolutions, as timm's resnet50d and resnet50c have it: bring a "
            "ResNet with one 7x7, such as resnet50"
        )
    known = ", ".join(source.name for source in BACKBONE_SOURCES)
    raise WeightsError(f"expected {known}, not arrays called {_some(sorted(arrays))}")


def _refuse_another(there: str, here: str) -> None:
    if there != here:
        raise WeightsError(
            f"these are weights of {there}, and not of {here}: set model.backbone={there}, or name "
            "another file"
        )


def _take(model: RetinaNet, source: BackboneSource, arrays: Arrays, path: Path) -> None:
    names = Source(source.name, source.is_own, lambda arrays, about: network, source.name_of)
    network = Network(source.name, {}, num_outputs=0)
    taken: set[str] = set()
    faults: list[str] = []
    prefixes = tuple(prefix for stage in STAGE_PREFIXES for prefix in stage)
    layers = [la for la in model.layers if la.weights and la.name.startswith(prefixes)]
    values = [layer_values(layer, names, arrays, network, taken, faults) for layer in layers]
    counts = "num_batches_tracked"  # no weights
    unused = [name for name in arrays if name not in taken and not name.endswith(counts)]
    left_out = [name for name in unused if name.startswith(source.left_out)]
    faults += [
        f"{name} is no part of {model.backbone_name}" for name in unused if name not in left_out
    ]
    if faults:
        raise WeightsError(f"{source.name} that does not fit: {_some(faults)}")
    for layer, value in zip(layers, values, strict=True):
        layer.set_weights(value)
    logger.info(
        "model.weights: %s: %d arrays of %s taken%s",
        path.name,
        len(taken),
        source.name,
        f"; left out: {_some(left_out)}" if left_out else "",
    )
    for setting, value in source.trained_with.items():
        if getattr(model.variant, setting) != value:
            logger.info("model.weights: trained with model.%s = %s", setting, value)


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
