"""Shares of a prediction: together they are the prediction of one process, to the last byte."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.detection.predict import predict
from keras_retinanet.detection.predict_shard import merge_predictions, predict_shard
from keras_retinanet.detection.prediction_files import FORMATS
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.system.shards.part_file import part_path
from keras_retinanet.system.shards.shard import Shard

pytestmark = pytest.mark.usefixtures("small_resnet18")

COUNT, BATCH = 3, 2
OPTIONS = {"min_score": 0.05, "crops": True, "batch_size": BATCH}


@pytest.fixture(scope="module")
def detector(make_tiny):
    """Images of several sizes have canvases of several sizes."""
    return KerasDetector(
        make_tiny(
            channels=8,
            prior=0.3,
            input_policy=InputPolicy(size=64, max_size=96),
            inference=InferenceSettings(max_detections=4),
        )
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eleven images of three canvases, one that is damaged, and a file that is none."""
    folder = tmp_path_factory.mktemp("in")
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate([(80, 60), (60, 80), (70, 70), (90, 60)] * 3):
        path = folder / f"{i % 2}" / f"{i:02d} ü.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])
    (folder / "notes.txt").write_text("no image")
    return folder


def one_part(detector, images, shard, folder, *, model_id="sha256 of a model", **changes):
    options = {**OPTIONS, **changes}
    return predict_shard(
        detector, images, folder, Shard(shard, COUNT), model_id=model_id, **options
    )


@pytest.fixture
def parts(detector, images, tmp_path):
    for shard in range(COUNT):
        one_part(detector, images, shard, tmp_path / "parts")
    return tmp_path / "parts"


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("part-")
    }


@pytest.fixture(scope="module")
def whole(detector, images, tmp_path_factory):
    """The folder that one process writes."""
    folder = tmp_path_factory.mktemp("whole")
    summary = predict(detector, images, folder, formats=FORMATS, **OPTIONS)
    assert (summary.num_images, len(summary.findings)) == (11, 2)
    assert summary.num_detections == 44
    return contents(folder)


def test_merged_parts_are_the_folder_of_one_process(parts, whole):
    summary = merge_predictions([parts], parts, formats=FORMATS)
    assert (summary.num_images, summary.num_detections, len(summary.findings)) == (11, 44, 2)
    assert contents(parts) == whole
    # Once more into the same folder changes nothing.
    merge_predictions([parts], parts, formats=FORMATS)
    assert contents(parts) == whole


def test_parts_of_several_folders_in_any_order(detector, images, whole, tmp_path):
    folders = [tmp_path / str(shard) for shard in range(COUNT)]
    for shard, folder in enumerate(folders):
        one_part(detector, images, shard, folder)
    merge_predictions(folders[::-1], tmp_path / "merged")
    merged = contents(tmp_path / "merged")
    assert merged.pop("predictions.json") == whole["predictions.json"]
    assert merged.keys() == {".retinanet-predictions"}
    pictures = [name for folder in folders for name in contents(folder) if "/" in name]
    assert sorted(pictures) == sorted(n for n in whole if n.startswith(("images/", "crops/")))


def test_a_finished_part_is_not_made_again(detector, images, parts):
    path = part_path(parts, 1, COUNT)
    before = path.stat().st_mtime_ns
    done = one_part(detector, images, 1, parts)
    assert (done.part, done.num_images) == (path, 0)
    assert path.stat().st_mtime_ns == before


class Killed(Exception):
    pass


class Dying(KerasDetector):
    """Dies before its second batch."""

    calls = 0

    def __call__(self, images, sizes):
        self.calls += 1
        if self.calls == 2:
            raise Killed
        return super().__call__(images, sizes)


def test_a_killed_part_goes_on_with_what_it_lacks(detector, images, parts, whole):
    path = part_path(parts, 0, COUNT)
    path.unlink()
    with pytest.raises(Killed):
        one_part(Dying(detector.model), images, 0, parts)
    (unfinished,) = parts.glob("*.unfinished")
    num_lines = unfinished.read_bytes().count(b"\n")
    with pytest.raises(DataError, match=r"part-0-of-3.*is not finished: run its shard again"):
        merge_predictions([parts], parts)
    with unfinished.open("ab") as file:
        file.write(b'{"batch": 3, "ro')  # cut short by the kill
    done = one_part(detector, images, 0, parts)
    rows = [json.loads(line) for line in path.read_text().splitlines()[num_lines:]]
    assert num_lines == 2 and done.num_images == sum(len(row["rows"]) for row in rows) > 0
    merge_predictions([parts], parts, formats=FORMATS)
    assert contents(parts) == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_id": "other"}, "model"),
        ({"batch_size": BATCH + 1}, "batch size"),
        ({"min_score": 0.2}, "min score"),
        ({"keep_all": True}, "keep all"),
        ({"crops": False}, "crops"),
    ],
)
def test_a_part_of_another_prediction_is_not_overwritten(detector, images, parts, changes, message):
    before = part_path(parts, 0, COUNT).read_bytes()
    with pytest.raises(DataError, match=rf"a part of another prediction \(.*{message}.*differs\)"):
        one_part(detector, images, 0, parts, **changes)
    assert part_path(parts, 0, COUNT).read_bytes() == before


def test_parts_of_other_images_are_refused(detector, images, parts):
    part_path(parts, 2, COUNT).unlink()
    one_part(detector, images / "0", 2, parts)
    with pytest.raises(DataError, match="are of two predictions: images, num batches"):
        merge_predictions([parts], parts)


def test_missing_doubled_and_damaged_parts_are_refused(parts, tmp_path):
    first = part_path(parts, 0, COUNT)
    with pytest.raises(DataError, match="2 of 3 parts are missing: 1/3, 2/3"):
        merge_predictions([first], tmp_path / "merged")
    copy = tmp_path / "part-copy.jsonl"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="are the same part"):
        merge_predictions([parts, copy], tmp_path / "merged")
    first.write_text(first.read_text().splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"the parts hold \d of 11 images: make them again"):
        merge_predictions([parts], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_of_something_else_is_refused(detector, images, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds images, which predict has not written"):
        one_part(detector, images, 0, tmp_path / "data")
    predict(detector, images / "0", tmp_path / "earlier", **OPTIONS)
    with pytest.raises(ConfigError, match="holds predictions of an earlier call"):
        one_part(detector, images, 0, tmp_path / "earlier")


@pytest.mark.parametrize("name", ["film.mp4", "camera:0"])
def test_videos_are_not_shared_out(detector, images, tmp_path, name):
    if name != "camera:0":
        name = tmp_path / name
        name.write_bytes(b"film")
    with pytest.raises(ConfigError, match="--shard shares out images alone"):
        one_part(detector, [images, name], 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def model_file(detector, tmp_path):
    detector.model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_command(call, capsys, model_file, images, tmp_path):
    parts, predictions = tmp_path / "parts", "predictions.json"
    arguments = ("predict", model_file, images, "--min-score", 0.05, "--batch-size", BATCH)
    for shard in ("0/2", "1/2"):
        assert call(*arguments, "--output", parts, "--shard", shard, "--json") == 0
    told = json.loads(capsys.readouterr().out.split("\n}\n")[-2] + "}")
    assert told["part"] == str(parts / "part-1-of-2.jsonl") and len(told["passed_over"]) == 2
    assert call("merge", parts, "--output", parts, "--format", "json", "--format", "csv") == 0
    out, err = capsys.readouterr()
    assert out.startswith("11 images, 44 detections: ") and "predictions.csv" in out
    assert "file passed over" in err
    assert call(*arguments, "--output", tmp_path / "whole") == 0
    assert (parts / predictions).read_bytes() == (tmp_path / "whole" / predictions).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "2/2"), "a shard is its number from 0 on"),
        (("--shard", "0/2", "--format", "csv"), "give --format to `retinanet merge`"),
        (("--shard", "0/2", "--overwrite"), "--shard goes on with what is there"),
        (("--shard", "0/2", "--every", "2"), "--shard takes images alone"),
    ],
)
def test_options_that_do_not_fit(call, capsys, model_file, images, tmp_path, options, message):
    assert call("predict", model_file, images, "--output", tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "parts of a prediction need --output"),
        (("--data", "data.yaml"), "--data is for an evaluation"),
        (("--output", "merged", "--format", "xml"), "--format xml"),
    ],
)
def test_merging_that_does_not_fit(call, capsys, parts, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert call("merge", parts, *options) == 2
    assert message in capsys.readouterr().err
