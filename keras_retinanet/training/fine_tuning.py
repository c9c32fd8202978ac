"""Fine-tuning: takes over the weights of a trained model, and reports what came of each layer."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.checkpoint_files import SUFFIX
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.optimizers.weight_average import keep_averaged_weights
from keras_retinanet.weights.fetch import file_of
from keras_retinanet.weights.files.keras_archive import is_of_keras_hub
from keras_retinanet.weights.files.read_arrays import weights_exist
from keras_retinanet.weights.import_weights import import_weights

# What training writes; any other file is of another project.
OWN_SUFFIXES = (".keras", SUFFIX)
CLASS_LAYER = "class_head_predictions"
BOX_LAYER = "box_head_predictions"
QUALITY_LAYER = "box_quality_predictions"

# Settings in which two models may differ: none of them changes what a layer's weights mean, but for
# those that `take_weights` looks at.
_FREE_SETTINGS = (
    "class_names",
    "batchnorm",
    "frozen_stages",
    "prior",
    "class_activation",
    "box_quality",
    "anchor_generator",
    "box_coder",
    "input_policy",
    "inference",
    "name",
    "dtype",
)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """What `take_weights` did.

    Attributes:
        taken: names of the layers whose weights are the source's, all of them.
        fresh: names of layers that keep the values they had, or some of them, and why.
        classes_taken: classes whose rows of the class head's last layer are the source's.
        classes_fresh: classes that begin from fresh values.
        remarks: what fits, and yet does not mean quite the same.
    """

    taken: tuple[str, ...]
    fresh: dict[str, str]
    classes_taken: tuple[str, ...]
    classes_fresh: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report as lines for a log."""
        return [
            f"weights of {len(self.taken)} layers taken over",
            *(f"{name} {reason}" for name, reason in self.fresh.items()),
            *self.remarks,
        ]

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_source(init_from: str | Path) -> RetinaNet:
    """Return the model to begin from; a checkpoint's moving average, where it has one, counts.

    Args:
        init_from: a .keras file or a checkpoint; a weights file, a preset's folder or a checkpoint
            of another project; or a name in `weights.published`, whose file is fetched if need be.

    Raises:
        WeightsError: the file cannot be had or read, or holds another model than a RetinaNet.
    """
    try:
        path = file_of(init_from)
        if not path.suffix and not weights_exist(path):
            raise WeightsError(
                f"{init_from} is neither a file nor a name that `retinanet weights list` shows"
            )
        if _is_of_another_project(path):
            imported = import_weights(path)
            for text in (imported.description, *imported.remarks):
                logger.info("%s: %s", path.name, text)
            return imported.model
        model = load_model(path)
    except WeightsError as error:
        raise WeightsError(f"model.init_from: {error}") from error
    keep_averaged_weights(model)
    return model


def _is_of_another_project(path: Path) -> bool:
    if path.suffix in OWN_SUFFIXES and not path.is_dir():
        return is_of_keras_hub(path)  # which saves .keras files, too
    return weights_exist(path)


def take_weights(model: RetinaNet, source: RetinaNet) -> TransferReport:
    """Give `model`, freshly built, the weights of `source`, layer by layer, by name and shape.

    Where the classes differ, the class head's last layer takes the rows of classes of equal name,
    and keeps its fresh values, the prior's bias among them, for the others. Where the number of
    anchors per cell differs, all last layers stay fresh; the box head's does so, too, where the
    box coding differs, and that of the boxes' quality where the source predicts no such thing.

    Raises:
        WeightsError: the architectures differ; nothing has been changed then.
    """
    _check_architecture(model, source)
    fresh: dict[str, str] = {}
    classes_taken: list[str] = []
    taken = []
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name == QUALITY_LAYER and model.box_quality != source.box_quality:
            fresh[layer.name] = f"has fresh values: box_quality is {source.box_quality} there"
            continue
        theirs = source.get_layer(layer.name).get_weights()
        reason = None
        if layer.name == CLASS_LAYER:
            reason = _fresh_classes_because(model, source)
            if reason is None:
                classes_taken = [n for n in model.class_names if n in source.class_names]
                layer.set_weights(_with_rows_of_equal_name(layer, theirs, model, source))
                reason = _missing_classes(model, source)
        elif layer.name in (BOX_LAYER, QUALITY_LAYER):
            is_box = layer.name == BOX_LAYER
            reason = (_fresh_boxes_because if is_box else _other_anchors)(model, source)
            if reason is None:
                layer.set_weights(
                    [
                        value
                        if _is_shared_by_outputs(value, layer)
                        else _in_our_order(value, model, source).reshape(value.shape)
                        for value in theirs
                    ]
                )
        else:
            layer.set_weights(theirs)
        if reason is None:
            taken.append(layer.name)
        else:
            fresh[layer.name] = reason
    return TransferReport(
        taken=tuple(taken),
        fresh=fresh,
        classes_taken=tuple(classes_taken),
        classes_fresh=tuple(n for n in model.class_names if n not in classes_taken),
        remarks=tuple(_remarks(model, source)),
    )


def _check_architecture(model: RetinaNet, source: RetinaNet) -> None:
    # A variant's fields are told one by one, as the config has them.
    ours, theirs = ({**(c := m.get_config()), **c.pop("variant")} for m in (model, source))
    differences = [
        f"{key} is {theirs.get(key)!r} there and {ours.get(key)!r} here"
        for key in dict.fromkeys([*ours, *theirs])
        if key not in _FREE_SETTINGS and ours.get(key) != theirs.get(key)
    ]
    if not differences:  # a difference that no setting tells
        known = {layer.name: layer for layer in source.layers}
        differences = [
            f"layer {layer.name} has the shapes {_shapes(known.get(layer.name))} there and "
            f"{_shapes(layer)} here"
            for layer in model.layers
            if layer.name not in (CLASS_LAYER, BOX_LAYER, QUALITY_LAYER)
            and _shapes(layer) != _shapes(known.get(layer.name))
        ]
    if differences:
        raise WeightsError(
            f"model.init_from: the architecture of that model does not fit: "
            f"{', '.join(differences)}: give the same settings, or another file"
        )


def _shapes(layer: keras.layers.Layer | None) -> list[tuple]:
    return [] if layer is None else [tuple(weight.shape) for weight in layer.weights]


def _fresh_classes_because(model: RetinaNet, source: RetinaNet) -> str | None:
    """Return why no row of the class head's last layer can be taken over; None: some may be."""
    if model.class_activation != source.class_activation:
        return (
            f"has fresh values: its scores are of a {source.class_activation} there and of a "
            f"{model.class_activation} here"
        )
    return _other_anchors(model, source)


def _fresh_boxes_because(model: RetinaNet, source: RetinaNet) -> str | None:
    # How far sizes may be decoded does not change what the numbers mean.
    there = dataclasses.replace(source.box_coder, max_size_ratio=model.box_coder.max_size_ratio)
    if model.box_coder != there:
        return f"has fresh values: boxes are coded as {source.box_coder} there"
    return _other_anchors(model, source)


def _other_anchors(model: RetinaNet, source: RetinaNet) -> str | None:
    there, here = (
        f"{len(m.anchor_generator.ratios)} ratios x {len(m.anchor_generator.scales)} scales"
        for m in (source, model)
    )
    return None if there == here else f"has fresh values: {there} of anchors there, {here} here"


def _with_rows_of_equal_name(
    layer: keras.layers.Layer, theirs: list[np.ndarray], model: RetinaNet, source: RetinaNet
) -> list[np.ndarray]:
    """Return the class layer's values with the source's for the classes that both have."""
    common = [name for name in model.class_names if name in source.class_names]
    here = [model.class_names.index(name) for name in common]
    there = [source.class_names.index(name) for name in common]
    values = []
    for ours, other in zip(layer.get_weights(), theirs, strict=True):
        if _is_shared_by_outputs(ours, layer):
            values.append(other if common else ours)
            continue
        rows = ours.reshape(*ours.shape[:-1], -1, model.num_classes).copy()
        rows[..., here] = _in_our_order(other, model, source)[..., there]
        values.append(rows.reshape(ours.shape))
    return values


def _is_shared_by_outputs(values: np.ndarray, layer: keras.layers.Layer) -> bool:
    """Return whether these are the 3x3 kernel of a separable layer, which has no outputs' axis."""
    return values.shape[-1] != layer.filters


def _in_our_order(values: np.ndarray, model: RetinaNet, source: RetinaNet) -> np.ndarray:
    """Return a last layer's values [..., A * outputs] as [..., A, outputs] in `model`'s order."""
    places = []  # of each pair of ratio and scale, among a cell's anchors
    for generator in (model.anchor_generator, source.anchor_generator):
        ratios, scales = len(generator.ratios), len(generator.scales)
        place = np.arange(ratios * scales)
        by_ratio = generator.order == "ratio"
        places.append(place if by_ratio else place.reshape(scales, ratios).T.ravel())
    order = np.empty_like(places[0])
    order[places[0]] = places[1]
    return values.reshape(*values.shape[:-1], len(order), -1)[..., order, :]


def _missing_classes(model: RetinaNet, source: RetinaNet) -> str | None:
    missing = [name for name in model.class_names if name not in source.class_names]
    taken = [name for name in model.class_names if name in source.class_names]
    if not missing:
        return None
    if not taken:
        return (
            f"has fresh values: none of the {len(missing)} classes ({_some(missing)}) is among the "
            f"{source.num_classes} there ({_some(source.class_names)})"
        )
    return (
        f"has fresh values for {len(missing)} classes that are not there ({_some(missing)}): taken "
        f"over for {len(taken)} ({_some(taken)})"
    )


def _some(names: tuple[str, ...] | list[str], limit: int = 5) -> str:
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def _remarks(model: RetinaNet, source: RetinaNet) -> list[str]:
    """Return what was taken over and will have to be learnt anew in part."""
    remarks = []
    if model.box_quality == "none" != source.box_quality:
        remarks.append(f"box_quality: {source.box_quality} there, none here: it is left out")
    for name, there, here in (
        ("anchors", source.anchor_generator, model.anchor_generator),
        ("image", source.input_policy, model.input_policy),
    ):
        for field in dataclasses.fields(here):
            values = getattr(there, field.name), getattr(here, field.name)
            # Anchors in another order are put into ours.
            if values[0] != values[1] and field.name != "order":
                remarks.append(
                    f"{name}.{field.name}: {_number(values[0])} there, {_number(values[1])} here"
                )
    return remarks


def _number(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_number(part) for part in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)
