"""Decision: a setting that the planner chose, and why; decisions as a config."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_retinanet.config.schema import Config
from keras_retinanet.config.yaml_files import validated


@dataclass(frozen=True)
class Decision:
    """A setting of the config.

    Attributes:
        key: as "image.size".
        value: what a YAML file may hold.
        reason: one sentence, with the figures that led there.
    """

    key: str
    value: Any
    reason: str


def with_given(decisions: Sequence[Decision], given: dict[str, Any]) -> list[Decision]:
    """Return the decisions with what was given in their place."""
    kept = [decision for decision in decisions if decision.key not in given]
    return kept + [Decision(key, value, "given") for key, value in given.items()]


def config_of(decisions: Sequence[Decision]) -> Config:
    """Return the config of decisions; everything else has its default."""
    values: dict[str, dict[str, Any]] = {}
    for decision in decisions:
        section, _, name = decision.key.partition(".")
        values.setdefault(section, {})[name] = decision.value
    return validated(Config, values, "the plan")
