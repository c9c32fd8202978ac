"""What `retinanet data check` prints: its findings and the data set's figures as tables."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_retinanet.cli.console import err, out, plain

COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
CLASSES_SHOWN = 25
TABLES = {
    "sizes": "objects by size",
    "aspect_ratios": "objects by width : height",
    "objects_per_image": "images by objects",
}


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows (stage, done, total); there is no bar where nobody looks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    with bar:
        task = bar.add_task("", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total or None)

        yield show


def print_findings_table(entries: Iterable[dict[str, Any]]) -> None:
    """Print one row for each kind of finding, the worst first."""
    kinds: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in entries:
        kind = (entry["severity"], entry["problem"], entry["action"])
        kinds[kind] += 1
        first.setdefault(kind, entry)
    if not kinds:
        out.print("[bold green]nothing to report[/]")
        return
    order = list(COLORS)
    table = Table("severity", "count", "problem, and the first place", "action", title="findings")
    table.columns[1].justify = "right"
    table.columns[2].overflow = "fold"
    for kind, count in sorted(kinds.items(), key=lambda item: (order.index(item[0][0]), -item[1])):
        level, problem, action = kind
        table.add_row(
            f"[{COLORS[level]}]{level}[/]",
            str(count),
            f"{plain(problem)}\n[dim]{plain(_shown(first[kind]))}[/]",
            plain(action),
        )
    # Tables do not wrap on a console with soft wrapping, which the lines of text need.
    out.print(table, soft_wrap=False)


def print_statistics(statistics: dict[str, dict[str, Any]]) -> None:
    """Print the figures of all splits side by side."""
    if not statistics:
        return
    table = _table("data", statistics)
    rows = {
        "images": "images",
        "images_without_objects": "  without objects",
        "objects": "objects",
        "ignored_regions": "ignored regions",
    }
    for key, name in rows.items():
        table.add_row(name, *(str(figures[key]) for figures in statistics.values()))
    spreads = {
        "image_widths": "image width (median, min-max)",
        "image_heights": "image height",
        "box_sides": "box side, root of area",
    }
    for key, name in spreads.items():
        table.add_row(name, *(_spread(figures[key]) for figures in statistics.values()))
    out.print(table, soft_wrap=False)
    for key, title in TABLES.items():
        table = _table(title, statistics)
        for name in next(iter(statistics.values()))[key]:
            table.add_row(name, *(_with_share(f[key], name) for f in statistics.values()))
        out.print(table, soft_wrap=False)
    _print_classes(statistics)


def _print_classes(statistics: dict[str, dict[str, Any]]) -> None:
    totals: Counter = Counter()
    for figures in statistics.values():
        for name, counts in figures["classes"].items():
            totals[name] += counts["objects"]
    shown = [name for name, _ in totals.most_common(CLASSES_SHOWN)]
    rest = f" (the commonest {len(shown)} of {len(totals)})" if len(shown) < len(totals) else ""
    table = _table(f"objects (images) by class{rest}", statistics)
    for name in shown:
        cells = []
        for figures in statistics.values():
            counts = figures["classes"].get(name)
            cells.append(f"{counts['objects']} ({counts['images']})" if counts else "-")
        table.add_row(plain(name), *cells)
    out.print(table, soft_wrap=False)


def _table(title: str, statistics: dict[str, Any]) -> Table:
    table = Table(title, *(plain(split) for split in statistics))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _spread(values: dict[str, float] | None) -> str:
    if values is None:
        return "n/a"
    return f"{values['p50']:.0f} ({values['p0']:.0f}-{values['p100']:.0f})"


def _with_share(counts: dict[str, int], name: str) -> str:
    total = sum(counts.values())
    return f"{counts[name]} ({counts[name] / total:.0%})" if total else "0"


def _shown(entry: dict[str, Any]) -> str:
    line = f":{entry['line']}" if entry["line"] else ""
    if entry["file"] == "." and entry["place"]:  # of the data set as a whole
        return str(entry["place"])
    return f"{entry['file']}{line}" + (f": {entry['place']}" if entry["place"] else "")
