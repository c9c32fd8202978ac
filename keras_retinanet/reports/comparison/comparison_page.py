"""compare.html: several trainings or evaluations on one page, which is one file."""

from collections.abc import Mapping
from pathlib import Path

from keras_retinanet.reports.comparison.comparison_charts import comparison_charts
from keras_retinanet.reports.comparison.differences import FIGURES, Comparison, change
from keras_retinanet.reports.comparison.different_images import different_images
from keras_retinanet.reports.pages.figures import as_svg
from keras_retinanet.reports.pages.page import figure_text, write_page

TEMPLATE, PAGE = "comparison/comparison_page.html", "compare.html"


def write_comparison(
    comparison: Comparison, folder: Path, *, facts: Mapping[str, str], command: str
) -> Path:
    """Write compare.html, and return its path.

    Args:
        facts: what else a reader may want to know, by name.
        command: makes the page again.
    """
    charts = comparison_charts(comparison)
    first = comparison.names[0]
    return write_page(
        TEMPLATE,
        folder / PAGE,
        title=f"Comparison of {', '.join(comparison.names)}",
        names=comparison.names,
        headline=_headline(comparison),
        verdicts=[(each, each.verdict(first)) for each in comparison.against_first],
        charts=[(title, as_svg(figure)) for title, figure in charts.items()],
        figures=[
            (name, [each.figure(name) for each in comparison.contestants]) for name in FIGURES
        ],
        classes=[
            (name, values, [change(value, values[0]) for value in values[1:]])
            for name, values in comparison.classes
        ],
        settings=comparison.settings,
        images=different_images(comparison.measured_alike),
        facts={**{each.name: str(each.folder) for each in comparison.contestants}, **facts},
        command=command,
    )


def _headline(comparison: Comparison) -> list[tuple[str, str, str]]:
    rows = []
    for each in comparison.contestants:
        interval = each.measured.interval if each.measured else None
        note = (
            f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else "no interval"
        )
        rows.append((each.name, figure_text(each.figure("AP")), f"AP, {note}"))
    return rows
