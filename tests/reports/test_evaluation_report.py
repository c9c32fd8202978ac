"""report.html: what it says, and that it works in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.cli.verbs.evaluation_report import write_evaluation_report
from keras_retinanet.data.checks.anchor_recall import anchor_recall
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.analysis.image_errors import ErrorKind
from keras_retinanet.evaluation.evaluate import CocoEvaluator
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.reports.evaluation_report.advice import advise, is_alone
from keras_retinanet.reports.evaluation_report.charts import training_curves
from keras_retinanet.reports.evaluation_report.evaluation_page import write_report
from keras_retinanet.reports.evaluation_report.examples import SUSPECT, pick_examples
from keras_retinanet.reports.evaluation_report.measured import Measured, size_of
from keras_retinanet.reports.pages.figures import as_svg, new_figure, room_for, short_name

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CAT, DOG = (10.0, 10.0, 40.0, 40.0), (50.0, 10.0, 90.0, 50.0)
NAMES = ("cat", "<b>dog</b>")


def make_dataset(folder, num_images=4):
    paths = []
    for i in range(num_images):
        pixels = np.full((60, 100, 3), 40 * i, np.uint8)
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    boxes = np.array([CAT, DOG] * num_images, np.float32)
    return DetectionDataset(
        image_paths=paths,
        image_ids=list(range(num_images)),
        heights=np.full(num_images, 60),
        widths=np.full(num_images, 100),
        row_splits=np.arange(num_images + 1) * 2,
        boxes=boxes,
        labels=np.array([0, 1] * num_images, np.int32),
        is_ignored=np.zeros(len(boxes), bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=NAMES,
        category_ids=(1, 2),
    )


def measured_of(dataset, detections):
    """detections: of each image a list of (box xyxy, label, score)."""
    evaluator = CocoEvaluator(dataset)
    for image, rows in enumerate(detections):
        evaluator.add(
            image,
            {
                "boxes": np.array([row[0] for row in rows], float).reshape(-1, 4),
                "classes": np.array([row[1] for row in rows], int),
                "scores": np.array([row[2] for row in rows], float),
            },
        )
    return Measured.of(evaluator)


@pytest.fixture
def measured(tmp_path):
    return measured_of(
        make_dataset(tmp_path),
        [
            [(CAT, 0, 0.9), (DOG, 1, 0.8)],
            [(CAT, 0, 0.9), (DOG, 0, 0.85)],  # a dog taken for a cat
            [(CAT, 0, 0.7), ((60, 30, 95, 58), 1, 0.6)],  # a box that is far off
            [(CAT, 0, 0.7), ((2, 45, 12, 55), 1, 0.95)],  # a false alarm, and a dog missed
        ],
    )


def page_of(measured, folder):
    path = write_report(measured, folder, title="T <i>", facts={"a": "<x>"}, command="run & go")
    return path.read_text(encoding="utf-8")


def test_what_is_measured(measured):
    assert measured.best_score == 0.7  # an F1 of 10 / 15; at 0.6, of 10 / 16
    assert measured.num_errors[ErrorKind.CLASS] == 1
    assert measured.num_errors[ErrorKind.LOCATION] == 0  # its score is 0.6
    assert measured.num_errors[ErrorKind.BACKGROUND] == 1
    assert measured.num_errors[ErrorKind.MISSED] == 3  # at the best score, whatever the reason
    assert measured.missed_by_size == {"small": (0, 4), "medium": (3, 4), "large": (0, 0)}
    assert measured.confusion.tolist() == [[4, 0, 0], [1, 1, 2], [0, 1, 0]]


@pytest.mark.parametrize(
    ("area", "name"), [(0, "small"), (1023, "small"), (1024, "medium"), (9216, "large")]
)
def test_sizes_are_those_of_coco(area, name):
    assert size_of(area) == name


def test_the_most_costly_error_comes_first(measured):
    advice = advise(measured)
    lost = [entry.lost for entry in advice]
    assert lost == sorted(lost, reverse=True)
    assert any("<b>dog</b> is taken for cat (once)" in entry.found for entry in advice)
    assert any("2 confident detections" in entry.found for entry in advice)


def test_examples_show_each_kind(measured):
    examples = pick_examples(measured)
    kinds = [example.kind for example in examples]
    assert sorted(set(kinds)) == sorted(
        {"missed", "false alarm", "wrong class", "box too far off", SUSPECT}
    )
    wrong = next(example for example in examples if example.kind == "wrong class")
    assert wrong.text == "cat, score 0.85; labelled <b>dog</b>"
    truth, *_, found = wrong.boxes
    # The detection lies on the label of the dog, and the cat beside it is drawn as well.
    assert truth.text == "cat"
    dog = next(b for b in wrong.boxes if b.kind == "truth" and b.text == "<b>dog</b>")
    assert (dog.x1, dog.y1, dog.x2, dog.y2) == (found.x1, found.y1, found.x2, found.y2)


def test_the_page_needs_nothing_else_and_escapes_names(measured, tmp_path):
    page = page_of(measured, tmp_path / "out")
    assert "<b>dog</b>" not in page and "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "T &lt;i&gt;" in page and "run &amp; go" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"@import|url\((?!#)", page)
    names = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert {"error_costs.png", "error_costs.svg", "confusion.png"} <= names


def test_the_page_tells_of_the_data_and_of_what_was_trained(measured, tmp_path):
    recall = anchor_recall(
        measured.dataset,
        anchor_generator=AnchorGenerator(),
        input_policy=InputPolicy("shorter_side", size=60, max_size=100),
    )
    path = write_report(
        measured,
        tmp_path,
        title="T",
        facts={},
        command="c",
        recall=recall,
        details={"Settings": "model: {weights: <none>}"},
    )
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))
    assert "images 4, of which 0 without an object" in page
    assert "image size 100 px wide, 60 px high" in page
    assert "objects 8 of 2 classes" in page
    assert "objects in an image 2 (median), at most 2" in page
    # Cats of 30 x 30 and dogs of 40 x 40 pixels.
    assert "object size 35 px (median" in page and "30 to 40 px" in page
    # No scaling, so that a cat's best anchor is 32 px square or near: all have one.
    assert "all 8 1.000 small 4 1.000 medium 4 1.000 large 0 " in page
    assert "Settings model: {weights: &lt;none&gt;}" in page


def test_settings_are_those_of_a_run(measured, tmp_path):
    evaluator = CocoEvaluator(measured.dataset)
    (tmp_path / "config.yaml").write_text("model: {backbone: resnet18}")

    def page():
        path = write_evaluation_report(
            evaluator, tmp_path / "out", title="T", facts={}, folder_of_model=tmp_path
        )
        return path.read_text(encoding="utf-8")

    assert "backbone" not in page()  # a file of that name may be of anything
    (tmp_path / "run.json").write_text("{}")
    assert "model: {backbone: resnet18}" in page()


@pytest.mark.parametrize("tiling", [Tiling(), Tiling(64)])
def test_anchors_are_compared_with_whole_images_alone(measured, tmp_path, make_tiny, tiling):
    path = write_evaluation_report(
        CocoEvaluator(measured.dataset),
        tmp_path,
        title="T",
        facts={},
        model=make_tiny(channels=8, tiling=tiling),
    )
    assert ("Objects with an anchor" in path.read_text(encoding="utf-8")) == (tiling.size is None)


def test_labels_that_nothing_is_about_are_suspects(measured):
    # The dog of the last image alone: those before it are overlapped by a detection or found.
    assert [int(is_alone(errors).sum()) for errors in measured.errors] == [0, 0, 0, 1]
    assert any("1 label that no detection is about" in entry.found for entry in advise(measured))


def test_the_same_evaluation_gives_the_same_page(measured, tmp_path):
    assert page_of(measured, tmp_path / "a") == page_of(measured, tmp_path / "b")


@pytest.mark.parametrize("detections", [[], [[], [], [], []]])
def test_without_detections(tmp_path, detections):
    measured = measured_of(make_dataset(tmp_path), detections)
    page = page_of(measured, tmp_path / "out")
    assert "no detection is right" in page
    assert "8 of 8 objects are not found" in page


def test_without_objects(tmp_path):
    dataset = make_dataset(tmp_path)
    dataset.is_ignored[:] = True
    page = page_of(measured_of(dataset, [[(CAT, 0, 0.9)]]), tmp_path / "out")
    assert "n/a" in page and "no objects" in page


_PROBE = """
<pre id="probe"></pre><script>
const rows = () => [...document.querySelectorAll("[data-sortable] tbody tr")]
  .map((row) => row.cells[0].textContent);
const shown = () => document.querySelectorAll("#examples figure:not([hidden])").length;
const report = [];
const head = document.querySelectorAll("[data-sortable] th")[2];
head.click(); report.push(rows().join()); head.click(); report.push(rows().join());
report.push(shown());
const kind = document.querySelector("[data-filter=kind]");
kind.value = "false alarm"; kind.dispatchEvent(new Event("input", { bubbles: true }));
report.push(shown());
kind.value = ""; const score = document.querySelector("[data-score]");
score.value = 0.9; score.dispatchEvent(new Event("input", { bubbles: true }));
report.push(shown(), document.querySelector("#examples output").textContent);
report.push(document.documentElement.scrollWidth <= window.innerWidth);
document.getElementById("probe").textContent = JSON.stringify(report);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1440, 500])
def test_sorting_and_filters_in_a_browser(measured, tmp_path, width):
    page = page_of(measured, tmp_path / "out").replace("</body>", _PROBE)
    (tmp_path / "probe.html").write_text(page, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
         f"file://{tmp_path / 'probe.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    report = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)[1]
    by_ap = ["cat,&lt;b&gt;dog&lt;/b&gt;", "&lt;b&gt;dog&lt;/b&gt;,cat"]
    total = len(pick_examples(measured))
    # No score is no reason to hide a missed object: it stays.
    assert report == (f'["{by_ap[0]}","{by_ap[1]}",{total},1,3,"3 of {total} pictures",true]')


def test_what_was_written_gives_the_same_evaluation(measured):
    evaluator = CocoEvaluator(measured.dataset)
    evaluator._found = {found.image: found for found in measured.found}
    results = json.loads(json.dumps(evaluator.results))
    again = CocoEvaluator.of_results(measured.dataset, results)
    assert again.metrics() == measured.metrics
    assert again.results == results


def test_results_of_other_data_are_refused(measured):
    result = {"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}
    with pytest.raises(DataError, match="no image 99"):
        CocoEvaluator.of_results(measured.dataset, [result])


def test_curves_of_a_training(measured, tmp_path):
    history = [
        {"epoch": "1", "loss": "2.0", "class_loss": "1.5", "box_loss": "0.5", "AP": ""},
        {"epoch": "2", "loss": "1.0", "class_loss": "0.5", "box_loss": "0.5", "AP": "0.25"},
    ]
    assert training_curves([]) is None
    path = write_report(measured, tmp_path, title="t", facts={}, command="", history=history)
    assert "The training" in path.read_text(encoding="utf-8")
    assert (tmp_path / "plots" / "training.png").is_file()


@pytest.mark.parametrize(("loss", "ap"), [("nan", "nan"), ("inf", "0"), ("0", "0"), ("1.5", "0.2")])
def test_curves_of_any_training_can_be_drawn(loss, ap):
    row = {"epoch": "1", "loss": loss, "class_loss": loss, "box_loss": "0.1", "AP": ap}
    svg = as_svg(training_curves([row, {**row, "epoch": "2", "AP": ""}]))
    assert "class loss" in svg and svg.rstrip().endswith("</svg>")


@pytest.mark.parametrize("name", ["a", "a name of many letters, W"])
def test_names_fit_beside_an_axis(name):
    """The room for names is reckoned, and nothing of them may be outside of the picture."""
    names = [short_name(name)] * 3
    figure, axes = new_figure(left=room_for(names), below=room_for(names))
    axes.set_yticks(range(3), names)
    axes.set_xticks(range(3), names, rotation=90)
    as_svg(figure)
    for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0
