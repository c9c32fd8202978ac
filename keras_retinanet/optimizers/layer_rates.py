"""Layer-wise learning rates: multipliers by the stage that a layer belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_retinanet.conventions import STAGE_PREFIXES
from keras_retinanet.system.private_names import variable_index


def stage_rates(*, backbone_rate: float = 1.0, layer_decay: float = 1.0) -> dict[str, float]:
    """Return learning-rate multipliers by the prefix of layers' names, for an optimizer's argument.

    Every stage of the backbone learns at `backbone_rate` times the learning rate, and at
    `layer_decay` times what the stage above it does: C5's at `layer_decay`, the stem at
    `layer_decay` ** 5. Pyramid and heads, which are named in no prefix, learn at the rate itself.
    """
    depths = range(len(STAGE_PREFIXES), 0, -1)
    rates = {
        prefix: backbone_rate * layer_decay**depth
        for prefixes, depth in zip(STAGE_PREFIXES, depths)
        for prefix in prefixes
    }
    return {prefix: rate for prefix, rate in rates.items() if rate != 1.0}


class LayerRates(keras.optimizers.Optimizer):
    """For optimizers: a multiplier of the learning rate for each variable.

    `layer_rates` maps prefixes of layers' names to multipliers; the longest prefix counts, and
    layers without one have 1. Optimizers ask `rate_of` in their `update_step`.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        layer_rates: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.layer_rates = dict(layer_rates or {})
        self._multipliers: tuple[float, ...] = ()

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        self._multipliers = tuple(self._multiplier(variable.path) for variable in variables)

    def rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """Return the learning rate of a variable, or of one replica's copy of it."""
        if not self.layer_rates:
            return learning_rate
        multiplier = self._multipliers[variable_index(self, variable)]
        return learning_rate * keras.ops.cast(multiplier, "float32")

    def get_config(self) -> dict:
        return {**super().get_config(), "layer_rates": dict(self.layer_rates)}

    def _multiplier(self, path: str) -> float:
        layer = path.split("/")[-2] if "/" in path else path
        fitting = [prefix for prefix in self.layer_rates if layer.startswith(prefix)]
        return self.layer_rates[max(fitting, key=len)] if fitting else 1.0
