"""The figures of the paper, and the plot of an experiment's rows. PNG, readable when printed."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from matplotlib.figure import Figure

from keras_retinanet.losses.curves import (
    cross_entropy_slope,
    focal,
    focal_slope,
    focal_star_slope,
)
from keras_retinanet.paper.experiment import Experiment
from keras_retinanet.paper.tables import RowResults

GAMMAS_FIGURE_1 = (0.0, 0.5, 1.0, 2.0, 5.0)
GAMMAS_FIGURE_4 = (0.0, 0.5, 1.0, 2.0)
# Okabe and Ito's colours: told apart by colour-blind readers.
COLORS = ("#000000", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (3, 1.5)),
    "-.",
    ":",
    (0, (1, 1)),
    (0, (5, 1, 1, 1, 1, 1)),
)
DPI = 200
CAPTION_WIDTH = 130  # characters


def draw_focal_loss(path: Path) -> None:
    """Figure 1: the focal loss against p_t; beside it its derivative and that of FL* (appendix)."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    p_t = np.linspace(0.001, 0.999, 999)
    z = ops.convert_to_tensor(-np.log(p_t / (1 - p_t)), "float32")
    for gamma, color, dash in zip(GAMMAS_FIGURE_1, COLORS, DASHES, strict=False):
        loss = ops.convert_to_numpy(focal(z, gamma=gamma))
        label = f"γ = {gamma:g}" + (" (cross entropy)" if gamma == 0 else "")
        left.plot(p_t, loss, color=color, linestyle=dash, label=label)
    left.axvspan(0.6, 1, color="#0072B2", alpha=0.08, lw=0)
    left.text(0.8, 2.05, "well-classified\nexamples", ha="center", color="#0072B2", fontsize=9)
    left.set(xlim=(0, 1), ylim=(0, 5), title="Focal loss (figure 1)")
    left.set(xlabel="probability of the true class $p_t$", ylabel="loss")

    x_t = np.linspace(-6, 8, 561)
    z = ops.convert_to_tensor(-x_t, "float32")
    slopes = {
        "CE": cross_entropy_slope(z),
        "FL, γ = 2": focal_slope(z, gamma=2.0),
        "FL*, γ = 2, β = 1": focal_star_slope(z, gamma=2.0, beta=1.0),
        "FL*, γ = 4, β = 0": focal_star_slope(z, gamma=4.0, beta=0.0),
    }
    for (label, slope), color, dash in zip(slopes.items(), COLORS, DASHES, strict=False):
        derivative = -ops.convert_to_numpy(slope)
        right.plot(x_t, derivative, color=color, linestyle=dash, label=label)
    right.axvline(0, color="#888888", linewidth=0.8)
    right.set(xlim=(-6, 8), title="Derivative of the loss (appendix)")
    right.set(xlabel="logit towards the true class $x_t = y\\,x$", ylabel="dL / d$x_t$")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, framealpha=1)
    figure.savefig(path, dpi=DPI)


def draw_loss_distribution(positive_p_t: np.ndarray, negative_p_t: np.ndarray, path: Path) -> None:
    """Figure 4: which share of the loss the easiest examples hold, for several gammas.

    Args:
        positive_p_t, negative_p_t: [n] probabilities of the truth of foreground and background
            examples.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, p_t, kind in zip(
        figure.subplots(1, 2, sharey=True),
        (positive_p_t, negative_p_t),
        ("foreground", "background"),
        strict=True,
    ):
        for gamma, color, dash in zip(GAMMAS_FIGURE_4, COLORS, DASHES, strict=False):
            share, cumulative = cumulative_loss(p_t, gamma)
            axes.plot(share, cumulative, color=color, linestyle=dash, label=f"γ = {gamma:g}")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"share of {kind} examples, easiest first")
        axes.set(title=f"{len(p_t):,} {kind} examples")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=9, framealpha=1, loc="upper left")
    figure.axes[0].set(ylabel="share of the focal loss")
    figure.savefig(path, dpi=DPI)


def cumulative_loss(p_t: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (share of the examples, their share of all loss), from the lowest loss up."""
    p_t = np.clip(np.asarray(p_t, np.float64), 1e-12, 1.0)
    loss = np.sort(-((1.0 - p_t) ** gamma) * np.log(p_t))
    cumulative = np.concatenate([[0.0], np.cumsum(loss)])
    # A thousand points are a smooth curve; ten million would be a large file.
    index = np.unique(np.linspace(0, len(loss), 1001).astype(int))
    return index / max(len(loss), 1), cumulative[index] / max(cumulative[-1], 1e-300)


def draw_rows(
    experiment: Experiment, results: Sequence[RowResults], path: Path, *, notes: Sequence[str] = ()
) -> None:
    """Draw each row's AP, the paper's on the left and ours on the right, every seed a dot."""
    height = 1.3 + 0.42 * len(results)
    figure = Figure(figsize=(9, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(results))
    for place, row in zip(places, results, strict=True):
        if row.row.paper:
            left.plot(row.row.paper[0], place, "s", color=COLORS[0])
        values = row.values("AP")
        right.plot(values, np.full(len(values), place), "o", color=COLORS[1], alpha=0.5)
        if len(values):
            right.plot(values.mean(), place, "|", color=COLORS[3], markersize=16, markeredgewidth=2)
        if row.num_diverged:
            right.text(
                0.02, place, f"{row.num_diverged} diverged", color=COLORS[3], va="center",
                transform=right.get_yaxis_transform(),
            )  # fmt: skip
    left.set(yticks=places, yticklabels=[row.row.name for row in results])
    left.set(ylim=(len(results) - 0.5, -0.5))
    left.set_title("paper", fontsize=10)
    right.set_title("ours (dots: seeds; bar: mean)", fontsize=10)
    of_paper = [row.row.paper[0] for row in results if row.row.paper]
    of_ours = [float(value) for row in results for value in row.values("AP")]
    for axes, shown in ((left, of_paper), (right, of_ours)):
        # A file of one's own has no figures of the paper, and all its trainings may have diverged.
        axes.set(xlabel="AP [%]", xlim=(0, 1.08 * max([1.0, *shown])))
        axes.grid(alpha=0.25)
    figure.suptitle(experiment.title, fontsize=12)
    _write_caption(figure, experiment, notes)
    figure.savefig(path, dpi=DPI)


def draw_speed(
    experiment: Experiment, results: Sequence[RowResults], path: Path, *, notes: Sequence[str] = ()
) -> None:
    """Figure 2: AP against milliseconds for an image, the paper's and ours on this machine."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for family, marker, color in (("ResNet-50", "o", COLORS[1]), ("ResNet-101", "s", COLORS[3])):
        # The two curves cross: each has its labels on a side of its own.
        place, side = ((6, -9), "left") if family == "ResNet-50" else ((-6, 4), "right")
        for axes, points in zip((left, right), speed_points(results, family), strict=True):
            if points:
                places = list(points.values())
                axes.plot(*zip(*places, strict=True), color=color, marker=marker, label=family)
            for size, point in points.items():
                axes.annotate(
                    size, point, place, textcoords="offset points", fontsize=7, ha=side, color=color
                )
    for other in experiment.others:
        left.plot(other.ms, other.ap, "x", color="#555555")
        left.annotate(
            other.name, (other.ms, other.ap), (4, 3), textcoords="offset points", fontsize=7
        )
    left.set_title("paper: RetinaNet and other detectors (M40)", fontsize=9)
    right.set_title("ours, on this machine", fontsize=9)
    for axes in (left, right):
        axes.set(xlabel="milliseconds for an image", ylabel="AP [%]")
        axes.margins(x=0.15, y=0.08)
        axes.grid(alpha=0.25)
        if axes.lines:
            axes.legend(fontsize=8, framealpha=1, loc="lower right")
    figure.suptitle(experiment.title, fontsize=12)
    _write_caption(figure, experiment, notes)
    figure.savefig(path, dpi=DPI)


def speed_points(
    results: Sequence[RowResults], family: str
) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """Return the paper's and our (milliseconds, AP in percent) of a family's rows, by image size.

    Rows without both figures, such as those that diverged, are left out.
    """
    paper, ours = {}, {}
    for row in results:
        name, _, size = row.row.name.partition(", ")
        if name != family:
            continue
        if row.row.paper and row.row.paper_ms:
            paper[size] = row.row.paper_ms, row.row.paper[0]
        milliseconds, ap = row.values("ms"), row.values("AP")
        if len(milliseconds) and len(ap):
            ours[size] = float(milliseconds.mean()), float(ap.mean())
    return paper, ours


def _write_caption(figure: Figure, experiment: Experiment, notes: Sequence[str]) -> None:
    lines = [f"paper: {experiment.paper}"] if experiment.paper else []
    lines += [f"ours: {note}" for note in notes]
    text = "\n".join(textwrap.fill(line, CAPTION_WIDTH) for line in lines)
    if text:
        figure.supxlabel(text, fontsize=8)
