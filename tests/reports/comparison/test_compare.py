"""compare: which run is better, on which images, by which settings; its page and its refusals."""

import csv
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.evaluation.evaluate import CocoEvaluator, write_evaluation, write_results
from keras_retinanet.evaluation.evaluation_record import EvaluationRecord
from keras_retinanet.reports.comparison.comparison_page import write_comparison
from keras_retinanet.reports.comparison.contestant import DataSets, load_contestants
from keras_retinanet.reports.comparison.differences import Comparison
from keras_retinanet.reports.comparison.different_images import different_images
from keras_retinanet.training.runs.run_directory import Run, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=2, num_val=12)


def detections(data, *, shift=0.0, lost=(), split="val"):
    """An evaluator whose detections are the objects, `shift` pixels off; none in images `lost`."""
    dataset = load_dataset(data, split)
    evaluator = CocoEvaluator(dataset)
    for image in range(len(dataset)):
        rows = dataset.rows(image)
        kept = ~dataset.is_ignored[rows] & (image not in lost)
        boxes = dataset.boxes[rows][kept] + shift
        # Different scores, so that the order of equal ones decides nothing.
        scores = 0.9 - 0.01 * image - 0.0001 * np.arange(len(boxes))
        evaluator.add(
            image, {"boxes": boxes, "scores": scores, "classes": dataset.labels[rows][kept]}
        )
    return evaluator


def make_run(folder, data, evaluator, **settings):
    """A run directory as a training of two epochs leaves it."""
    folder.mkdir(parents=True)
    config = {
        "optimizer": {"learning_rate": 0.01, "name": "sgd", **settings},
        "image": {"size": 64},
    }
    write_run(folder, Run(str(data), "x", is_finished=True), config=yaml.safe_dump(config))
    ap = evaluator.metrics()["AP"]
    with open(folder / "metrics.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["epoch", "loss", "AP"], [1, 2.0, ap / 2], [2, 1.0, ap]])
    write_results(evaluator.results, folder / "best_detections.json")
    return folder


def make_evaluation(folder, data, evaluator, *, split="val", record=True, model=None):
    write_evaluation(evaluator.metrics(), evaluator.results, folder)
    if record:
        EvaluationRecord(model=model and str(model), data=str(data), split=split).write(folder)
    return folder


def compared(*folders, data=None):
    return Comparison(load_contestants(folders, DataSets(data)))


@pytest.fixture
def good_and_bad(data, tmp_path):
    good = make_run(tmp_path / "good", data, detections(data))
    bad = make_run(tmp_path / "bad", data, detections(data, shift=6, lost=(3,)), learning_rate=0.1)
    return good, bad


def test_a_clear_difference(good_and_bad):
    comparison = compared(*good_and_bad)
    assert comparison.names == ["good", "bad"]
    ((against),) = comparison.against_first
    aps = [each.figure("AP") for each in comparison.contestants]
    assert aps[0] == pytest.approx(1.0)
    assert against.difference.value == pytest.approx(aps[1] - aps[0])
    assert against.difference.is_clear
    assert against.verdict("good").endswith("worse than good")
    assert comparison.settings == {"optimizer.learning_rate": ["0.01", "0.1"]}


def test_classes_come_by_what_changed_most(good_and_bad):
    classes = compared(*good_and_bad).classes
    assert len(classes) == 5
    falls = [values[0] - values[1] for _, values in classes]
    assert falls == sorted(falls, reverse=True) and falls[0] > 0


def test_the_image_that_one_lost_comes_first(data, good_and_bad, tmp_path):
    lost = make_run(tmp_path / "lost", data, detections(data, lost=(7,)))
    (image,) = different_images(compared(good_and_bad[0], lost).measured_alike)
    dataset = load_dataset(data, "val")
    assert dataset.image_paths[7].endswith(image.image)
    num_objects = int(dataset.num_objects[7])
    assert [each.missed for each in image.of_each] == [0, num_objects]
    kinds = [{box.kind for box in each.boxes} for each in image.of_each]
    assert kinds == [{"right"}, {"truth"}]


def test_no_clear_difference(data, tmp_path):
    folders = [
        make_evaluation(tmp_path / name, data, detections(data, lost=lost))
        for name, lost in (("a", (2,)), ("b", (5,)))
    ]
    (against,) = compared(*folders).against_first
    assert not against.difference.is_clear
    assert "no clear difference from a" in against.verdict("a")


def test_a_run_and_an_evaluation_of_its_model(data, good_and_bad, tmp_path):
    evaluation = make_evaluation(
        good_and_bad[1] / "report",
        data,
        detections(data),
        model=good_and_bad[1] / "best.keras",
    )
    comparison = compared(good_and_bad[0], evaluation)
    assert comparison.names == ["good", "bad/report"]
    assert comparison.against_first[0].difference.value == 0
    assert "optimizer.learning_rate" in comparison.settings


def test_other_images_are_not_compared(data, good_and_bad, tmp_path):
    other = detections(data, split="train")
    folder = make_evaluation(tmp_path / "train", data, other, split="train")
    comparison = compared(good_and_bad[0], folder)
    (against,) = comparison.against_first
    assert against.difference is None
    assert against.why_not.startswith(
        "not to be compared with good: train was measured on 2 images"
    )
    assert comparison.measured_alike == []


def test_data_that_have_changed_are_noticed(data, good_and_bad, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data.parent, copy)
    path = copy / "annotations" / "val.json"
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][: len(content["annotations"]) // 2]
    path.write_text(json.dumps(content))
    (against,) = compared(*good_and_bad, data=str(copy / "data.yaml")).against_first
    assert against.difference is None
    assert "they have changed" in against.why_not


@pytest.mark.parametrize("content", ['[{"score": 1}]', '{"images": []}', "[1]"])
def test_detections_of_another_kind_are_one_line(data, good_and_bad, tmp_path, content):
    folder = make_evaluation(tmp_path / "odd", data, detections(data))
    (folder / "detections.json").write_text(content)
    with pytest.raises(DataError, match=r"detections\.json holds no COCO results: evaluate again"):
        compared(good_and_bad[0], folder)


def test_data_that_are_gone_leave_what_was_written(data, tmp_path):
    folders = [make_run(tmp_path / n, "/nowhere/data.yaml", detections(data)) for n in "ab"]
    comparison = compared(*folders)
    assert comparison.contestants[0].metrics == {"AP": pytest.approx(1.0)}
    assert "no interval" in comparison.against_first[0].why_not
    # They are elsewhere now.
    assert compared(*folders, data=str(data)).against_first[0].difference.value == 0


def test_an_evaluation_of_an_earlier_version_needs_data(data, tmp_path):
    folders = [
        make_evaluation(tmp_path / name, data, detections(data), record=False) for name in "ab"
    ]
    assert "give --data" in compared(*folders).against_first[0].why_not
    assert compared(*folders, data=str(data)).against_first[0].difference is not None


def test_what_cannot_be_compared(data, good_and_bad, tmp_path):
    good, _ = good_and_bad
    for folders, message in (
        ([good], "nothing to compare with"),
        ([good, good], "given twice"),
        ([good, tmp_path], "neither a run nor an evaluation"),
    ):
        with pytest.raises(ConfigError, match=message):
            compared(*folders)


def page_of(comparison, folder):
    path = write_comparison(comparison, folder, facts={"a": "<x>"}, command="run & go")
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(good_and_bad, tmp_path):
    page = page_of(compared(*good_and_bad), tmp_path / "out")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"@import|url\((?!#)", page)
    assert "&lt;x&gt;" in page and "run &amp; go" in page
    assert "worse than good" in page and "optimizer.learning_rate" in page
    assert page.count('class="gallery wide"') >= 1
    assert page == page_of(compared(*good_and_bad), tmp_path / "again")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1440, 500])
def test_the_page_in_a_browser(good_and_bad, tmp_path, width):
    probe = """<pre id="probe"></pre><script>
    const head = document.querySelectorAll("[data-sortable] th")[3];
    const first = () => document.querySelector("[data-sortable] tbody tr td:last-child");
    head.click(); const most = Number(first().dataset.value);
    head.click(); const least = Number(first().dataset.value);
    const fits = document.documentElement.scrollWidth <= window.innerWidth;
    document.getElementById("probe").textContent = JSON.stringify([most > least, fits]);
    </script></body>"""
    page = page_of(compared(*good_and_bad), tmp_path / "out").replace("</body>", probe)
    (tmp_path / "probe.html").write_text(page, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
         f"file://{tmp_path / 'probe.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert '<pre id="probe">[true,true]</pre>' in done.stdout


def test_the_verb(good_and_bad, call, tmp_path, capsys):
    good, bad = good_and_bad
    assert call("compare", good, bad, "--output", tmp_path / "out", "--json") == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert [run["name"] for run in result["runs"]] == ["good", "bad"]
    assert result["differences"][0]["is_clear"] is True
    assert result["settings"] == {"optimizer.learning_rate": {"good": "0.01", "bad": "0.1"}}
    assert (tmp_path / "out" / "compare.html").is_file()
    assert "worse than good" in printed.err
    assert call("compare", good) == 2
