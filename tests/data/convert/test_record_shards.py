"""Shares of a conversion to TFRecords: together they are the folder of one process, byte for byte,
and the manifest tells what has become of it."""

import json
import threading

import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.checks.conversion_check import check_conversion
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.convert.output import Output, read_manifest
from keras_retinanet.data.convert.tfrecord_writer import RecordPlan
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.system.locks import file_lock
from keras_retinanet.system.shards.shard import Shard

NUM_FILES, COUNT = 5, 3
BOX = (8, 4, 40, 30)


@pytest.fixture
def data(coco, picture):
    """Twelve images, of which two cannot be decoded to their end."""
    for i in range(12):
        content = picture()[:-600] if i in (3, 7) else picture(60 + i, 50)
        coco.add_image(f"{i:02d}.jpg", content=content)
        coco.add_box(f"{i:02d}.jpg", BOX, ignored=i == 5)
        coco.add_box(f"{i:02d}.jpg", BOX)
    coco.write()
    return coco.root / "data.yaml"


def run(data, output, shard=None, **options):
    options = {"target": "tfrecord", "num_shards": NUM_FILES, **options}
    return convert(data, output, shard=shard, **options)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture
def whole(data, tmp_path):
    """The folder that one process writes."""
    done = run(data, tmp_path / "whole")
    assert (done.num_images, done.num_boxes, done.missing) == (10, 20, [])
    return contents(tmp_path / "whole")


def test_all_shares_are_the_folder_of_one_process(data, whole, tmp_path):
    out = tmp_path / "out"
    first, second = (run(data, out, Shard(i, COUNT)) for i in (2, 0))
    assert [len(list(out.glob("*.tfrecord"))), (out / "data.yaml").exists()] == [3, False]
    assert first.missing == [Shard(0, COUNT), Shard(1, COUNT)]
    assert second.missing == [Shard(1, COUNT)]
    last = run(data, out, Shard(1, COUNT))
    assert (last.num_images, last.num_boxes, last.missing) == (10, 20, [])
    assert contents(out) == whole
    actions = [f.action for f in last.findings if f.action != "noted"]
    assert actions == 2 * ["image skipped", *2 * ["box dropped"]]


def test_each_process_decodes_its_share_alone(data, tmp_path, monkeypatch):
    decoded = []
    from keras_retinanet.data.convert import tfrecord_writer

    inspect = tfrecord_writer.inspect_image
    monkeypatch.setattr(
        tfrecord_writer, "inspect_image", lambda path: (decoded.append(path), inspect(path))[1]
    )
    done = run(data, tmp_path / "out", Shard(1, COUNT))
    assert len(decoded) == 5 and done.num_images == 4  # files 1 and 4, of 3 and 2 images
    done = run(data, tmp_path / "unchecked", Shard(1, COUNT), check_images=False)
    assert len(decoded) == done.num_images == 5


def test_more_shares_than_files_at_the_same_time(data, whole, tmp_path):
    out, count, errors = tmp_path / "out", 7, []

    def one(index):
        try:
            run(data, out, Shard(index, count))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert contents(out) == whole


class Killed(BaseException):
    pass


@pytest.mark.parametrize("shard", [None, Shard(0, 2)])
def test_a_killed_share_goes_on(data, whole, tmp_path, monkeypatch, shard):
    out, calls = tmp_path / "out", []
    write = RecordPlan.write

    def dying(self, number, output):
        if len(calls) == 2:
            raise Killed
        calls.append(number)
        return write(self, number, output)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("os.cpu_count", lambda: 1)
        patch.setattr(RecordPlan, "write", dying)
        run(data, out, shard)
    (unfinished,) = (out / "parts").iterdir()
    assert unfinished.read_bytes().count(b"\n") == 3
    with unfinished.open("ab") as file:
        file.write(b'{"batch": 4, "ro')  # cut short by the kill
    (out / ".unfinished-0123-1.tmp").write_bytes(b"as a killed process leaves it")
    seen = []
    done = run(data, out, shard, on_progress=lambda *counts: seen.append(counts))
    assert 0 < done.num_kept < done.num_images
    assert seen[-1][0] == seen[-1][1]
    if shard is not None:
        run(data, out, Shard(1, 2))
    assert contents(out) == whole


def test_a_finished_share_is_not_done_again(data, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(data, out, Shard(0, 2))
    with monkeypatch.context() as patch:
        patch.delattr(RecordPlan, "write")
        again = run(data, out, Shard(0, 2))
    assert again.num_kept == again.num_images > 0
    run(data, out, Shard(1, 2))
    monkeypatch.delattr(RecordPlan, "write")
    for shard in (Shard(0, 2), Shard(1, 2), None, Shard(3, 4)):
        assert run(data, out, shard).missing == []
    assert contents(out) == whole


@pytest.mark.parametrize("is_complete", [False, True])
def test_a_file_that_was_lost_is_written_anew(data, whole, tmp_path, is_complete):
    out = tmp_path / "out"
    for index in range(2 if is_complete else 1):
        run(data, out, Shard(index, 2))
    (out / "train-00002-of-00005.tfrecord").unlink()
    done = run(data, out, Shard(1, 2))
    assert done.missing == [Shard(0, 2)]
    run(data, out, Shard(0, 2))
    assert contents(out) == whole


def test_a_share_that_another_process_writes_is_left_to_it(data, tmp_path):
    out = tmp_path / "out"
    run(data, out, Shard(0, 2))
    held, done = threading.Event(), threading.Event()

    def hold():
        with file_lock(out / "parts" / "part-1-of-2.jsonl.unfinished"):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with pytest.raises(DataError, match="is being written by another process"):
            run(data, out, Shard(1, 2))
    finally:
        done.set()
        thread.join()


def test_shares_of_other_divisions_data_and_options_are_refused(data, coco, tmp_path):
    out = tmp_path / "out"
    run(data, out, Shard(0, 2))
    with pytest.raises(DataError, match=r"is one of 2 shares, and this is one of 3: go on with"):
        run(data, out, Shard(1, 3))
    for changes in ({"num_shards": 4}, {"check_images": False}):
        with pytest.raises(DataError, match="of other data, or with other options"):
            run(data, out, Shard(1, 2), **changes)
    coco.add_box("00.jpg", BOX)
    coco.write()
    with pytest.raises(DataError, match="of other data, or with other options"):
        run(data, out, Shard(1, 2))
    with pytest.raises(ConfigError, match="only tfrecord has shards, not voc"):
        convert(data, tmp_path / "voc", target="voc", shard=Shard(0, 2))


def test_a_file_without_a_usable_image_is_empty_and_read(coco, picture, tmp_path):
    for i in range(4):
        coco.add_image(f"{i}.jpg", content=picture()[:-600] if i == 1 else picture())
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()
    done = run(coco.root / "data.yaml", tmp_path / "out", num_shards=4)
    assert (tmp_path / "out" / "train-00001-of-00004.tfrecord").read_bytes() == b""
    dataset = load_dataset(done.data_yaml, "train")
    assert [len(dataset), dataset.num_boxes, dataset.findings] == [3, 3, []]
    assert check_dataset(done.data_yaml).as_json()["counts"]["error"] == 0


def test_a_split_that_loses_its_labels_is_refused(coco, picture, tmp_path):
    for i in range(4):
        coco.add_image(f"{i}.jpg", content=picture()[:-600] if i else picture())
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()
    with pytest.raises(DataError, match="train: 3 of 4 annotations are dropped: 3 x box of an im"):
        run(coco.root / "data.yaml", tmp_path / "out")
    assert not (tmp_path / "out" / "data.yaml").exists()


def test_the_manifest_counts(data, whole, tmp_path):
    files = read_manifest(tmp_path / "whole")["files"]
    assert files.keys() == {*(n for n in whole if n.endswith(".tfrecord")), "label_map.pbtxt"}
    counts = np.array(
        [[f["images"], f["boxes"], f["objects"]] for f in files.values() if "boxes" in f]
    )
    assert counts.sum(0).tolist() == [10, 20, 19]
    dataset = load_dataset(tmp_path / "whole" / "data.yaml", "train")
    assert [len(dataset), dataset.num_boxes] == [10, 20]


def test_check_finds_nothing_wrong_with_what_was_written(whole, tmp_path):
    seen = []
    assert check_conversion(tmp_path / "whole", lambda *counts: seen.append(counts)) == []
    assert seen[-1] == (6, 6)
    assert check_dataset(tmp_path / "whole").as_json()["counts"]["error"] == 0


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm", "problem"),
    [
        ("label_map.pbtxt", flip_a_bit, "file that was changed since its conversion (SHA-256)"),
        ("train-00001-of-00005.tfrecord", flip_a_bit, "file that was changed since"),
        ("train-00001-of-00005.tfrecord", lambda p: p.unlink(), "that is missing"),
        ("train-00001-of-00005.tfrecord", lambda p: p.write_bytes(b""), "of another size"),
        ("extra.tfrecord", lambda p: p.write_bytes(b""), "has not written"),
    ],
)
def test_check_names_what_is_wrong(call, capsys, whole, tmp_path, name, harm, problem):
    path = tmp_path / "whole" / name
    harm(path)
    assert call("data", "check", "--data", tmp_path / "whole" / "data.yaml", "--json") == 2
    found = json.loads(capsys.readouterr().out)["findings"]
    (line,) = [f for f in found if problem in f["problem"]]
    assert (line["severity"], line["file"]) == ("error", str(path) if not path.exists() else name)


def test_a_conversion_without_records_has_no_manifest_of_files(data, tmp_path):
    convert(data, tmp_path / "coco", target="coco")
    assert check_conversion(tmp_path / "coco", lambda done, total: None) == []


def test_the_command(call, capsys, data, whole, tmp_path):
    arguments = ("data", "convert", "--data", data, "--to", "tfrecord", "--shards", NUM_FILES)
    arguments += ("--output", tmp_path / "out", "--shard")
    assert call(*arguments, "1/3") == 0
    out = capsys.readouterr().out
    assert out == "shard 1/3: 4 images, 8 boxes; 2 shards of 3 not done: 0/3, 2/3\n"
    assert call(*arguments, "0/3") == 0
    assert call(*arguments, "2/3", "--json") == 0
    told = json.loads(capsys.readouterr().out.split("not done: 2/3\n")[1])
    assert (told["images"], told["missing_shards"]) == (10, [])
    assert contents(tmp_path / "out") == whole
    assert call(*arguments, "3/3") == 2


def test_an_output_that_cannot_be_made(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="exists and is not empty"):
        Output(tmp_path / "file", "fingerprint", is_shared=True)
    with pytest.raises(DataError, match="cannot write"):
        Output(tmp_path / "file" / "below", "fingerprint")
