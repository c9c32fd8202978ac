"""docs/colab.ipynb: valid, without outputs, and every cell runs, with a smaller data set."""

import os
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install nbclient ipykernel")
nbformat = pytest.importorskip("nbformat")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "colab.ipynb"
SMALLER = {
    "--num-train 320 --num-val 80": "--num-train 8 --num-val 4",
    "IMAGE_SIZE = 160": "IMAGE_SIZE = 64",
    "EPOCHS = 10": "EPOCHS = 1",
    "fpn_channels=64": "fpn_channels=8",
    "head_channels=64": "head_channels=8",
}


def read():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_it_is_kept_without_outputs():
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert len(cells) > 8
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    # Only one cell installs, and it is left out where the package is there.
    assert [cell.source.split()[0] for cell in cells].count("%pip") == 1


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    notebook = read()
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("%pip")]
    text = "\n".join(cell.source for cell in notebook.cells)
    for old, new in SMALLER.items():
        assert text.count(old) == 1, old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    # The shell commands in cells are those of this environment.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    done = client.execute()
    outputs = [str(cell.get("outputs", "")) for cell in done.cells]
    assert any("'AP50':" in output for output in outputs)
    assert sum("image/png" in output for output in outputs) == 2
    assert (tmp_path / "report" / "report.html").is_file()
    assert (tmp_path / "detector.keras").is_file()
    assert (tmp_path / "serving" / "detector" / "1" / "saved_model.pb").is_file()
