import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.data.dataset import ANY_CLASS, DetectionDataset
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.runtimes.keras_model import KerasDetector, detect_files
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.coco_eval import COCO_FIGURES
from keras_retinanet.evaluation.evaluate import CocoEvaluator, evaluate, write_evaluation
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy

pytestmark = pytest.mark.usefixtures("small_resnet18")

SIDE = 100
ONE = pytest.approx(1)


@pytest.fixture(scope="module")
def demo_yaml(tmp_path_factory):
    """Category ids with gaps, a crowd region, an image without objects."""
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=1, num_val=8)


@pytest.fixture(scope="module")
def demo(demo_yaml):
    return load_dataset(demo_yaml, "val")


def make_dataset(*images, class_names=("cat", "dog"), image_ids=None):
    """Images of (box, label) or (box, label, is_ignored)."""
    objects = [(*o, False)[:3] for image in images for o in image]
    boxes = np.array([o[0] for o in objects], np.float32).reshape(-1, 4)
    count = len(images)
    return DetectionDataset(
        image_paths=[f"{i}.jpg" for i in range(count)],
        image_ids=list(image_ids or range(1, count + 1)),
        heights=np.full(count, SIDE, np.int32),
        widths=np.full(count, SIDE, np.int32),
        row_splits=np.cumsum([0, *map(len, images)]),
        boxes=boxes,
        labels=np.array([o[1] for o in objects], np.int32),
        is_ignored=np.array([o[2] for o in objects], bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=class_names,
        category_ids=tuple(10 * i + 3 for i in range(len(class_names))),
    )


def objects_as_detections(dataset, image):
    rows = dataset.rows(image)
    boxes = dataset.boxes[rows]
    return {"boxes": boxes, "scores": np.ones(len(boxes)), "classes": dataset.labels[rows]}


def detections(*found):
    boxes, classes, scores = zip(*found, strict=True) if found else ([], [], [])
    return {"boxes": np.array(boxes), "scores": np.array(scores), "classes": np.array(classes)}


def evaluated(dataset, found=None, **options):
    """Metrics of detections by image; of the objects themselves by default."""
    evaluator = CocoEvaluator(dataset, **options)
    if found is None:
        found = {image: objects_as_detections(dataset, image) for image in range(len(dataset))}
    for image, of_image in found.items():
        evaluator.add(image, of_image)
    return evaluator.metrics(), evaluator.results


def noisy(dataset, seed):
    """Objects moved, some missed, some of a wrong class, and some from nowhere."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in range(len(dataset)):
        boxes = dataset.boxes[dataset.rows(image)]
        labels = dataset.labels[dataset.rows(image)]
        keep = rng.random(len(boxes)) < 0.8
        boxes = boxes[keep] + rng.normal(0, 4, (keep.sum(), 4))
        ghosts = rng.uniform(0, 100, (3, 2))
        boxes = np.concatenate([boxes, np.concatenate([ghosts, ghosts + 50], axis=1)])
        wrong = rng.random(len(boxes)) < 0.2
        classes = np.concatenate([labels[keep], [0, 1, 2]])
        classes = np.where(wrong, rng.integers(0, len(dataset.class_names), len(boxes)), classes)
        found[image] = {"boxes": boxes, "scores": rng.random(len(boxes)), "classes": classes}
    return found


def by_pycocotools(annotation_file, results_file):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotation_file)
        figures = COCOeval(truth, truth.loadRes(str(results_file)), "bbox")
        figures.evaluate()
        figures.accumulate()
        figures.summarize()
    return figures.stats


def test_the_objects_as_detections_have_ap_1(demo):
    assert demo.is_ignored.any()
    metrics, _ = evaluated(demo)
    assert metrics["AP"] == metrics["AP75"] == metrics["AR100"] == ONE
    assert metrics["per_class"] == dict.fromkeys(demo.class_names, ONE)


def test_labels_in_a_model_s_order_keep_the_ids_of_the_data_set(demo):
    mapped = demo.with_classes(["bird", *reversed(demo.class_names)])
    metrics, results = evaluated(mapped)
    assert metrics["AP"] == ONE
    assert metrics["per_class"]["bird"] is None
    assert [r["category_id"] for r in results] == [demo.category_ids[i] for i in demo.labels]


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_pycocotools_on_the_files(demo, demo_yaml, tmp_path, seed):
    metrics, results = evaluated(demo, noisy(demo, seed))
    write_evaluation(metrics, results, tmp_path / "new" / "folder")
    written = tmp_path / "new" / "folder"
    assert json.loads((written / "metrics.json").read_text()) == metrics
    expected = by_pycocotools(
        demo_yaml.parent / "annotations" / "val.json", written / "detections.json"
    )
    for name, value in zip(COCO_FIGURES, expected, strict=True):
        assert metrics[name] == (None if value == -1 else pytest.approx(value, abs=1e-9)), name
    assert 0.1 < metrics["AP"] < 0.9


def test_results_hold_the_ids_and_pixels_of_the_data_set():
    dataset = make_dataset([], [((0, 0, 9, 9), 0)], image_ids=["b 1", 77])
    _, results = evaluated(dataset, {1: detections(((10.12345, 20, 40, 60.5), 1, 0.7654321))})
    assert results == [
        {"image_id": 77, "category_id": 13, "bbox": [10.123, 20, 29.877, 40.5], "score": 0.765432}
    ]
    assert json.loads(json.dumps(results)) == results


def test_image_ids_may_be_names(demo):
    named = dataclasses.replace(demo, image_ids=[f"2007_{i:06}" for i in range(len(demo))])
    metrics, results = evaluated(named, noisy(demo, 0))
    assert metrics == evaluated(demo, noisy(demo, 0))[0]
    assert results[0]["image_id"] == "2007_000000"


def test_no_detections_at_all_is_ap_0(demo):
    for found in ({}, {0: detections()}):
        metrics, results = evaluated(demo, found)
        assert results == []
        assert (metrics["AP"], metrics["AR100"]) == (0, 0)
        assert set(metrics["per_class"].values()) == {0}


def test_images_without_detections_count():
    box = (10, 10, 60, 60)
    dataset = make_dataset([(box, 0)], [(box, 0)])
    metrics, _ = evaluated(dataset, {0: detections((box, 0, 0.9))})
    assert metrics["AR100"] == pytest.approx(0.5)
    assert metrics["AP"] == pytest.approx(51 / 101)  # recall 0 to 0.5 of 101 thresholds


def test_detections_in_images_without_objects_count():
    box = (10, 10, 60, 60)
    dataset = make_dataset([(box, 0)], [])
    found = {0: detections((box, 0, 0.5)), 1: detections((box, 0, 0.9))}
    assert evaluated(dataset, found)[0]["AP"] == pytest.approx(0.5)


def test_a_class_without_objects_has_no_ap():
    dataset = make_dataset([((10, 10, 60, 60), 0)], class_names=("cat", "dog", "cow"))
    found = {0: detections(((10, 10, 60, 60), 0, 0.9), ((20, 20, 70, 70), 1, 0.8))}
    metrics, _ = evaluated(dataset, found)
    assert metrics["per_class"] == {"cat": ONE, "dog": None, "cow": None}
    assert metrics["AP"] == ONE


def test_a_size_without_objects_has_no_ap():
    metrics, _ = evaluated(make_dataset([((10, 10, 60, 60), 0)]))
    assert (metrics["APs"], metrics["APm"], metrics["APl"]) == (None, ONE, None)


def test_a_data_set_without_objects_has_no_figures():
    metrics, _ = evaluated(make_dataset([]), {0: detections(((10, 10, 60, 60), 0, 0.9))})
    assert {metrics[name] for name in COCO_FIGURES} == {None}
    assert set(metrics["per_class"].values()) == {None}


@pytest.mark.parametrize(("is_ignored", "ap"), [(True, 1), (False, 0.5)])
def test_detections_in_a_crowd_are_neither_right_nor_wrong(is_ignored, ap):
    box, region = (60, 60, 90, 90), (0, 0, 50, 50)
    dataset = make_dataset([(box, 0), (region, 0, is_ignored)])
    inside = [((x, x, x + 12, x + 12), 0, 0.9) for x in (2, 20, 34)]
    metrics, _ = evaluated(dataset, {0: detections((box, 0, 0.99), *inside)})
    assert metrics["AP50"] == pytest.approx(ap, abs=0.01)


def test_a_region_for_any_class_excuses_each_and_counts_for_none():
    cat, dog, region = (60, 60, 90, 90), (5, 60, 35, 90), (0, 0, 50, 50)
    inside = [((x, x, x + 12, x + 12), label, 0.95) for x in (2, 20, 34) for label in (0, 1, 2)]
    found = {0: detections((cat, 0, 0.9), (dog, 1, 0.9), *inside)}
    objects, names = [(cat, 0), (dog, 1)], ("cat", "dog", "cow")
    metrics, _ = evaluated(
        make_dataset([*objects, (region, ANY_CLASS, True)], class_names=names), found
    )
    assert metrics["per_class"] == {"cat": ONE, "dog": ONE, "cow": None}
    assert (metrics["AP"], metrics["AR100"]) == (ONE, ONE)
    of_one_class = make_dataset([*objects, (region, 0, True)], class_names=names)
    per_class = evaluated(of_one_class, found)[0]["per_class"]
    assert per_class["cat"] == ONE
    assert per_class["dog"] < 0.3


def test_one_class_does_not_answer_for_another():
    box = (10, 10, 60, 60)
    metrics, _ = evaluated(make_dataset([(box, 0)]), {0: detections((box, 1, 0.9))})
    assert metrics["AP"] == 0


def test_more_than_1000_objects_are_all_measured():
    boxes = [(x, y, x + 2, y + 2) for x in range(0, 80, 2) for y in range(0, 60, 2)]
    dataset = make_dataset([(box, 0) for box in boxes])
    metrics, results = evaluated(dataset)
    assert len(results) == 1200
    assert metrics["AR100"] == pytest.approx(100 / 1200)  # COCO counts 100 detections
    metrics, _ = evaluated(dataset, max_detections=1000)
    assert metrics["AR1000"] == pytest.approx(1000 / 1200) and "AR100" not in metrics
    assert metrics["AP"] == pytest.approx(84 / 101)  # recalls 0, .01, ... .83
    assert metrics["per_class"]["cat"] == metrics["AP"]


def test_the_original_area_decides_what_is_small():
    dataset = make_dataset([((10, 10, 60, 60), 0)])
    dataset.areas[:] = 100  # of the segmentation
    metrics, _ = evaluated(dataset)
    assert (metrics["APs"], metrics["APm"]) == (ONE, None)


@pytest.fixture(scope="module")
def model(make_tiny, demo):
    """A RetinaNet that finds something everywhere, and knows a class more than the data set."""
    model = make_tiny(
        channels=8,
        class_names=["bird", *reversed(demo.class_names)],
        prior=0.3,
        anchor_generator=AnchorGenerator(sizes=(8, 16, 24, 32, 48)),
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(max_detections=20),
    )
    kernels = [w for w in model.weights if "class_head" in w.path and "kernel" in w.path]
    rng = np.random.default_rng(0)
    for kernel in kernels:  # further apart than the rounding of different batch sizes
        kernel.assign(rng.normal(0, 0.15, kernel.shape))
    return model


@pytest.fixture(scope="module")
def by_batch_size(model, demo):
    detector = KerasDetector(model)
    return {size: evaluate(detector, demo, batch_size=size) for size in (1, 4)}


def as_rows(results):
    rows = [[r["image_id"], r["category_id"], r["score"], *r["bbox"]] for r in results]
    return np.array(sorted(rows, key=lambda row: (row[0], -row[2], row[3:])))


def test_the_batch_size_changes_nothing(by_batch_size, demo):
    one, four = by_batch_size.values()
    rows = as_rows(one[1])
    assert len(rows) == 20 * len(demo)
    np.testing.assert_allclose(rows, as_rows(four[1]), atol=2e-3)
    for name in COCO_FIGURES:
        assert one[0][name] == pytest.approx(four[0][name], abs=1e-6)


def test_a_model_with_more_classes_is_matched_by_name(by_batch_size, model, demo):
    metrics, results = by_batch_size[4]
    assert list(metrics["per_class"]) == list(model.class_names)
    assert metrics["per_class"]["bird"] is None
    assert {r["category_id"] for r in results} & set(demo.category_ids)
    assert {r["image_id"] for r in results} == set(demo.image_ids)


def test_a_class_that_the_model_lacks_is_refused(make_tiny, demo):
    model = make_tiny(channels=8, class_names=["bird", *demo.class_names[1:]])
    with pytest.raises(DataError, match=f"objects of class .*{demo.class_names[0]}"):
        evaluate(model, demo)


class WholeImage(KerasDetector):
    """Marks all of an image, without its padding, and leaves a place unused."""

    def __call__(self, images, sizes):
        assert (sizes <= images.shape[1:3]).all()
        height, width = sizes.T
        boxes = np.stack([0 * width, 0 * height, width, height], axis=1)[:, None]
        return {
            "boxes": boxes.astype(np.float32).repeat(2, axis=1),
            "scores": np.full((len(images), 2), 0.5, np.float32),
            "classes": np.zeros((len(images), 2), np.int32),
            "num_detections": np.ones(len(images), np.int32),
        }


@pytest.mark.parametrize("batch_size", [1, 3])
def test_boxes_come_back_in_pixels_of_the_image(model, demo, batch_size):
    files = demo.image_paths, demo.heights, demo.widths
    seen = dict(detect_files(WholeImage(model), *files, batch_size=batch_size))
    assert sorted(seen) == list(range(len(demo)))
    for image, found in seen.items():
        expected = [0, 0, demo.widths[image], demo.heights[image]]
        np.testing.assert_allclose(found["boxes"], [expected], rtol=1e-6)
        assert found["scores"].tolist() == [0.5]
