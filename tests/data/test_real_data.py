"""The readers on real data sets, which are not part of the project; skipped where they are missing.

The figures were counted in the annotation files by other means.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.config.load import CONFIG_FOLDER
from keras_retinanet.data.cleaning import clean
from keras_retinanet.data.dataset import ANY_CLASS
from keras_retinanet.data.formats.open_images import read_open_images
from keras_retinanet.data.formats.voc import read_voc
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.evaluation.evaluate import CocoEvaluator

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
    assert dataset.is_ignored.sum() == crowds
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
    used = np.unique(dataset.labels[~dataset.is_ignored])
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
    """The same annotations in all formats that are read."""
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

    def read_as_open_images():
        annotations = source / "gts" / "openimages_format" / "all_bounding_boxes.csv"
        return clean(read_open_images(images, annotations), decode_images=False)

    def rows_of_text(row):
        """The VOC annotations, written as rows; the set itself has neither CSV nor KITTI."""
        for stem in stems:
            tree = ElementTree.parse(source / "gts" / "pascalvoc_format" / f"{stem}.xml")
            yield (
                stem,
                "".join(
                    row.format(
                        path=images / f"{stem}.jpg",
                        name=node.findtext("name"),
                        **{corner.tag: corner.text for corner in node.find("bndbox")},
                    )
                    for node in tree.findall("object")
                ),
            )

    def read_as_csv():
        folder = tmp_path_factory.mktemp("csv")
        texts = dict(rows_of_text("{path};{xmin};{ymin};{xmax};{ymax};{name}\r\n"))
        (folder / "annotations.csv").write_text("".join(texts.values()))
        return load_dataset(folder, "train", decode_images=False)

    def read_as_kitti():
        folder = tmp_path_factory.mktemp("kitti")
        (folder / "image_2").symlink_to(images)
        (folder / "label_2").mkdir()
        row = "{name} 0 0 0 {xmin} {ymin} {xmax} {ymax} -1 -1 -1 -1 -1 -1 -1\n"
        for stem, text in rows_of_text(row):
            (folder / "label_2" / f"{stem}.txt").write_text(text)
        return load_dataset(folder, "train", decode_images=False)

    return {
        "open images": read_as_open_images(),
        "csv": read_as_csv(),
        "kitti": read_as_kitti(),
        "coco v1": read_as_coco("coco_format_v1/instances_default.json"),
        "coco v2": read_as_coco("coco_format_v2/instances_v2.json"),
        "voc": read_as_voc("pascalvoc_format"),
        "imagenet": read_as_voc("imagenet_format/Annotations"),
    }


@pytest.mark.parametrize(
    ("other", "tolerance"),
    [
        ("coco v2", 1),
        ("voc", 1),
        ("imagenet", 1),
        ("open images", 1e-4),
        ("csv", 1e-4),
        ("kitti", 1e-4),
    ],
)
def test_formats_agree(many_formats, other, tolerance):
    """Within 1 px for VOC: the other exports kept its 1-based corners."""
    datasets = [many_formats[name] for name in ("coco v1", other)]
    first, second = ({Path(path).stem for path in d.image_paths} for d in datasets)
    assert first == second
    assert len(first) == 100
    names, expected_names = ({d.class_names[i] for i in set(d.labels)} for d in datasets)
    assert names == expected_names
    assert len(names) == 20
    tables = [objects(dataset) for dataset in datasets]
    assert [len(table) for table in tables] == [273, 273]
    for expected, (image, class_name, box) in zip(*tables, strict=True):
        assert (image, class_name) == expected[:2]
        np.testing.assert_allclose(box, expected[2], atol=tolerance)


def test_kitti(real_data):
    folder = real_data / "kitti_samples"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    dataset = load_dataset(folder, "train")
    assert not dataset.findings
    assert dataset.image_ids == ["000000", "000001", "000002"]
    assert dataset.class_names == ("Car", "Cyclist", "Misc", "Pedestrian", "Truck")
    assert np.diff(dataset.row_splits).tolist() == [1, 7, 2]
    assert dataset.num_objects.tolist() == [1, 3, 2]
    assert set(dataset.labels[dataset.is_ignored]) == {ANY_CLASS}
    np.testing.assert_allclose(dataset.boxes[0], (712.40, 143.00, 810.73, 307.92))


def test_samples_of_fizyr_s_csv_and_the_same_as_coco_and_voc(real_data):
    folder = real_data / "samples_csv_coco_voc"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    dataset = load_dataset(folder / "csv", "train")
    assert not dataset.findings
    assert dataset.boxes.tolist() == [[47, 239, 194, 370]]
    assert (dataset.class_names, dataset.category_ids) == (("person",), (0,))
    assert load_dataset(folder / "coco", "val").num_boxes > 0
    assert load_dataset(folder / "pascal", "train").num_boxes > 0


@pytest.mark.parametrize(
    ("name", "splits"),
    [("coco_subset", {"train", "val"}), ("bccd", {"train", "val", "trainval", "test"})],
)
def test_folders_are_read_as_the_shipped_yaml(load, real_data, name, splits):
    assert set(split_names(real_data / name)) == splits
    ours, shipped = load_dataset(real_data / name, "val", decode_images=False), load(name, "val")
    np.testing.assert_array_equal(ours.boxes, shipped.boxes)
    assert ours.class_names == shipped.class_names


def objects(dataset):
    return sorted(
        (Path(path).stem, dataset.class_names[label], box)
        for i, path in enumerate(dataset.image_paths)
        for label, box in zip(
            dataset.labels[dataset.rows(i)], dataset.boxes[dataset.rows(i)].tolist(), strict=True
        )
    )
