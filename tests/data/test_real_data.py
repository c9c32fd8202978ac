"""The readers on real data sets, which are not part of the project; skipped where they are missing.

The figures were counted in the annotation files by other means.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.config import CONFIG_FOLDER
from keras_retinanet.data.cleaning import clean
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.data.voc import read_voc
from keras_retinanet.evaluation import CocoEvaluator

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def load(real_data):
    """A function: name of a shipped data YAML, split -> its data set; no image is decoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_RETINANET_DATA", str(real_data))
        yield lambda name, split: load_dataset(
            CONFIG_FOLDER / "data" / f"{name}.yaml", split, decode_images=False
        )


def test_bccd(load):
    counts = {"train": 205, "val": 87, "trainval": 292, "test": 72}
    found = {split: load("bccd", split) for split in counts}
    assert {split: len(dataset) for split, dataset in found.items()} == counts
    dropped = Counter()
    for dataset in found.values():
        assert dataset.class_names == ("Platelets", "RBC", "WBC")
        assert set(zip(dataset.widths, dataset.heights, strict=True)) == {(640, 480)}
        assert {f.problem for f in dataset.findings} <= {"box of zero or negative size"}
    for split in ("train", "val"):
        dropped.update((f.problem, f.action) for f in found[split].findings)
    assert dropped == {("box of zero or negative size", "box dropped"): 2}
    assert sum(found[s].num_boxes for s in ("train", "val", "test")) == 4888 - 2
    together = sorted(found["train"].image_ids + found["val"].image_ids)
    assert sorted(found["trainval"].image_ids) == together


@pytest.mark.parametrize(
    ("split", "images", "boxes", "crowds"), [("train", 321, 2675, 28), ("val", 164, 1560, 17)]
)
def test_coco_subset(load, split, images, boxes, crowds):
    dataset = load("coco_subset", split)
    assert not dataset.findings
    assert (len(dataset), dataset.num_boxes) == (images, boxes)
    assert dataset.is_crowd.sum() == crowds
    assert len(dataset.class_names) == 80
    assert (dataset.category_ids[0], dataset.category_ids[-1]) == (1, 90)
    assert dataset.class_names[dataset.category_ids.index(90)] == "toothbrush"


def test_the_objects_as_detections_have_ap_1(load):
    dataset = load("coco_subset", "val")
    evaluator = CocoEvaluator(dataset)
    for image in range(len(dataset)):
        rows = dataset.rows(image)
        objects = {"boxes": dataset.boxes[rows], "classes": dataset.labels[rows]}
        evaluator.add(image, {**objects, "scores": np.ones(len(objects["boxes"]))})
    metrics = evaluator.metrics()
    assert metrics["AP"] == pytest.approx(1)
    used = np.unique(dataset.labels[~dataset.is_crowd])
    measured = [name for name, value in metrics["per_class"].items() if value is not None]
    assert measured == [dataset.class_names[label] for label in used]


@pytest.mark.parametrize(
    "path", sorted((CONFIG_FOLDER / "data").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_data_yaml_can_be_read(load, path):
    for split in split_names(path):
        assert load(path.stem, split).num_boxes > 0


@pytest.fixture(scope="module")
def many_formats(real_data, tmp_path_factory):
    """The same annotations as COCO (two exports) and as Pascal VOC (two exports)."""
    source = real_data / "voc_many_formats"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    images = source / "images"
    stems = sorted(path.stem for path in images.glob("*.jpg"))

    def read_as_coco(name):
        content = json.loads((source / "gts" / name).read_text())
        folder = tmp_path_factory.mktemp("coco")
        (folder / "a.json").write_text(json.dumps(content))
        split = {"images": str(images), "annotations": "a.json"}
        (folder / "data.yaml").write_text(json.dumps({"format": "coco", "splits": {"all": split}}))
        return load_dataset(folder / "data.yaml", "all", decode_images=False)

    def read_as_voc(name):
        folder = tmp_path_factory.mktemp("voc")
        (folder / "Annotations").symlink_to(source / "gts" / name)
        (folder / "JPEGImages").symlink_to(images)
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "all.txt").write_text("\n".join(stems))
        return clean(read_voc(folder, "all"), decode_images=False)

    return {
        "coco v1": read_as_coco("coco_format_v1/instances_default.json"),
        "coco v2": read_as_coco("coco_format_v2/instances_v2.json"),
        "voc": read_as_voc("pascalvoc_format"),
        "imagenet": read_as_voc("imagenet_format/Annotations"),
    }


@pytest.mark.parametrize("other", ["coco v2", "voc", "imagenet"])
def test_formats_agree(many_formats, other):
    """Within 1 px: the COCO exports kept VOC's 1-based corners."""
    tables = [objects(many_formats[name]) for name in ("coco v1", other)]
    assert [len(table) for table in tables] == [273, 273]
    for (image, class_name, box), expected in zip(*tables, strict=True):
        assert (image, class_name) == expected[:2]
        np.testing.assert_allclose(box, expected[2], atol=1)


def objects(dataset):
    return sorted(
        (Path(path).stem, dataset.class_names[label], box)
        for i, path in enumerate(dataset.image_paths)
        for label, box in zip(
            dataset.labels[dataset.rows(i)], dataset.boxes[dataset.rows(i)].tolist(), strict=True
        )
    )
