"""What a writer plans and the runner carries out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset, Finding

# Decimals kept of sums of coordinates: what lies behind is float64's noise.
_DECIMALS = 9


@dataclass(frozen=True)
class Split:
    """A split to write. image_names: N, as files of the new data set."""

    name: str
    dataset: DetectionDataset
    image_names: list[str]


@dataclass(frozen=True)
class Job:
    """Files of `num_images` images; in a `Plan`, `run` returns whether they were there before."""

    num_images: int
    run: Callable[[], Any]


@dataclass
class Plan:
    """All of a conversion.

    Attributes:
        jobs: in any order, several at a time.
        finish: writes the files that list what the jobs wrote.
        data_yaml: what the data YAML says, which is written last.
        findings: what the format cannot hold.
    """

    jobs: Sequence[Job]
    finish: Callable[[], object]
    data_yaml: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)


def exact(values: np.ndarray) -> np.ndarray:
    """Return float32 values as the float64 of the fewest decimals that reads as the same float32:
    0.1, not 0.10000000149011612."""
    return np.asarray(values, np.float32).astype("U32").astype(np.float64)


def tidy(values: np.ndarray) -> list[int | float]:
    """Return sums of `exact` values without noise, whole ones as integers."""
    rounded = np.round(values, _DECIMALS).tolist()
    return [int(v) if v == int(v) else v for v in rounded]
