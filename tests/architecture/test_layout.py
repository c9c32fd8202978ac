"""The rooms of the package: few, small, each with its own words and with arrows downwards only."""

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_retinanet"

# The package's own files, which no room could hold, are not counted.
OWN = {"__init__.py", "__main__.py", "py.typed"}
MOST_AT_THE_TOP = 17
MOST_IN_A_ROOM = 15
# Processes that are started by this package and answer on stdout.
WORKERS = {
    "evaluation/benchmark_worker.py",
    "training/finders/batch_trial.py",
    "training/planning/step_trial.py",
}
# Tests of what is no room: the layout, the documents, and several rooms at once.
TESTS_OF_NO_ROOM = {"architecture", "benchmarks", "docs", "reliability", "slow"}


def folders(top):
    every = [top, *(path for path in top.rglob("*") if path.is_dir())]
    return [path for path in every if "__pycache__" not in path.parts]


ROOMS = folders(PACKAGE)
FILES = sorted(path for room in ROOMS for path in room.glob("*.py"))


def within(path):
    return path.relative_to(PACKAGE).as_posix()


def test_there_is_something_to_look_at():
    assert len(ROOMS) > 20 and len(FILES) > 150


def test_the_top_is_seen_at_a_glance():
    entries = {path.name for path in PACKAGE.iterdir()} - OWN - {"__pycache__"}
    assert len(entries) <= MOST_AT_THE_TOP, sorted(entries)


@pytest.mark.parametrize("room", ROOMS, ids=within)
def test_no_room_is_crowded(room):
    files = {path.name for path in room.iterdir() if path.is_file()} - OWN
    assert len(files) <= MOST_IN_A_ROOM, sorted(files)


def test_every_module_says_what_it_owns():
    silent = [within(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_every_folder_with_code_is_a_package():
    lacking = {path.parent for path in FILES} - {p.parent for p in FILES if p.name in OWN}
    assert not lacking


def test_no_two_rooms_hold_files_of_the_same_name():
    places = defaultdict(list)
    for path in FILES:
        if path.name not in OWN:
            places[path.name].append(within(path))
    assert not [same for same in places.values() if len(same) > 1]


def test_no_file_is_a_drawer_for_odds_and_ends():
    odd = {"util", "utils", "common", "helper", "helpers", "misc", "tools"}
    assert not [within(path) for path in FILES if odd & set(path.stem.split("_"))]


def test_tests_mirror_the_package():
    rooms = {within(room) for room in ROOMS}
    tests = ROOT / "tests"
    mirrored = {path.relative_to(tests).as_posix() for path in folders(tests)}
    mirrored = {name for name in mirrored if name.split("/")[0] not in TESTS_OF_NO_ROOM}
    assert mirrored <= rooms, mirrored - rooms


def test_imports_go_downwards_only(tmp_path):
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint_imports, "--no-logo", "--cache-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def test_no_two_modules_import_each_other(monkeypatch):
    """Neither by a longer way round, nor within one room."""
    monkeypatch.syspath_prepend(ROOT)
    graph = grimp.build_graph("keras_retinanet", cache_dir=None)
    assert graph.modules > {"keras_retinanet.training.train"}
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError with the circle


def calls_of_print(path):
    names = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
    return [name.lineno for name in names if isinstance(name, ast.Name) and name.id == "print"]


def test_only_the_command_line_prints():
    printing = {within(path) for path in FILES if calls_of_print(path)}
    silent = {name for name in printing if not name.startswith("cli/")}
    assert silent == WORKERS


def test_tensor_is_defined_once():
    defined = []
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            defined += [within(path) for t in targets if ast.unparse(t) == "Tensor"]
    assert defined == ["conventions.py"]
