"""Plots of a data set's figures: its classes, and the sizes, shapes and numbers of its objects."""

from pathlib import Path
from typing import Any

import numpy as np

# Splits in the order of the data YAML; a palette that colour-blind readers can tell apart (Okabe
# and Ito 2008).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MAX_CLASSES = 60  # the commonest; more bars than this cannot be read
_PANELS = {
    "sizes": "Size of objects (COCO, by area)",
    "aspect_ratios": "Width : height of boxes",
    "objects_per_image": "Objects in an image",
}


def plot_statistics(statistics: dict[str, dict[str, Any]], folder: Path) -> list[Path]:
    """Write classes.png and objects.png for the figures of each split; return their paths."""
    # Not pyplot: no window, no state, and safe beside what the caller plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures = {
        "classes.png": _plot_classes(Figure, statistics),
        "objects.png": _plot_objects(Figure, statistics),
    }
    paths = []
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        figure.savefig(folder / name, dpi=120)
        paths.append(folder / name)
    return paths


def _plot_classes(figure_type: Any, statistics: dict[str, dict[str, Any]]) -> Any:
    totals: dict[str, int] = {}
    for figures in statistics.values():
        for name, counts in figures["classes"].items():
            totals[name] = totals.get(name, 0) + counts["objects"]
    names = sorted(totals, key=lambda name: -totals[name])[:MAX_CLASSES]
    figure = figure_type(figsize=(8, 1.3 + 0.3 * max(len(names), 3)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, names, statistics, lambda figures, name: figures["classes"].get(name, {}), True)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.invert_yaxis()
    axes.set_xlabel("objects (logarithmic)")
    left_out = len(totals) - len(names)
    axes.set_title("Objects of each class" + (f" ({left_out} rarer left out)" if left_out else ""))
    return figure


def _plot_objects(figure_type: Any, statistics: dict[str, dict[str, Any]]) -> Any:
    figure = figure_type(figsize=(12, 4), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        names = list(next(iter(statistics.values()))[key]) if statistics else []
        _bars(axes, names, statistics, lambda figures, name, key=key: figures[key][name], False)
        axes.set_title(title)
        axes.set_ylabel("% of images" if key == "objects_per_image" else "% of objects")
    return figure


def _bars(axes: Any, names: list[str], statistics: dict, value: Any, is_horizontal: bool) -> None:
    """Draw a bar for each name and split: counts lying down, shares of the split upright."""
    thickness = 0.8 / max(len(statistics), 1)
    for i, (split, figures) in enumerate(statistics.items()):
        at = np.arange(len(names)) + (i - (len(statistics) - 1) / 2) * thickness
        color = COLORS[i % len(COLORS)]
        if is_horizontal:
            objects = [value(figures, name).get("objects", 0) for name in names]
            axes.barh(at, objects, thickness, color=color, label=split)
        else:
            numbers = np.array([value(figures, name) for name in names], float)
            shares = 100 * numbers / max(numbers.sum(), 1)
            axes.bar(at, shares, thickness, color=color, label=split)
    if is_horizontal:
        axes.set_yticks(np.arange(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
    else:
        axes.set_xticks(np.arange(len(names)), names, rotation=30, ha="right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if is_horizontal else "y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if statistics:
        axes.legend(frameon=False, fontsize="small")
