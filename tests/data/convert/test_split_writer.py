"""`retinanet data split`, and `val_share` in a data YAML, which gives the same parts."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.convert.split_writer import write_split
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError


def scene(seed):
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(patches).resize((64, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def data(folder):
    """20 scenes, of which scene 3 is there three times; "dog" is in two. In every format."""
    for i in range(22):
        name = f"{i:02d}.png"
        path = folder.add_image(name)
        scene(3 if i in (20, 21) else i).save(path)
        folder.add_box(name, (5, 4, 40.5, 30 + i / 3))
        if i in (7, 11):
            folder.add_box(name, (1, 2, 30, 20), "dog")
    folder.write()
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def objects(dataset):
    """What the data set holds: (image, class, box, area, ignored), however it is stored."""
    found = Counter()
    for i, path in enumerate(dataset.image_paths):
        for t in range(*dataset.row_splits[i : i + 2]):
            name = dataset.class_names[dataset.labels[t]]
            box = tuple(dataset.boxes[t].tolist())
            key = (path.rpartition("/")[2], name, box, float(dataset.areas[t]))
            found[(*key, bool(dataset.is_ignored[t]))] += 1
    return found


def test_every_object_is_in_one_split_and_nothing_is_changed(data, tmp_path):
    path = data.root / "data.yaml"
    before = contents(data.root)
    whole = load_dataset(path, "train")
    done = write_split(path, tmp_path / "out" / "new", shares={"val": 0.2, "test": 0.1})
    assert {p: c for p, c in contents(data.root).items() if p in before} == before
    assert done.num_groups == 20 and done.data_yaml == tmp_path / "out" / "new" / "data.yaml"
    assert split_names(done.data_yaml) == ["train", "val", "test"]
    parts = {name: load_dataset(done.data_yaml, name) for name in ("train", "val", "test")}
    assert sum((objects(part) for part in parts.values()), Counter()) == objects(whole)
    assert {part.class_names for part in parts.values()} == {whole.class_names}
    assert {part.category_ids for part in parts.values()} == {whole.category_ids}
    images = [name.rpartition("/")[2] for part in parts.values() for name in part.image_paths]
    assert sorted(images) == [f"{i:02d}.png" for i in range(22)]
    for part in parts.values():
        # The originals, not copies of them.
        assert all(data.image_folder.samefile(Path(name).parent) for name in part.image_paths)
        copies = [
            name for name in part.image_paths if name.endswith(("03.png", "20.png", "21.png"))
        ]
        assert len(copies) in (0, 3)
    dogs = [sum(n for k, n in objects(part).items() if k[1] == "dog") for part in parts.values()]
    assert dogs == [1, 1, 0]


def test_the_check_finds_no_copies_in_two_splits(data, tmp_path):
    done = write_split(data.root / "data.yaml", tmp_path / "out", shares={"val": 0.3})
    report = check_dataset(done.data_yaml, decode=True)
    found = {f.problem for f in report.findings}
    assert not any("two splits" in problem or "looks like" in problem for problem in found), found
    assert report.statistics["val"]["images"] >= 4


def test_the_same_seed_gives_the_same_split_and_val_share_is_it(data, tmp_path):
    path = data.root / "data.yaml"
    made = {}
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        done = write_split(path, tmp_path / name, shares={"val": 0.2}, seed=seed)
        made[name] = {s: objects(d) for s, d in done.datasets.items()}
    assert made["a"] == made["b"] != made["c"]
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**values, "val_share": 0.2, "val_seed": 5}))
    assert split_names(path) == ["train", "val"]
    for split in ("train", "val"):
        assert objects(load_dataset(path, split)) == made["a"][split]


def test_other_splits_stay_as_they_are(coco, tmp_path):
    for i in range(6):
        scene(i).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30), ignored=i == 5)
    coco.write()
    values = yaml.safe_load((coco.root / "data.yaml").read_text())
    values["splits"]["test"] = values["splits"]["train"]
    path = coco.root / "data.yaml"
    path.write_text(yaml.safe_dump(values))
    done = write_split(path, tmp_path / "out", shares={"val": 0.2})
    assert list(done.datasets) == ["train", "val", "test"]  # whatever is divided
    again = write_split(path, tmp_path / "b", shares={"val": 0.2, "more": 0.2})
    assert list(again.datasets) == ["train", "val", "test", "more"]
    assert objects(load_dataset(done.data_yaml, "test")) == objects(load_dataset(path, "test"))


def test_images_in_records_are_divided_where_they_are(coco, tmp_path):
    for i in range(8):
        scene(i).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30))
    coco.write()
    convert(coco.root / "data.yaml", tmp_path / "records", target="tfrecord")
    done = write_split(tmp_path / "records", tmp_path / "out", shares={"val": 0.25})
    parts = [load_dataset(done.data_yaml, name) for name in ("train", "val")]
    assert [len(part) for part in parts] == [6, 2]
    assert sum(map(objects, parts), Counter()) == objects(
        load_dataset(tmp_path / "records", "train")
    )
    assert ".tfrecord" in parts[0].image_paths[0]
    assert parts[0].read_image(0).shape == (48, 64, 3)


def test_what_is_left_out_is_told(coco, tmp_path):
    for i in range(6):
        scene(i).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30))
    coco.add_box("0.png", (70, 4, 90, 30))
    coco.write()
    done = write_split(coco.root / "data.yaml", tmp_path / "out", shares={"val": 0.2})
    assert [f.problem for f in done.findings] == ["box outside the image"]
    written = json.loads((tmp_path / "out" / "data_findings.json").read_text())
    assert written["counts"] == {"box outside the image": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": {"val": 0.6, "test": 0.4}}, "not val 0.6, test 0.4"),
        ({"shares": {}}, "not none"),
        ({"shares": {"val": 0.2}, "divided": "trian"}, "no split 'trian' to divide: did you mean"),
    ],
)
def test_mistakes(coco, tmp_path, options, message):
    scene(0).save(coco.add_image("a.png"))
    coco.add_box("a.png", (5, 4, 40, 30))
    coco.write()
    with pytest.raises(ConfigError, match=message):
        write_split(coco.root / "data.yaml", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_and_a_val_that_is_there_are_refused(coco, tmp_path):
    scene(0).save(coco.add_image("a.png"))
    coco.add_box("a.png", (5, 4, 40, 30))
    coco.write()
    with pytest.raises(ConfigError, match="exists and is not empty: name a new folder"):
        write_split(coco.root / "data.yaml", coco.root, shares={"val": 0.2})
    values = yaml.safe_load((coco.root / "data.yaml").read_text())
    values["splits"]["val"] = values["splits"]["train"]
    (coco.root / "data.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="has a split 'val' beside 'train'"):
        write_split(coco.root / "data.yaml", tmp_path / "out", shares={"val": 0.2})
    (coco.root / "data.yaml").write_text(yaml.safe_dump({**values, "val_share": 0.2}))
    with pytest.raises(ConfigError, match="val_share takes 'val' from 'train', but the splits are"):
        split_names(coco.root / "data.yaml")


def test_a_split_without_objects_is_not_divided(coco, tmp_path):
    coco.add_image("a.png")
    coco.write()
    with pytest.raises(DataError, match="none of 1 images has an object"):
        write_split(coco.root / "data.yaml", tmp_path / "out", shares={"val": 0.2})


def test_ultralytics_yaml_may_say_val_share(tmp_path):
    for name in ("images/train", "labels/train"):
        (tmp_path / name).mkdir(parents=True)
    for i in range(10):
        scene(i).save(tmp_path / "images" / "train" / f"{i}.png")
        (tmp_path / "labels" / "train" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    path = tmp_path / "data.yaml"
    path.write_text("train: images/train\nnames: [cat]\nval_share: 0.3\n")
    sizes = {name: len(load_dataset(tmp_path, name)) for name in split_names(tmp_path)}
    assert sizes == {"train": 7, "val": 3}


def write_yolo(root, count):
    for name in ("images/train", "labels/train"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        scene(i).save(root / "images" / "train" / f"{i}.png")
        (root / "labels" / "train" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    path = root / "data.yaml"
    path.write_text("train: images/train\nval: ../valid/images\ntest: ../no\nnames: [cat]\n")
    return path


def test_a_val_that_is_named_but_not_there_is_made(tmp_path):
    path = write_yolo(tmp_path / "set", 8)
    with pytest.raises(DataError, match=r"there is no \.\./valid/images: .* retinanet data split"):
        load_dataset(path, "val")
    (error,) = [f for f in check_dataset(path, ["val"]).findings if f.action == "stops training"]
    assert error.where.endswith("data-split --val 0.2")
    done = write_split(path, tmp_path / "out", shares={"val": 0.25})
    assert [f.problem for f in done.findings] == ["split that is named, but not there"] * 2
    assert {name: len(load_dataset(done.data_yaml, name)) for name in ("train", "val")} == {
        "train": 6,
        "val": 2,
    }


def test_shares_that_cannot_be_had_are_told(call, coco, tmp_path, capsys):
    for i in range(12):
        scene(0 if i < 6 else i).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30), "dog" if i < 6 else "cat")
    coco.write()
    out = tmp_path / "out"
    assert call("data", "split", coco.root / "data.yaml", out, "--val", 0.7) == 0
    told = capsys.readouterr()
    assert "7 groups" in told.out
    assert re.search(r"note: val has \d+% of the images, not 70%: images that look", told.err)


def test_the_command(call, coco, tmp_path, capsys):
    for i in range(10):
        scene(i).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30))
    coco.write()
    out = tmp_path / "out"
    path = coco.root / "data.yaml"
    assert call("data", "split", path, out, "--val", 0.2, "--test", 0.1, "--seed", 3) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train: 7 images, 7 objects of 2 classes",
        "val: 2 images, 2 objects of 2 classes",
        "test: 1 image, 1 object of 2 classes",
        f"10 groups of images that stay together: {out / 'data.yaml'}",
    ]
    assert call("data", "split", path, out, "--groups", "bytes") == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert call("data", "split", path, tmp_path / "two", "--groups", "bytes") == 0


def test_the_check_of_val_share_counts_each_image_once(coco, capsys):
    for i in range(12):
        scene(i % 10).save(coco.add_image(f"{i}.png"))
        coco.add_box(f"{i}.png", (5, 4, 40, 30))
    coco.add_box("3.png", (70, 4, 90, 30))
    coco.write()
    path = coco.root / "data.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "val_share": 0.25}))
    report = check_dataset(path, decode=True)
    sizes = {name: figures["images"] for name, figures in report.statistics.items()}
    assert sum(sizes.values()) == 12 and sizes["val"] == 3
    counts = Counter(f.problem for f in report.findings)
    assert counts["box outside the image"] == 1
    assert not any("two splits" in p or "no split" in p or "looks like" in p for p in counts)
