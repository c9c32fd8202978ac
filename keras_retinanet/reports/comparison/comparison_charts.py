"""The plots of a comparison: learning curves over each other, and AP with its intervals."""

from collections.abc import Sequence
from typing import Any

from keras_retinanet.reports.comparison.contestant import Contestant
from keras_retinanet.reports.comparison.differences import Comparison
from keras_retinanet.reports.pages.figures import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    ORANGE,
    RED,
    new_figure,
    room_for,
    short_name,
)

# Of as many contestants; more begin again with another line.
_COLORS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "black", GREY)
_STYLES = ("-", "--", ":")
CURVES = {"AP": "AP on the validation split", "loss": "Training loss"}


def comparison_charts(comparison: Comparison) -> dict[str, Any]:
    """Return matplotlib figures by title; those that there is nothing to draw for are left out."""
    charts = {"AP and its 95 % interval": _intervals(comparison.contestants)}
    for column, title in CURVES.items():
        figure = learning_curves(comparison.contestants, column, title)
        if figure is not None:
            charts[f"{title} over the epochs"] = figure
    return charts


def learning_curves(contestants: Sequence[Contestant], column: str, title: str) -> Any | None:
    """Return the curves of a column of metrics.csv over each other; None if no one has it."""
    figure, axes = new_figure()
    for number, each in enumerate(contestants):
        points = [
            (float(row["epoch"]), float(row[column])) for row in each.history if row.get(column)
        ]
        if points:
            style = {"color": _COLORS[number % len(_COLORS)], "ls": _style(number)}
            axes.plot(*zip(*points), lw=1.6, marker="o", ms=3, label=short_name(each.name), **style)
    if not axes.lines:
        return None
    axes.set(xlabel="epoch", ylabel=title, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(**GRID)
    return figure


def _intervals(contestants: Sequence[Contestant]) -> Any:
    names = [short_name(each.name) for each in contestants]
    figure, axes = new_figure(height=1.3 + 0.45 * len(contestants), left=room_for(names))
    for number, each in enumerate(contestants):
        ap, color = each.figure("AP"), _COLORS[number % len(_COLORS)]
        interval = each.measured.interval if each.measured else None
        if interval is not None:
            axes.plot(interval, [number, number], color=color, lw=3, alpha=0.45)
        if ap is not None:
            axes.plot(ap, number, "o", color=color, ms=8)
            axes.annotate(
                f"{ap:.3f}", (ap, number), (0, 8), textcoords="offset points", ha="center"
            )
    axes.set_yticks(range(len(contestants)), names)
    axes.set(xlabel="AP", ylim=(len(contestants) - 0.4, -0.8))
    axes.margins(x=0.1)
    axes.grid(axis="x", **GRID)
    return figure


def _style(number: int) -> str:
    return _STYLES[number // len(_COLORS) % len(_STYLES)]
