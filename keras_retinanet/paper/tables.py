"""The table of an experiment: the paper's figures beside ours, as Markdown and CSV."""

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.paper.experiment import Experiment, Row
from keras_retinanet.system.atomic_files import write_whole

NOTHING = "–"


@dataclass
class RowResults:
    """A row, and what its trainings gave, one for each seed: {"AP": ..., ...} as shares of 1, "ms"
    where it was timed, or {"diverged": why}."""

    row: Row
    results: list[dict[str, Any]]

    @property
    def num_diverged(self) -> int:
        return sum("diverged" in result for result in self.results)

    def values(self, figure: str) -> np.ndarray:
        """Return a figure of the trainings that did not diverge, AP in percent; n/a left out."""
        factor = 1.0 if figure == "ms" else 100.0
        found = [result.get(figure) for result in self.results if "diverged" not in result]
        return np.array([factor * value for value in found if value is not None])


def write_tables(
    experiment: Experiment, results: list[RowResults], notes: list[str], output: Path
) -> None:
    """Write table.md and table.csv, each whole or not at all."""
    for name, text in (
        ("table.md", _markdown(experiment, results, notes)),
        ("table.csv", _csv(experiment, results)),
    ):
        write_whole(output / name, text)


def _columns(experiment: Experiment) -> list[str]:
    return [*experiment.figures, *(["ms"] if experiment.measure_speed else [])]


def _paper(experiment: Experiment, row: Row) -> dict[str, float]:
    figures: dict[str, float] = dict(zip(experiment.figures, row.paper or (), strict=False))
    return figures if row.paper_ms is None else {**figures, "ms": row.paper_ms}


def _markdown(experiment: Experiment, results: list[RowResults], notes: list[str]) -> str:
    columns = _columns(experiment)
    lines = [f"# {experiment.title}", ""]
    lines += [f"- paper: {experiment.paper}"] if experiment.paper else []
    lines += [f"- {note}" for note in notes]
    several = max(len(row.results) for row in results) > 1
    if several:
        lines.append("- ours: mean ± standard deviation over the seeds")
    heads = ["", *(f"paper {c}" for c in columns), *(f"**{c}**" for c in columns), ""]
    lines += ["", _line(heads), _line(["---"] + ["---:"] * (2 * len(columns)) + ["---"])]
    for row in results:
        paper = _paper(experiment, row.row)
        cells = [f"{paper[c]:g}" if c in paper else NOTHING for c in columns]
        lines.append(
            _line([row.row.name, *cells, *(_mean(row.values(c)) for c in columns), _remark(row)])
        )
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(values: np.ndarray) -> str:
    if not len(values):
        return NOTHING
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def _remark(row: RowResults) -> str:
    remarks = [row.row.note] if row.row.note else []
    if not row.results:
        remarks.append("not run yet")
    if row.num_diverged:
        remarks.append(f"diverged in {row.num_diverged} of {len(row.results)} trainings")
    return "; ".join(remarks)


def _csv(experiment: Experiment, results: list[RowResults]) -> str:
    columns = _columns(experiment)
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    ours = [f"{c}_{kind}" for c in columns for kind in ("mean", "std")]
    table.writerow(["row", *(f"paper_{c}" for c in columns), *ours, "trainings", "diverged"])
    for row in results:
        paper = _paper(experiment, row.row)
        cells: list[Any] = []
        for values in (row.values(c) for c in columns):
            cells.append(f"{values.mean():.4f}" if len(values) else "")
            cells.append(f"{values.std(ddof=1):.4f}" if len(values) > 1 else "")
        table.writerow(
            [
                row.row.name,
                *(paper.get(c, "") for c in columns),
                *cells,
                len(row.results),
                row.num_diverged,
            ]
        )
    return text.getvalue()
