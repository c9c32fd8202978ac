"""The settings of each format: one interface, with what only some formats have as a default."""

from pathlib import Path
from typing import get_args

import pytest

from keras_retinanet.data.formats.data_yaml import SOURCES, CocoSource, DataSource, YoloSource

YOLO_YAML = "train: images/train\nvalidation: images/val\nnames: [cat]\n"


def test_every_source_goes_by_its_format():
    for name, source in SOURCES.items():
        assert name in get_args(source.model_fields["format"].annotation)


def test_a_source_has_to_read():
    class Nothing(DataSource):
        pass

    with pytest.raises(TypeError, match="read"):
        Nothing(format="nothing", splits={})


def test_a_source_that_names_its_splits_is_complete():
    split = {"images": "images", "annotations": "train.json"}
    source = CocoSource(format="coco", splits={"train": split})
    assert source.completed(Path("data.yaml"), Path) is source


@pytest.mark.parametrize("settings", [{}, {"data_yaml": "data.yaml"}, {"root": "."}])
def test_yolo_takes_its_splits_from_the_data(tmp_path, settings):
    (tmp_path / "data.yaml").write_text(YOLO_YAML)
    source = YoloSource(format="yolo", **settings)
    completed = source.completed(tmp_path / "data.yaml", lambda text: tmp_path / text)
    assert completed.splits == {"train": "train", "val": "val"}
    assert source.splits == {}
    with pytest.raises(RuntimeError, match="completed"):
        YoloSource(format="yolo").read("train", Path)
