import csv

import pytest

from keras_retinanet.paper.experiment import Experiment, Row
from keras_retinanet.paper.tables import RowResults, write_tables

ROWS = (
    Row(name="a", paper=(34.0, 52.5, 36.5), paper_ms=98),
    Row(name="b", note="paper: diverges"),
    Row(name="c", paper=(1, 2, 3)),
)


@pytest.fixture
def tables(tmp_path):
    def write(results, **settings):
        experiment = Experiment(title="T", paper="COCO", config="x", rows=ROWS, **settings)
        rows = [RowResults(row, found) for row, found in zip(ROWS, results)]
        write_tables(experiment, rows, ["a note"], tmp_path)
        with open(tmp_path / "table.csv", newline="") as file:
            return (tmp_path / "table.md").read_text(), list(csv.DictReader(file))

    return write


def result(ap, **more):
    return {"AP": ap, "AP50": 2 * ap, "AP75": None, "APs": None, "APm": ap, "APl": ap, **more}


def test_mean_and_spread_over_seeds(tables):
    markdown, rows = tables([[result(0.1), result(0.2), result(0.3)], [result(0.25)], []])
    lines = {line.split("|")[1].strip(): line for line in markdown.splitlines() if "|" in line}
    assert "| 34 | 52.5 | 36.5 | 20.0 ± 10.0 | 40.0 ± 20.0 | – |" in lines["a"]
    assert "| – | – | – | 25.0 | 50.0 | – | paper: diverges |" in lines["b"]
    assert lines["c"].endswith("| not run yet |")
    assert "a note" in markdown and "COCO" in markdown and "standard deviation" in markdown
    assert rows[0]["paper_AP"] == "34.0" and float(rows[0]["AP_mean"]) == pytest.approx(20)
    assert float(rows[0]["AP_std"]) == pytest.approx(10) and rows[0]["trainings"] == "3"
    assert rows[1]["AP_std"] == "" and rows[1]["paper_AP"] == ""
    assert rows[2]["AP_mean"] == "" and rows[2]["trainings"] == "0"


def test_trainings_that_diverged_are_told_and_not_averaged(tables):
    markdown, rows = tables([[result(0.1), {"diverged": "NaN"}], [{"diverged": "NaN"}], []])
    assert "| 10.0 |" in markdown and "diverged in 1 of 2 trainings" in markdown
    assert "paper: diverges; diverged in 1 of 1 trainings" in markdown
    assert (rows[0]["diverged"], rows[1]["AP_mean"]) == ("1", "")


def test_speed_is_a_column(tables):
    markdown, rows = tables([[result(0.1, ms=12.5)], [], []], measure_speed=True)
    assert "| 34 | 52.5 | 36.5 | 98 | 10.0 | 20.0 | – | 12.5 |" in markdown
    assert rows[0]["ms_mean"] == "12.5000" and rows[0]["paper_ms"] == "98.0"
