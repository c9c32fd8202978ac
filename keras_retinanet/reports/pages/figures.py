"""Figures of matplotlib: a blank one in the pages' style, as SVG inside a page, and as files."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Okabe and Ito (2008): colour-blind readers can tell them apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A9099"
GRID = {"color": "#e3e6ea", "lw": 0.6}
_LONGEST_NAME = 20
# Room for the numbers at an axis and its title, in inches.
_LEFT, _BELOW, _BESIDE = 0.6, 0.5, 0.1


def new_figure(
    width: float = 6, height: float = 3.6, *, has_names: bool = False
) -> tuple[Any, Any]:
    """Return a figure and its axes; sides in inches.

    Args:
        has_names: names stand at its axes, or numbers at the right, too. Room is then made as they
            need it, which takes as long as all of the drawing.
    """
    # Not pyplot: no window, no state, and safe beside what the caller plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if has_names else None)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if not has_names:
        figure.subplots_adjust(
            left=_LEFT / width,
            bottom=_BELOW / height,
            right=1 - _BESIDE / width,
            top=1 - _BESIDE / height,
        )
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def as_svg(figure: Any) -> str:
    """Return a figure as an <svg> element that scales to the room it has."""
    import matplotlib

    text = io.StringIO()
    # The same picture is the same bytes: no date, and ids that are not random.
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # what is laid out stays so: that is a third of the time
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def write_figures(figures: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write every figure as PNG and SVG; return the <svg> elements by name."""
    folder.mkdir(parents=True, exist_ok=True)
    svgs = {name: as_svg(figure) for name, figure in figures.items()}
    for name, svg in svgs.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        figures[name].savefig(folder / f"{name}.png", dpi=150)
    return svgs


def short_name(name: str) -> str:
    """Return a name as it fits into a figure, with nothing that matplotlib takes for a formula."""
    name = name.replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 2] + "…"
