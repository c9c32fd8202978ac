"""The roads through the code: the stops in docs/architecture.md exist, and the roads are short.

`python tests/architecture/test_roads.py` lists every definition on a road with its lines.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_retinanet"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STOPS = re.findall(r"^\|[^|]*\| `([\w/]+\.py)` \| ([^|]*) \|$", PAGE, re.MULTILINE)


def definitions(file: str) -> dict[str, set[int]]:
    """Return the lines of a file's definitions; `Class~` are those of a class without methods."""
    found: dict[str, set[int]] = {}

    def visit(body: list, prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                name = prefix + node.name
                found[name] = set(range(first, node.end_lineno + 1))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{name}.")
                    methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
                    inside = [found[f"{name}.{method}"] for method in methods]
                    found[f"{name}~"] = found[name].difference(*inside)

    visit(ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body, "")
    return found


def lines_of(file: str, names: str) -> int:
    """Return how many lines definitions have: `name`, or `Class{method,method}`."""
    known, lines = definitions(file), set()
    for name in names.split():
        kind, _, methods = name.rstrip("}").partition("{")
        if methods:
            lines |= known[f"{kind}~"].union(*(known[f"{kind}.{m}"] for m in methods.split(",")))
        else:
            lines |= known[name]
    return len(lines)


def test_the_page_has_stops():
    assert len(STOPS) > 30


@pytest.mark.parametrize(("file", "names"), STOPS, ids=[file for file, _ in STOPS])
def test_a_stop_is_where_the_page_says(file, names):
    assert set(re.findall(r"`(\w+)`", names)) <= set(definitions(file)), file
