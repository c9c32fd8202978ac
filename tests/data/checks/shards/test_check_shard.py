"""Shares of a check: their report is that of one process, and no file is read twice."""

import json
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
import yaml

from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.checks.shards import check_shard as module
from keras_retinanet.data.checks.shards import image_lists
from keras_retinanet.data.checks.shards.check_shard import check_shard, merge_check
from keras_retinanet.data.checks.shards.files_of_parts import FilesOfParts, _ImageTable
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.errors import ConfigError, DataError, UserError
from keras_retinanet.system.shards.part_file import part_path
from keras_retinanet.system.shards.shard import Shard

COUNT = 3
BOX = (4, 4, 44, 40)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(image_lists, "BATCH_SIZE", 2)


@pytest.fixture
def faulty(voc, picture):
    """Two splits of images, sound ones and others: of each kind that reading a file tells."""
    for i in range(14):
        voc.add_image(f"{i}.jpg", size=(60 + i, 48))
        voc.add_box(f"{i}.jpg", BOX)
    voc.add_image("cut.jpg", content=picture(80, 60)[:-300])
    voc.add_image("empty.jpg", content=b"")
    voc.add_image("small.jpg", size=(6, 6))
    voc.add_image("gone.jpg", content=False)
    voc.add_image("gray.jpg", content=picture(70, 50, mode="L"))
    voc.add_image("copy.jpg", content=(voc.image_folder / "3.jpg").read_bytes())
    (voc.image_folder / "unused.jpg").write_bytes(picture())
    for name in ("cut.jpg", "empty.jpg", "gray.jpg"):
        voc.add_box(name, BOX)
    voc.add_box("2.jpg", BOX)
    voc.add_box("5.jpg", (4, 4, 400, 40), ignored=True)
    voc.settings = {"classes": ["cat"], "splits": {"train": "train", "val": "val"}}
    voc.write()
    names = [path.stem for path in sorted(voc.annotation_folder.glob("*.xml"))]
    voc.write_image_set("train", names[:12])
    voc.write_image_set("val", [*names[12:], names[0]])
    return voc.root / "data.yaml"


def run_all(data, folder, splits=(), count=COUNT, **options):
    return [check_shard(data, splits, Shard(i, count), folder, **options)[1] for i in range(count)]


def text(report):
    return json.dumps(report.as_json(), indent=1)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("splits", [(), ("val",)])
def test_parts_make_the_report_of_one_process(faulty, tmp_path, decode, splits):
    whole = check_dataset(faulty, splits, decode=decode)
    assert len({f.problem for f in whole.findings}) > (5 if splits else 9)
    counts = run_all(faulty, tmp_path / "parts", splits, decode=decode)
    assert min(counts) > 0
    assert text(merge_check([tmp_path / "parts"], faulty)) == text(whole)


def test_a_share_reads_its_own_files_alone_and_a_merge_none(faulty, tmp_path, monkeypatch):
    read = Counter()
    for name in ("inspect_images", "scan_images"):
        real = getattr(module, name)

        def counted(paths, real=real, name=name, **options):
            read.update((name, path) for path in paths)
            return real(paths, **options)

        monkeypatch.setattr(module, name, counted)
    run_all(faulty, tmp_path / "parts")
    # One image is in both splits, and read for each.
    assert sorted(read.values())[:-2] == [1] * (len(read) - 2)
    images = {path for name, path in read if name == "inspect_images"}
    assert len(images) == 20
    before = len(read)
    for name in ("open_image", "read_image_bytes"):
        for place in ("inspection", "scan"):
            monkeypatch.setattr(f"keras_retinanet.data.images.{place}.{name}", None, raising=False)
    merge_check([tmp_path / "parts"], faulty)
    assert len(read) == before


def test_an_interrupted_share_is_gone_on_with(faulty, tmp_path, monkeypatch):
    whole = run_all(faulty, tmp_path / "whole")
    calls = []

    def breaks(paths, real=module.inspect_images, **options):
        calls.append(list(paths))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(paths, **options)

    monkeypatch.setattr(module, "inspect_images", breaks)
    with pytest.raises(KeyboardInterrupt):
        check_shard(faulty, (), Shard(1, COUNT), tmp_path / "parts")
    with pytest.raises(DataError, match="is not finished: run its shard again"):
        merge_check([tmp_path / "parts"], faulty)
    path, num_images = check_shard(faulty, (), Shard(1, COUNT), tmp_path / "parts")
    assert calls[3] == calls[2] and calls[0] not in calls[1:]
    assert num_images == whole[1] - 4
    assert path.read_bytes() == part_path(tmp_path / "whole", 1, COUNT).read_bytes()
    assert check_shard(faulty, (), Shard(1, COUNT), tmp_path / "parts") == (path, 0)


def test_the_data_set_may_lie_elsewhere_when_parts_are_merged(faulty, tmp_path):
    run_all(faulty, tmp_path / "parts")
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    shutil.move(tmp_path, moved)
    report = merge_check([moved / "parts"], moved / "data.yaml")
    assert text(report) == text(check_dataset(moved / "data.yaml"))


def test_other_data_are_refused(faulty, voc, tmp_path):
    run_all(faulty, tmp_path / "parts")
    with pytest.raises(DataError, match="are missing: 1/3"):
        part_path(tmp_path / "parts", 1, COUNT).rename(tmp_path / "away.jsonl")
        merge_check([tmp_path / "parts"], faulty)
    (tmp_path / "away.jsonl").rename(part_path(tmp_path / "parts", 1, COUNT))
    with pytest.raises(DataError, match=r"part of another check \(decode differs"):
        check_shard(faulty, (), Shard(1, COUNT), tmp_path / "parts", decode=True)
    voc.write_image_set("train", ["0", "1"])
    with pytest.raises(UserError, match="of other data: they do not tell of 2 images"):
        merge_check([tmp_path / "parts"], faulty)
    with pytest.raises(DataError, match=r"part of another check \(images differs"):
        check_shard(faulty, (), Shard(1, COUNT), tmp_path / "parts")


def test_parts_that_lack_images_are_refused(faulty, tmp_path):
    run_all(faulty, tmp_path / "parts")
    path = part_path(tmp_path / "parts", 2, COUNT)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match=r"lack [12] of 21 images: make them again"):
        merge_check([tmp_path / "parts"], faulty)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(DataError, match="is damaged: make this part again"):
        merge_check([tmp_path / "parts"], faulty)


def test_splits_by_looks_are_refused_with_the_mend(coco, tmp_path):
    for i in range(4):
        coco.add_image(f"{i}.jpg", size=(60 + i, 48))
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()
    values = yaml.safe_load((coco.root / "data.yaml").read_text())
    coco.write_yaml({**values, "val_share": 0.25})
    with pytest.raises(ConfigError, match="write the splits first: retinanet data split"):
        check_shard(coco.root / "data.yaml", (), Shard(0, 2), tmp_path / "parts")


def test_annotations_that_cannot_be_read_are_told_when_parts_are_merged(faulty, voc, tmp_path):
    (voc.root / "ImageSets" / "Main" / "val.txt").unlink()
    whole = check_dataset(faulty)
    run_all(faulty, tmp_path / "parts")
    assert text(merge_check([tmp_path / "parts"], faulty)) == text(whole)
    assert whole.exit_status == 2


def test_a_mix(faulty, coco, tmp_path):
    for i in range(5):
        coco.add_image(f"{i}.jpg", size=(50 + i, 48))
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()  # in place of faulty's YAML
    other = tmp_path / "other.yaml"
    (tmp_path / "data.yaml").rename(other)
    voc = tmp_path / "voc.yaml"
    splits = {"train": "train", "val": "val"}
    voc.write_text(yaml.safe_dump({"format": "voc", "root": ".", "splits": splits}))
    sources = [{"data": "voc.yaml", "splits": {"train": "val"}}, {"data": "other.yaml"}]
    mix = tmp_path / "mix.yaml"
    mix.write_text(yaml.safe_dump({"format": "mix", "sources": sources}))
    whole = check_dataset(mix, decode=True)
    assert whole.num_images == 10 and whole.exit_status == 2
    run_all(mix, tmp_path / "parts", decode=True)
    assert text(merge_check([tmp_path / "parts"], mix)) == text(whole)


def test_files_of_a_conversion_are_read_by_shares(coco, tmp_path, monkeypatch):
    for i in range(8):
        coco.add_image(f"{i}.jpg", size=(60 + i, 48))
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()
    out = tmp_path / "records"
    done = convert(coco.root / "data.yaml", out, target="tfrecord", num_shards=4)
    (out / "label_map.pbtxt").write_bytes((out / "label_map.pbtxt").read_bytes() + b"\n")
    record = out / "train-00002-of-00004.tfrecord"
    record.write_bytes(record.read_bytes()[:-1] + b"x")
    (out / "foreign.tfrecord").touch()
    whole = check_dataset(done.data_yaml)
    assert sum("changed since" in f.problem for f in whole.findings) == 1
    assert sum("another size" in f.problem for f in whole.findings) == 1
    read = Counter()

    def counted(path, told, real=module.fault_of_file):
        read[path.name] += 1
        return real(path, told)

    monkeypatch.setattr(module, "fault_of_file", counted)
    run_all(done.data_yaml, tmp_path / "parts")
    assert len(read) == 5 and set(read.values()) == {1}
    monkeypatch.setattr("keras_retinanet.data.checks.conversion_check.sha256", None)
    assert text(merge_check([tmp_path / "parts"], done.data_yaml)) == text(whole)


def test_an_image_without_content_in_the_parts_is_not_taken_for_another():
    table = _ImageTable(2)
    table.put(0, {"size": [1, 1], "digest": "ab", "remarks": ["of another"]})
    table.put(1, {"size": [1, 1]})
    table.refuse_missing()
    assert table.scanned(0).remarks == ("of another",)
    with pytest.raises(DataError, match="images have changed since the parts were made"):
        table.scanned(1)


def test_an_image_that_no_list_names_is_an_error():
    files = FilesOfParts(SimpleNamespace(files=[]), SimpleNamespace(num_images=0))
    scans = files.scans(["new.jpg"], with_looks=False, on_image=lambda: None)
    with pytest.raises(DataError, match=r"do not tell of new\.jpg.*make them again"):
        next(scans)
