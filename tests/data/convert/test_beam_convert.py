"""A conversion as a job of Beam: the folder of one process, byte for byte."""

import json

import pytest

pytest.importorskip("apache_beam")

from keras_retinanet.data.convert import beam_convert
from keras_retinanet.data.convert.beam_convert import ConversionSettings, convert_with_beam
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.errors import DataError
from keras_retinanet.system.beam_environment import make_runner, pipeline_options
from keras_retinanet.system.shards.shard import Shard

BOX = (8, 4, 40, 30)


@pytest.fixture
def data(coco, picture):
    for i in range(6):
        coco.add_image(f"{i}.jpg", content=picture()[:-600] if i == 4 else picture(60 + i, 50))
        coco.add_box(f"{i}.jpg", BOX)
    coco.write()
    return coco.root / "data.yaml"


def run(data, output, num_files=3, options=()):
    settings = ConversionSettings(str(data), output, num_files=num_files)
    return convert_with_beam(
        settings,
        runner=make_runner("DirectRunner"),
        options=pipeline_options("DirectRunner", options),
    )


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture
def whole(data, tmp_path):
    convert(data, tmp_path / "whole", target="tfrecord", num_shards=3)
    return contents(tmp_path / "whole")


def test_the_folder_of_one_process(data, whole, tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(
        beam_convert, "record_conversion", counted(beam_convert.record_conversion, reads)
    )
    done = run(data, tmp_path / "out")
    assert (done.num_images, done.num_boxes, done.num_kept) == (5, 5, 0)
    assert contents(tmp_path / "out") == whole
    assert len(reads) == 1  # the workers of this process share what the launcher has read


def counted(function, calls):
    def call(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    return call


def test_an_interrupted_job_goes_on(data, whole, tmp_path):
    convert(data, tmp_path / "out", target="tfrecord", num_shards=3, shard=Shard(1, 3))
    done = run(data, tmp_path / "out")
    assert done.num_kept == 2
    assert contents(tmp_path / "out") == whole
    assert run(data, tmp_path / "out").num_kept == 5


def test_workers_with_a_folder_of_their_own_are_noticed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(beam_convert._WriteFile, "process", lambda self, number: [])
    with pytest.raises(DataError, match=r"3 of 3 files are not in .*: is it one folder for all"):
        run(data, tmp_path / "out")


def test_the_command(call, capsys, data, whole, tmp_path):
    arguments = ("--data", data, "--output", tmp_path / "out", "--shards", 3, "--json")
    assert call("beam", "convert", *arguments) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["images"] == 5
    assert "truncated or damaged image file: image skipped" in err
    assert contents(tmp_path / "out") == whole
