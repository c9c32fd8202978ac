"""In what contestants differ: AP with its interval, classes, settings. The first is the measure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras_retinanet.evaluation.analysis.intervals import APDifference, ap_difference
from keras_retinanet.reports.comparison.contestant import Contestant

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class AgainstFirst:
    """A contestant against the first one.

    Attributes:
        name: the contestant's.
        difference: of AP, and None where it cannot be measured, for the reason in `why_not`.
    """

    name: str
    difference: APDifference | None
    why_not: str = ""

    def verdict(self, first: str) -> str:
        """Return in words what the difference says."""
        if self.difference is None:
            return self.why_not
        found = self.difference
        interval = f"{found.value:+.3f} AP, 95 % interval {found.low:+.3f} to {found.high:+.3f}"
        if not found.is_clear:
            return f"{interval}: no clear difference from {first} on these images"
        return f"{interval}: {'better' if found.value > 0 else 'worse'} than {first}"


@dataclass(frozen=True)
class Comparison:
    """Contestants, and all in which they differ."""

    contestants: Sequence[Contestant]

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.contestants]

    @cached_property
    def against_first(self) -> list[AgainstFirst]:
        first, *others = self.contestants
        return [_against(first, other) for other in others]

    @cached_property
    def measured_alike(self) -> list[Contestant]:
        """Those that were measured on the images that most were measured on, the first's if even;
        none if no two were."""
        images = [each.images for each in self.contestants if each.measured is not None]
        if not images:
            return []
        most = max(dict.fromkeys(images), key=images.count)
        alike = [each for each in self.contestants if each.images == most]
        return alike if len(alike) > 1 else []

    @cached_property
    def settings(self) -> dict[str, list[str]]:
        """The settings that differ between those whose settings are known: a value for each."""
        known = [each.settings for each in self.contestants if each.settings is not None]
        names = dict.fromkeys(name for settings in known for name in settings)
        return {
            name: [_shown(each.settings, name) for each in self.contestants]
            for name in names
            if len({_shown(settings, name) for settings in known}) > 1
        }

    @cached_property
    def classes(self) -> list[tuple[str, list[float | None]]]:
        """Each class's AP of each contestant, what changed most from the first on top."""
        names = dict.fromkeys(
            name for each in self.contestants for name in each.metrics.get("per_class", {})
        )
        rows = [(name, [each.class_ap(name) for each in self.contestants]) for name in names]
        rows = [row for row in rows if any(value is not None for value in row[1])]
        return sorted(rows, key=lambda row: -_largest_change(row[1]))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "runs": [_run_json(each) for each in self.contestants],
            "differences": [
                {
                    "run": each.name,
                    "from": self.names[0],
                    "AP": each.difference and each.difference.value,
                    "interval": each.difference and [each.difference.low, each.difference.high],
                    "is_clear": each.difference and each.difference.is_clear,
                    "why_not": each.why_not or None,
                }
                for each in self.against_first
            ],
            "settings": {k: dict(zip(self.names, v)) for k, v in self.settings.items()},
            "per_class": {name: dict(zip(self.names, v)) for name, v in self.classes},
        }


def change(value: float | None, first: float | None) -> float | None:
    """Return by how much a figure is above the first one's."""
    return None if value is None or first is None else value - first


def _largest_change(values: Sequence[float | None]) -> float:
    changes = [change(value, values[0]) for value in values[1:]]
    return max((abs(each) for each in changes if each is not None), default=-1.0)


def _against(first: Contestant, other: Contestant) -> AgainstFirst:
    ours, theirs = first.measured, other.measured
    if ours is None or theirs is None:
        unmeasured = first if ours is None else other
        return AgainstFirst(other.name, None, f"no interval: {unmeasured.why_not}")
    if first.images != other.images:
        return AgainstFirst(
            other.name,
            None,
            f"not to be compared with {first.name}: {other.name} was measured on {other.images}, "
            f"{first.name} on {first.images}",
        )
    if ours.max_detections != theirs.max_detections:
        return AgainstFirst(
            other.name,
            None,
            f"not to be compared with {first.name}: of an image, {theirs.max_detections} "
            f"detections count, and {ours.max_detections} of {first.name}'s",
        )
    return AgainstFirst(other.name, ap_difference(theirs.matches, ours.matches))


def _shown(settings: Any, name: str) -> str:
    if settings is None:
        return "unknown"
    value = settings.get(name, "not there")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _run_json(each: Contestant) -> dict[str, Any]:
    interval = each.measured.interval if each.measured else None
    return {
        "name": each.name,
        "folder": str(each.folder),
        "metrics": dict(each.metrics),
        "interval": list(interval) if interval else None,
        "images": each.images or None,
        "why_not": each.why_not or None,
    }
