"""Figures of matplotlib: a blank one in the pages' style, as SVG inside a page, and as files."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Okabe and Ito (2008): colour-blind readers can tell them apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A9099"
GRID = {"color": "#e3e6ea", "lw": 0.6}
_LONGEST_NAME = 20
# Room for the numbers at an axis and its title, and where there is nothing, in inches.
ROOM, _NO_ROOM = 0.6, 0.1
# Of a letter, at matplotlib's size of 10 points and at 8, in inches: wide ones among others.
_LETTERS = {10: 0.088, 8: 0.07}


def new_figure(
    width: float = 6,
    height: float = 3.6,
    *,
    left: float = ROOM,
    below: float = ROOM,
    right: float = _NO_ROOM,
) -> tuple[Any, Any]:
    """Return a figure and its axes; sides, and the room beside the axes, in inches.

    matplotlib finds out by itself what room is needed, but takes as long for it as for drawing.
    """
    # Not pyplot: no window, no state, and safe beside what the caller plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(
        left=left / width, bottom=below / height, right=1 - right / width, top=1 - 0.1 / height
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def room_for(names: Sequence[str], *, size: int = 10) -> float:
    """Return the inches that names beside an axis take, in letters of so many points."""
    return _LETTERS[size] * max(map(len, names), default=0) + 0.15


def as_svg(figure: Any) -> str:
    """Return a figure as an <svg> element that scales to the room it has."""
    import matplotlib

    text = io.StringIO()
    # The same picture is the same bytes: no date, and ids that are not random.
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def write_figures(figures: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write every figure as PNG and SVG; return the <svg> elements by name."""
    folder.mkdir(parents=True, exist_ok=True)
    svgs = {name: as_svg(figure) for name, figure in figures.items()}
    for name, svg in svgs.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        # Flat colours: more effort would make it hardly smaller.
        figures[name].savefig(folder / f"{name}.png", dpi=150, pil_kwargs={"compress_level": 1})
    return svgs


def short_name(name: str) -> str:
    """Return a name as it fits into a figure, with nothing that matplotlib takes for a formula."""
    name = name.replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 2] + "…"
