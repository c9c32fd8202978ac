"""Decision: a setting that the planner chose, and why."""

from dataclasses import dataclass
from typing import Any


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
