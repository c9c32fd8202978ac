"""YOLO, TFRecord and conversions on real data sets; skipped where they are missing."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.images.address import image_name
from keras_retinanet.data.source import load_dataset

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def exports(real_data, tmp_path_factory):
    """A function: name of a format -> the data YAML of the same 100 images in that format."""
    source = real_data / "voc_many_formats"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    gts, images = source / "gts", source / "images"
    names = (gts / "yolo_format" / "obj.names").read_text().split()

    def link(folder, **targets):
        for name, target in targets.items():
            (folder / name).symlink_to(target)

    def make(kind):
        folder = tmp_path_factory.mktemp(kind)
        if kind == "coco":
            annotations = str(gts / "coco_format_v1" / "instances_default.json")
            split = {"images": str(images), "annotations": annotations}
            values = {"format": "coco", "splits": {"train": split}}
        elif kind == "voc":
            link(folder, JPEGImages=images, Annotations=gts / "pascalvoc_format")
            (folder / "ImageSets" / "Main").mkdir(parents=True)
            stems = "\n".join(sorted(path.stem for path in images.glob("*.jpg")))
            (folder / "ImageSets" / "Main" / "all.txt").write_text(stems)
            values = {"format": "voc", "root": ".", "splits": {"train": "all"}}
        elif kind == "yolo":
            link(folder, images=images, labels=gts / "yolo_format" / "obj_train_data")
            values = {"format": "yolo", "train": "images", "names": names}
        else:
            records = gts / "tfrecord_format"
            values = {
                "format": "tfrecord",
                "images": str(images),  # the records of this export hold none
                "label_map": str(records / "label_map.pbtxt"),
                "splits": {"train": str(records / "default")},
            }
        (folder / "data.yaml").write_text(yaml.safe_dump(values))
        return folder / "data.yaml"

    return make


def load(data_yaml, split="train"):
    dataset = load_dataset(data_yaml, split, decode_images=False)
    assert not [f for f in dataset.findings if f.action != "noted"]
    return dataset


def objects(dataset, with_ignored=True):
    """(image, class, box) of all objects, sorted so that small differences change nothing."""
    rows = [
        (image_name(path), dataset.class_names[label], box)
        for i, path in enumerate(dataset.image_paths)
        for label, box, is_ignored in zip(
            dataset.labels[dataset.rows(i)],
            dataset.boxes[dataset.rows(i)].tolist(),
            dataset.is_ignored[dataset.rows(i)],
            strict=True,
        )
        if with_ignored or not is_ignored
    ]
    return sorted(rows, key=lambda row: (row[0], row[1], [round(v) for v in row[2]]))


def assert_same_objects(found, expected, atol):
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose([r[2] for r in found], [r[2] for r in expected], rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["yolo", "tfrecord"])
def test_exports_agree_with_coco(exports, kind):
    """YOLO's file has six decimals; the export to COCO two."""
    expected, found = load(exports("coco")), load(exports(kind))
    assert set(found.class_names) == set(expected.class_names)
    assert sorted(map(image_name, found.image_paths)) == sorted(
        map(image_name, expected.image_paths)
    )
    assert (len(found), found.num_boxes) == (100, 273)
    assert_same_objects(objects(found), objects(expected), 0.01)


def test_around_all_formats(exports, tmp_path):
    data = exports("voc")
    first = load(data)
    for i, target in enumerate(["coco", "yolo", "tfrecord", "coco"]):
        data = convert(data, tmp_path / str(i), target=target, check_images=False).data_yaml
    last = load(data)
    assert last.class_names == first.class_names
    expected = objects(first, with_ignored=False)  # YOLO holds no others
    assert 0 < len(expected) < first.num_boxes
    assert_same_objects(objects(last), expected, 0.01)
    for path in last.image_paths:
        original = Path(first.image_paths[0]).with_name(image_name(path))
        assert Path(path).read_bytes() == original.read_bytes()


def test_coco_through_records_is_the_same_file(real_data, tmp_path):
    """COCO -> TFRecord -> COCO: images, ids, categories, boxes, areas and crowds as they were."""
    folder = real_data / "coco_subset"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    annotations = folder / "annotations" / "instances_val2017.json"
    split = {"images": str(folder / "val2017"), "annotations": str(annotations)}
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"format": "coco", "splits": {"val": split}})
    )
    records = convert(tmp_path / "data.yaml", tmp_path / "records", target="tfrecord", num_shards=3)
    convert(records.data_yaml, tmp_path / "coco", target="coco")
    written = json.loads((tmp_path / "coco" / "annotations" / "val.json").read_text())
    expected = json.loads(annotations.read_text())
    for key, fields in (
        ("images", ("id", "file_name", "width", "height")),
        ("categories", ("id", "name")),
    ):
        wanted = [{k: row[k] for k in fields} for row in expected[key]]
        assert written[key] == wanted
    order = {image["id"]: i for i, image in enumerate(expected["images"])}
    rows = sorted(expected["annotations"], key=lambda row: order[row["image_id"]])
    assert len(written["annotations"]) == len(rows) == 1560
    for found, wanted in zip(written["annotations"], rows, strict=True):
        for key in ("image_id", "category_id", "iscrowd"):
            assert found[key] == wanted[key]
        np.testing.assert_allclose(found["bbox"], wanted["bbox"], atol=1e-3)
        np.testing.assert_allclose(found["area"], wanted["area"], rtol=1e-6)
