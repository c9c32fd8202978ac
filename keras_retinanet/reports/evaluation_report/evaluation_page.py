"""report.html: one file that needs no network, for the desk, the phone and the printer."""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.images.decoding import decode_at_once
from keras_retinanet.reports.evaluation_report.advice import advise, points
from keras_retinanet.reports.evaluation_report.charts import make_charts, training_curves
from keras_retinanet.reports.evaluation_report.data_facts import data_facts, recall_rows
from keras_retinanet.reports.evaluation_report.examples import pick_examples
from keras_retinanet.reports.evaluation_report.measured import Measured
from keras_retinanet.reports.pages.figures import as_svg, new_figure, write_figures
from keras_retinanet.reports.pages.page import figure_text, write_page

TEMPLATE = "evaluation_report/evaluation_page.html"
PAGE, PLOTS = "report.html", "plots"
_CHART_TITLES = {
    "training": "The training",
    "error_costs": "What costs AP",
    "precision_recall": "Precision over recall",
    "f1_over_score": "Which score to trust",
    "calibration": "Whether scores are probabilities",
    "confusion": "What is taken for what",
}


def get_ready() -> None:
    """Load what `write_report` needs, so that a thread can do so while a network runs."""
    figure, _ = new_figure()
    as_svg(figure)
    figure.savefig(io.BytesIO(), format="png")
    decode_at_once(tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8)).numpy())


def write_report(
    measured: Measured,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    command: str,
    history: Sequence[Mapping[str, str]] = (),
    recall: AnchorRecall | None = None,
    details: Mapping[str, str] | None = None,
) -> Path:
    """Write report.html, and its plots as PNG and SVG into plots/; return the page's path.

    Args:
        facts: what else a reader may want to know, by name: model, data, versions.
        command: repeats the evaluation.
        history: the rows of metrics.csv, of a training's report.
        recall: of the model's anchors on these data.
        details: texts that are shown when asked for, by their titles: settings, environment.
    """
    charts = make_charts(measured)
    curves = training_curves(history)
    if curves is not None:
        charts = {"training": curves, **charts}
    # Plots are Python's work; pictures and draws of images are not, and are made beside them.
    with ThreadPoolExecutor(1) as beside:
        examples = beside.submit(pick_examples, measured)
        beside.submit(lambda: measured.interval)
        svgs = write_figures(charts, folder / PLOTS)
    return write_page(
        TEMPLATE,
        folder / PAGE,
        title=title,
        headline=_headline(measured),
        advice=advise(measured),
        points=points,
        charts=[(_CHART_TITLES[name], svg) for name, svg in svgs.items()],
        figures=[item for item in measured.metrics.items() if item[0] != "per_class"],
        sizes=measured.missed_by_size,
        classes=_class_rows(measured),
        examples=examples.result(),
        data=data_facts(measured.dataset),
        recall=recall_rows(recall),
        facts=facts,
        command=command,
        details=details or {},
    )


def _headline(measured: Measured) -> list[tuple[str, str, str]]:
    """Return the name, the value and a note of the figures that come first."""
    interval = measured.interval
    note = "no objects" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    points = measured.overall
    best = points.best
    counts = f"{len(measured.dataset)} images"
    return [
        ("AP", figure_text(measured.metrics["AP"]), f"95 % interval {note}"),
        ("AP50", figure_text(measured.metrics["AP50"]), "boxes overlap by half"),
        (
            "best score",
            f"{measured.best_score:.2f}",
            "no detection is right" if best is None else f"F1 {points.f1[best]:.2f} there",
        ),
        (
            "found",
            "0 %" if best is None else f"{100 * points.recall[best]:.0f} %",
            f"of {points.num_objects} objects, at that score",
        ),
        (
            "right",
            "n/a" if best is None else f"{100 * points.precision[best]:.0f} %",
            f"of the detections, in {counts}",
        ),
    ]


def _class_rows(measured: Measured) -> list[dict[str, Any]]:
    rows = []
    per_class = measured.metrics["per_class"]
    for label, name in enumerate(measured.class_names):
        points, curve = measured.per_class[label], measured.precisions[0, :, label]
        best = points.best
        row = {
            "name": name,
            "objects": int(measured.num_objects[label]),
            "AP": per_class[name],
            "AP50": None if curve[0] < 0 else float(curve.mean()),
            "score": None if best is None else float(points.scores[best]),
            "precision": None if best is None else float(points.precision[best]),
            "recall": None if best is None else float(points.recall[best]),
            "F1": None if best is None else float(points.f1[best]),
        }
        rows.append(row)
    return rows
