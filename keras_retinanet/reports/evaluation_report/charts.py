"""The plots of a report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_retinanet.evaluation.analysis.image_errors import ErrorKind
from keras_retinanet.evaluation.coco_eval import IOU_THRESHOLDS, RECALLS
from keras_retinanet.reports.evaluation_report.measured import Measured
from keras_retinanet.reports.pages.figures import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    ORANGE,
    RED,
    ROOM,
    new_figure,
    room_for,
    short_name,
)

# More classes than this cannot be read in a plot.
MAX_CURVES, MAX_CONFUSED = 8, 20
LOSSES = {"loss": "black", "class_loss": RED, "box_loss": ORANGE, "box_quality_loss": GREEN}
ERROR_NAMES = {
    ErrorKind.CLASS: "wrong class",
    ErrorKind.LOCATION: "box too far off",
    ErrorKind.BOTH: "class and box wrong",
    ErrorKind.DUPLICATE: "found twice",
    ErrorKind.BACKGROUND: "false alarm",
    ErrorKind.MISSED: "missed",
}


def make_charts(measured: Measured) -> dict[str, Any]:
    """Return matplotlib figures by name."""
    return {
        "error_costs": _error_costs(measured),
        "precision_recall": _precision_recall(measured),
        "f1_over_score": _f1_over_score(measured),
        "calibration": _calibration(measured),
        "confusion": _confusion(measured),
    }


def training_curves(rows: Sequence[Mapping[str, str]]) -> Any | None:
    """Return a plot of the losses and of AP over the epochs of metrics.csv; None without rows."""
    losses = [(float(r["epoch"]), float(r["loss"])) for r in rows if r.get("loss")]
    if not losses:
        return None
    figure, axes = new_figure(right=ROOM)  # AP's axis
    for name, color in LOSSES.items():
        told = [(float(r["epoch"]), float(r[name])) for r in rows if r.get(name)]
        axes.plot(*zip(*told, strict=True), color=color, lw=1.3, label=name.replace("_", " "))
    measured = [(float(r["epoch"]), float(r["AP"])) for r in rows if r.get("AP")]
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, _above(loss for _, loss in losses)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = axes.get_legend_handles_labels()
    if measured:
        right = axes.twinx()
        right.spines["top"].set_visible(False)
        right.plot(*zip(*measured, strict=True), color=BLUE, lw=2, marker="o", ms=3, label="AP")
        right.set(ylabel="AP", ylim=(0, _above(ap for _, ap in measured)))
        more = right.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    axes.legend(handles, labels, frameon=False, fontsize=8, loc="upper center", ncols=4)
    axes.grid(**GRID)
    return figure


def _above(values: Iterable[float]) -> float | None:
    """Return where an axis ends that leaves room above the curves for their names."""
    finite = [value for value in values if np.isfinite(value) and value > 0]
    return 1.15 * max(finite) if finite else None


def _error_costs(measured: Measured) -> Any:
    figure, axes = new_figure(height=2.9, left=room_for(list(ERROR_NAMES.values())))
    lost = sorted(measured.lost.lost.items(), key=lambda item: item[1])
    values = [100 * value for _, value in lost]
    bars = axes.barh([ERROR_NAMES[kind] for kind, _ in lost], values, color=RED, height=0.65)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=4, fontsize=9)
    axes.set_xlim(0, max(*values, 1) * 1.25)
    axes.set_xlabel("points of AP50 that mending them all would gain")
    return figure


def _precision_recall(measured: Measured) -> Any:
    figure, axes = new_figure()
    curves = measured.precisions[0]
    has_objects = curves[0] > -1
    common = [k for k in np.argsort(-measured.num_objects, kind="stable") if has_objects[k]]
    for k in common[:MAX_CURVES]:
        axes.plot(RECALLS, curves[:, k], lw=1.1, label=short_name(measured.class_names[k]))
    if has_objects.any():
        for index, style in ((0, "-"), (5, "--")):
            mean = measured.precisions[index][:, has_objects].mean(axis=1)
            name = f"all, IoU {IOU_THRESHOLDS[index]:.2f}"
            axes.plot(RECALLS, mean, "k", ls=style, lw=2, label=name)
        axes.legend(frameon=False, fontsize=8, loc="lower left")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(**GRID)
    return figure


def _f1_over_score(measured: Measured) -> Any:
    figure, axes = new_figure()
    points = measured.overall
    for values, color, name in (
        (points.precision, BLUE, "precision"),
        (points.recall, ORANGE, "recall"),
        (points.f1, "black", "F1"),
    ):
        axes.plot(points.scores, values, color=color, lw=2 if name == "F1" else 1.3, label=name)
    if points.best is not None:
        axes.axvline(measured.best_score, color=GREY, lw=1, ls="--")
        best = f"{measured.best_score:.2f}: F1 {points.f1[points.best]:.2f}"
        axes.text(measured.best_score + 0.01, 0.03, best, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(0, 1.1), xlabel="keep detections of this score or more")
    # In a place of its own: where none is given, matplotlib compares all points with each place.
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)
    axes.grid(**GRID)
    return figure


def _calibration(measured: Measured) -> Any:
    figure, axes = new_figure()
    result = measured.calibration
    used = result.counts > 0
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="as it ought to be")
    edges = np.arange(len(result.counts)) / len(result.counts)
    axes.bar(
        edges[used], result.shares_right[used], width=0.9 / len(edges), align="edge", color=BLUE,
        alpha=0.75, label="right at IoU 0.5",
    )  # fmt: skip
    axes.plot(result.mean_scores[used], result.shares_right[used], "ko", ms=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score", ylabel="share that is right")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _confusion(measured: Measured) -> Any:
    matrix, names = measured.confusion, [*map(short_name, measured.class_names), "background"]
    # The classes that take part in most errors, where there are too many to read.
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
    chosen = np.sort(np.argsort(-wrong[:-1], kind="stable")[:MAX_CONFUSED])
    chosen = np.append(chosen, len(names) - 1)
    matrix, names = matrix[np.ix_(chosen, chosen)], [names[i] for i in chosen]
    side = max(3.6, 0.42 * len(names) + 1.4)
    room = room_for(names, size=8)
    figure, axes = new_figure(side + 1.2, side, left=room + 0.4, below=0.7 * room + 0.4)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        color = "white" if shares[row, column] > 0.6 else "#20242a"
        axes.text(
            column, row, str(matrix[row, column]), ha="center", va="center", color=color, fontsize=8
        )
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="detected as", ylabel="labelled as")
    axes.spines[:].set_visible(False)
    return figure
