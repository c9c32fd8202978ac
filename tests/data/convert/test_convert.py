"""Conversions as a whole: nothing is lost on the way round, and an interrupted one goes on."""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from keras_retinanet.data.convert import convert as conversion
from keras_retinanet.data.convert.convert import TARGETS, convert
from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.images.address import image_name, read_image_bytes
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError, DataError
from tests.data.images.jpeg_xl_samples import SAMPLES

CLASSES = {1: "cat", 3: "Käse 雪", 90: "stop & <go> 'sign'/2"}
WIDTH, HEIGHT = 64, 48

BOX = (8, 4, 40, 30)


@pytest.fixture(scope="session")
def source(tmp_path_factory, picture, exif):
    """COCO with all that conversions may lose; paths of the data YAML and of the images."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    splits = {}
    for split, names in {
        "train": ["a.jpg", "überraschung 雪.jpg", "turned.jpg", "scan 1.png", "100%_x@1+2.jpg"],
        "val": ["v.jpg", "no objects.jpg"],
    }.items():
        folder = root / "photos" / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for i, name in enumerate(names):
            turned = {"exif": exif(6)} if name == "turned.jpg" else {}
            kind = "PNG" if name.endswith("png") else "JPEG"
            (folder / name).write_bytes(picture(WIDTH, HEIGHT, kind=kind, **turned))
            size = (HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT)
            image_id = 100 - 7 * i
            images.append({"id": image_id, "file_name": name, "width": size[0], "height": size[1]})
            for k in range(0 if name == "no objects.jpg" else 4):
                x, y = rng.uniform(0, 20, 2)
                w, h = rng.uniform(2, 24, 2)
                if k == 0:
                    x, y, w, h = 0, 0, *size  # all of the image
                elif k == 1:
                    x, y, w, h = 3, 4, 20, 30
                annotations.append(
                    {
                        "id": 1000 + len(annotations),
                        "image_id": image_id,
                        "category_id": list(CLASSES)[k % 3],
                        "bbox": [float(v) for v in (x, y, w, h)],
                        "area": float(w * h / 2),
                        "iscrowd": int(k == 3 and i == 0),
                    }
                )
        categories = [{"id": i, "name": name} for i, name in CLASSES.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
        splits[split] = {"images": str(folder), "annotations": str(root / f"{split}.json")}
    (root / "data.yaml").write_text(yaml.safe_dump({"format": "coco", "splits": splits}))
    return root / "data.yaml"


def objects(dataset, *fields):
    """Of each image by name: its size, content, and boxes with classes, in order."""
    result = {}
    for i, path in enumerate(dataset.image_paths):
        rows = dataset.rows(i)
        result[image_name(path)] = {
            "size": (dataset.widths[i], dataset.heights[i]),
            "bytes": read_image_bytes(path),
            "classes": [dataset.class_names[label] for label in dataset.labels[rows]],
            "boxes": dataset.boxes[rows],
            "id": dataset.image_ids[i] if "id" in fields else None,
            "areas": dataset.areas[rows] if "area" in fields else None,
            "crowds": dataset.is_ignored[rows] if "crowd" in fields else None,
        }
    return result


def assert_same(found, expected, atol):
    assert list(found) == list(expected)
    for name, image in found.items():
        for key, value in image.items():
            wanted = expected[name][key]
            if key in ("boxes", "areas") and value is not None:
                np.testing.assert_allclose(value, wanted, rtol=0, atol=atol, err_msg=name)
            else:
                np.testing.assert_equal(value, wanted, err_msg=f"{name} {key}")


# What a format keeps beside names, sizes, images, classes and boxes.
KEEPS = {"coco": ("id", "area", "crowd"), "voc": ("crowd",), "tfrecord": ("id", "area", "crowd")}


@pytest.mark.parametrize("target", ["coco", "voc", "tfrecord"])
def test_nothing_is_lost_that_the_format_can_hold(source, target, tmp_path):
    done = convert(source, tmp_path / "out", target=target)
    assert (done.num_images, done.num_boxes, done.num_classes, done.num_kept) == (7, 24, 3, 0)
    for split in ("train", "val"):
        before, after = (load_dataset(path, split) for path in (source, done.data_yaml))
        assert not after.findings
        assert after.class_names == before.class_names
        if target != "voc":
            assert after.category_ids == before.category_ids == tuple(CLASSES)
        atol = 1e-5 if target == "tfrecord" else 0  # it holds shares as float32
        found, expected = (objects(d, *KEEPS[target]) for d in (after, before))
        assert_same(found, expected, atol)


def test_yolo_keeps_all_but_crowds(source, tmp_path):
    done = convert(source, tmp_path / "out", target="yolo")
    assert done.num_boxes == 24 - 2
    for split in ("train", "val"):
        before, after = (load_dataset(path, split) for path in (source, done.data_yaml))
        expected = objects(before, "crowd")
        for image in expected.values():
            keep = ~image["crowds"]
            image["boxes"] = image["boxes"][keep]
            image["classes"] = [c for c, k in zip(image["classes"], keep, strict=True) if k]
            image["crowds"] = None
        assert_same(dict(sorted(objects(after).items())), dict(sorted(expected.items())), 0)
        assert after.category_ids == (0, 1, 2)
    problems = Counter(f.problem for f in done.findings)
    assert problems == {"a crowd or difficult object, which YOLO cannot hold": 2}
    written = json.loads((tmp_path / "out" / "data_findings.json").read_text())
    assert written["counts"] == problems


def test_around_all_formats(source, tmp_path):
    """VOC -> COCO -> YOLO -> TFRecord -> COCO, within a hundredth of a pixel."""
    data = convert(source, tmp_path / "0", target="voc").data_yaml
    first = load_dataset(data, "train")
    first.boxes = first.boxes[~first.is_ignored]  # which YOLO cannot hold: the last of an image
    first.labels = first.labels[~first.is_ignored]
    first.row_splits = np.concatenate([[0], np.cumsum(first.num_objects)])
    for i, target in enumerate(["coco", "yolo", "tfrecord", "coco"], start=1):
        data = convert(data, tmp_path / str(i), target=target).data_yaml
    last = load_dataset(data, "train")
    assert last.class_names == first.class_names
    expected, found = (dict(sorted(objects(d).items())) for d in (first, last))
    assert_same(found, expected, 0.01)
    assert sum(len(image["boxes"]) for image in found.values()) == 19


def test_voc_as_others_read_it(source, tmp_path):
    """Whole pixels as 1-based inclusive integers, others with their decimals; difficult = crowd."""
    out = tmp_path / "out"
    convert(source, out, target="voc")
    tree = ElementTree.parse(out / "Annotations" / "a.xml")
    names = [node.text for node in tree.findall("object/name")]
    assert names == [*CLASSES.values(), "cat"]
    corners = [[node.text for node in box] for box in tree.findall("object/bndbox")]
    assert corners[:2] == [["1", "1", "64", "48"], ["4", "5", "23", "34"]]
    assert "." in corners[2][0]
    assert [node.text for node in tree.findall("object/difficult")] == ["0", "0", "0", "1"]
    lines = (out / "ImageSets" / "Main" / "val.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["v", "no objects"]


def test_yolo_as_ultralytics_reads_it(source, tmp_path):
    convert(source, tmp_path / "out", target="yolo")
    values = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
    assert values["names"] == dict(enumerate(CLASSES.values()))
    assert "path" not in values  # else it were relative to the folder that the tool runs in
    for split in ("train", "val"):
        images = tmp_path / "out" / values[split]
        labels = Path(str(images).replace("/images/", "/labels/"))
        assert {p.stem for p in labels.iterdir()} == {p.stem for p in images.iterdir()}
    rows = [line.split() for line in (labels / "v.txt").read_text().splitlines()]
    assert rows[0] == ["0", "0.5", "0.5", "1.0", "1.0"]
    np.testing.assert_allclose([float(v) for v in rows[1]], [1, 13 / 64, 19 / 48, 20 / 64, 30 / 48])


def test_tfrecord_as_model_garden_reads_it(source, tmp_path):
    import hashlib

    convert(source, tmp_path / "out", target="tfrecord", num_shards=2)
    shards = sorted((tmp_path / "out").glob("train-*.tfrecord"))
    assert [s.name for s in shards] == [f"train-0000{i}-of-00002.tfrecord" for i in (0, 1)]
    keys = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/format": tf.io.FixedLenFeature((), tf.string),
        "image/key/sha256": tf.io.FixedLenFeature((), tf.string),
        "image/filename": tf.io.FixedLenFeature((), tf.string),
        "image/source_id": tf.io.FixedLenFeature((), tf.string),
        "image/height": tf.io.FixedLenFeature((), tf.int64),
        "image/width": tf.io.FixedLenFeature((), tf.int64),
        "image/object/class/label": tf.io.VarLenFeature(tf.int64),
        "image/object/class/text": tf.io.VarLenFeature(tf.string),
        "image/object/is_crowd": tf.io.VarLenFeature(tf.int64),
        "image/object/area": tf.io.VarLenFeature(tf.float32),
        **{
            f"image/object/bbox/{k}": tf.io.VarLenFeature(tf.float32)
            for k in ("xmin", "ymin", "xmax", "ymax")
        },
    }
    raw = next(tf.data.TFRecordDataset(shards).as_numpy_iterator())
    places = [raw.index(b"\n" + bytes([len(key)]) + key.encode()) for key in sorted(keys)]
    assert places == sorted(places)  # the same file in every process
    records = [tf.io.parse_single_example(r, keys) for r in tf.data.TFRecordDataset(shards)]
    assert [int(r["image/source_id"].numpy()) for r in records] == [100, 93, 86, 79, 72]
    assert records[3]["image/format"] == b"png"
    first = records[0]
    encoded = first["image/encoded"].numpy()
    assert first["image/key/sha256"].numpy().decode() == hashlib.sha256(encoded).hexdigest()
    assert first["image/format"] == b"jpeg"
    assert (int(first["image/width"]), int(first["image/height"])) == (WIDTH, HEIGHT)
    assert first["image/object/class/label"].values.numpy().tolist() == [1, 3, 90, 1]
    assert first["image/object/class/text"].values.numpy()[1].decode() == "Käse 雪"
    assert first["image/object/is_crowd"].values.numpy().tolist() == [0, 0, 0, 1]
    assert first["image/object/area"].values[1] == 300
    corners = [
        float(first[f"image/object/bbox/{k}"].values[1]) for k in ("xmin", "ymin", "xmax", "ymax")
    ]
    np.testing.assert_allclose(corners, [3 / 64, 4 / 48, 23 / 64, 34 / 48], rtol=1e-6)


def test_images_on_their_side_are_noted_in_tfrecords(source, tmp_path):
    done = convert(source, tmp_path / "out", target="tfrecord")
    assert [(f.action, image_name(f.where)) for f in done.findings] == [("noted", "turned.jpg")]


@pytest.mark.parametrize("num_shards", [1, 3, 50])
def test_numbers_of_shards(source, tmp_path, num_shards):
    done = convert(source, tmp_path, target="tfrecord", splits=["train"], num_shards=num_shards)
    assert len(list(tmp_path.glob("train-*"))) == min(num_shards, 5)
    assert load_dataset(done.data_yaml, "train").image_ids == [100, 93, 86, 79, 72]


def times(folder):
    return {
        p.relative_to(folder).as_posix(): p.lstat().st_mtime_ns
        for p in folder.rglob("*")
        if not p.is_dir()
    }


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_conversion_goes_on(source, target, interruption, tmp_path, monkeypatch):
    out, whole = tmp_path / "out", tmp_path / "whole"
    options = {"target": target, **({"num_shards": 3} if target == "tfrecord" else {})}
    convert(source, whole, **options)

    # The third image or shard, and all after it, fail; one at a time, so that two are done.
    calls = Counter()

    def failing(method):
        def call(*arguments):
            calls["all"] += 1
            if calls["all"] > 2:
                raise interruption
            return method(*arguments)

        return call

    with monkeypatch.context() as patch, pytest.raises(interruption):
        patch.setattr(conversion.os, "cpu_count", lambda: 1)
        for name in ("put_image", "write_file"):
            patch.setattr(Output, name, failing(getattr(Output, name)))
        convert(source, out, **options)
    # The part of records, which tells what is there, is gone at the end.
    before = {k: v for k, v in times(out).items() if not k.startswith("parts/")}
    assert "data.yaml" not in before
    assert 1 < len(before) < len(times(whole))
    (out / ".unfinished-0123-1.tmp").write_bytes(b"as a killed process leaves it")

    seen = []
    done = convert(source, out, on_progress=lambda *counts: seen.append(counts), **options)
    assert 0 < done.num_kept < 7
    assert seen[-1] == (7, 7)
    after = times(out)
    assert {k: v for k, v in after.items() if k in before and k != "conversion.json"} == {
        k: v for k, v in before.items() if k != "conversion.json"
    }
    assert set(after) == set(times(whole))
    for name in after:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert convert(source, out, **options).num_kept == 7


def test_a_folder_of_something_else_is_left_alone(source, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not empty: name a new folder"):
        convert(source, tmp_path, target="coco")
    (tmp_path / "conversion.json").write_text("{}")
    with pytest.raises(DataError, match="exists and is not empty: name a new folder"):
        convert(source, tmp_path, target="coco")
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(DataError, match=r"mine\.txt exists and is not empty|cannot write"):
        convert(source, tmp_path / "mine.txt", target="coco")


@pytest.mark.parametrize("other", [{"target": "voc"}, {"link": True}, {"splits": ["val"]}])
def test_a_folder_of_another_conversion_is_refused(source, tmp_path, other):
    convert(source, tmp_path, target="yolo")
    before = times(tmp_path)
    with pytest.raises(DataError, match="holds a conversion of other data, or with other options"):
        convert(source, tmp_path, **{"target": "yolo", **other})
    assert times(tmp_path) == before


@pytest.mark.parametrize("changed", ["images/val/v.jpg", "labels/val/v.txt"])
def test_files_that_somebody_changed_are_not_overwritten(source, tmp_path, changed):
    convert(source, tmp_path, target="yolo")
    (tmp_path / changed).write_text("changed")
    with pytest.raises(DataError, match="is not what this conversion writes there") as error:
        convert(source, tmp_path, target="yolo")
    assert str(tmp_path / changed) in str(error.value)
    assert (tmp_path / changed).read_text() == "changed"


@pytest.mark.parametrize("target", ["coco", "voc", "yolo"])
def test_images_as_links(source, tmp_path, target):
    done = convert(source, tmp_path, target=target, link=True)
    links = [p for p in tmp_path.rglob("*") if p.is_symlink()]
    assert len(links) == 7
    assert {p.resolve().parent.parent.name for p in links} == {"photos"}
    assert len(load_dataset(done.data_yaml, "train")) == 5
    assert convert(source, tmp_path, target=target, link=True).num_kept == 7


def test_images_out_of_records_are_copied_even_where_links_are_wanted(source, tmp_path):
    records = convert(source, tmp_path / "1", target="tfrecord").data_yaml
    done = convert(records, tmp_path / "2", target="coco", link=True)
    assert not any(p.is_symlink() for p in (tmp_path / "2").rglob("*"))
    found, expected = (objects(load_dataset(p, "train")) for p in (done.data_yaml, source))
    assert_same(found, expected, 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "yolov8"}, "no format 'yolov8' to write: did you mean 'yolo'"),
        ({"target": "coco", "num_shards": 3}, "only tfrecord has shards"),
        ({"target": "tfrecord", "link": True}, "there is nothing to link"),
        ({"target": "coco", "splits": ["vall"]}, "has no split 'vall': did you mean 'val'"),
    ],
)
def test_settings_that_do_not_fit(source, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        convert(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_damaged_images_are_left_out_and_reported(coco, picture, tmp_path):
    coco.add_image("good.jpg")
    coco.add_box("good.jpg", BOX)
    coco.add_image("bad.jpg", content=picture()[:-600])
    coco.write()
    done = convert(coco.root / "data.yaml", tmp_path / "out", target="yolo")
    assert done.num_images == 1
    assert [f.action for f in done.findings] == ["image skipped"]
    done = convert(
        coco.root / "data.yaml", tmp_path / "unchecked", target="yolo", check_images=False
    )
    assert done.num_images == 2


def test_boxes_of_a_pixel_are_dropped_from_voc_and_reported(coco, tmp_path):
    coco.add_image("a.jpg")
    for box in ((5, 5, 6, 20), (5, 5, 7, 20), (5, 5, 20, 5.5)):
        coco.add_box("a.jpg", box)
    coco.write()
    done = convert(coco.root / "data.yaml", tmp_path / "out", target="voc")
    assert done.num_boxes == 1
    assert [f.action for f in done.findings] == ["box dropped"] * 2
    after = load_dataset(done.data_yaml, "train")
    np.testing.assert_array_equal(after.boxes, [(5, 5, 7, 20)])
    assert not after.findings


@pytest.mark.parametrize("name", [" cat", "two\nlines", "bell\a"])
def test_class_names_that_xml_cannot_hold_are_refused(coco, tmp_path, name):
    coco.add_image("a.jpg")
    coco.add_box("a.jpg", BOX)
    coco.content["categories"][0]["name"] = name
    coco.write()
    with pytest.raises(DataError, match="VOC cannot hold the class name"):
        convert(coco.root / "data.yaml", tmp_path / "out", target="voc")
    for target in ("coco", "yolo", "tfrecord"):
        done = convert(coco.root / "data.yaml", tmp_path / target, target=target)
        assert name in load_dataset(done.data_yaml, "train").class_names


def test_a_category_0_is_numbered_anew_in_tfrecords(coco, tmp_path):
    coco.add_image("a.jpg")
    coco.add_box("a.jpg", (5, 5, 20, 20), "dog")
    coco.write()
    done = convert(coco.root / "data.yaml", tmp_path / "out", target="tfrecord")
    assert ["numbered anew" in f.problem for f in done.findings] == [True]
    dataset = load_dataset(done.data_yaml, "train")
    assert (dataset.class_names, dataset.category_ids) == (("cat", "dog"), (1, 2))
    assert dataset.labels.tolist() == [1]


def test_voc_with_overlapping_splits(voc, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        voc.add_image(name)
        voc.add_box(name, (8, 4, 40, 30))
    voc.settings["splits"] = {"train": "train", "trainval": "both"}
    voc.image_set = ["a"]
    voc.write()
    voc.write_image_set("both", ["a", "b"])
    done = convert(voc.root / "data.yaml", tmp_path / "out", target="voc")
    assert len(list((tmp_path / "out" / "JPEGImages").iterdir())) == 2
    assert load_dataset(done.data_yaml, "trainval").image_ids == ["a", "b"]
    assert load_dataset(done.data_yaml, "train").image_ids == ["a"]


@pytest.mark.parametrize("target", TARGETS)
def test_webp_and_jpeg_xl_are_converted_as_they_are(coco, picture, target, tmp_path):
    contents = {"a.webp": picture(kind="WEBP"), "b.jxl": SAMPLES["rgb"]}
    for name, content in contents.items():
        coco.add_image(name, (64, 48), content=content)
        coco.add_box(name, BOX)
    coco.write()
    convert(coco.root / "data.yaml", tmp_path / "out", target=target)
    dataset = load_dataset(tmp_path / "out" / "data.yaml", "train")
    assert [read_image_bytes(path) for path in dataset.image_paths] == list(contents.values())
    np.testing.assert_allclose(dataset.boxes, [BOX, BOX], atol=1e-4)
    assert all(image_name(p).endswith(("a.webp", "b.jxl")) for p in dataset.image_paths)
