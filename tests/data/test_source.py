import numpy as np
import pytest

from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError

BOX = (8, 4, 40, 30)


@pytest.mark.parametrize(
    "name", ["a b.jpg", "überraschung 雪.jpg", "100%_done%20.jpg", "scan 1.jpg"]
)
def test_any_file_name_works(folder, name):
    path = folder.add_image(name)
    folder.add_box(name, BOX)
    dataset = folder.load()
    assert dataset.image_paths == [str(path)]
    np.testing.assert_array_equal(dataset.boxes, [BOX])
    assert not folder.findings


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: whole[: len(whole) // 2], "truncated or damaged image file"),
        (lambda whole: whole[:-2], "truncated or damaged image file"),
        (lambda whole: b"", "empty image file"),
        (lambda whole: b"This is not an image.", "not an image, or one of an unknown kind"),
    ],
    ids=["truncated", "without its end", "empty", "text"],
)
def test_a_bad_image_is_reported_and_skipped(folder, picture, damage, problem):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        folder.add_image(name, content=damage(picture()) if name == "b.jpg" else None)
        folder.add_box(name, BOX, "dog" if name == "c.jpg" else "cat")
    dataset = folder.load()
    assert [path[-5:] for path in dataset.image_paths] == ["a.jpg", "c.jpg"]
    assert dataset.labels.tolist() == [0, 1]
    assert folder.findings == {
        (problem, "image skipped"): 1,
        ("box of an image that cannot be used", "box dropped"): 1,
    }
    (finding,) = (f for f in dataset.findings if f.action == "image skipped")
    assert finding.where.endswith("b.jpg")


def test_truncated_images_pass_without_the_check(coco, picture):
    coco.add_image("a.jpg", content=picture()[:-500])
    assert len(coco.load(decode_images=False)) == 1


@pytest.mark.parametrize(
    "options", [{"mode": "L"}, {"mode": "CMYK"}, {"kind": "PNG", "mode": "RGBA"}]
)
def test_unusual_images_are_kept(folder, picture, options):
    folder.add_image("a.jpg", content=picture(**options))
    assert len(folder.load()) == 1
    assert not folder.findings


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_of_the_upright_image(folder, picture, exif, orientation):
    upright = (48, 64) if orientation >= 5 else (64, 48)  # width, height
    folder.add_image("a.jpg", upright, content=picture(64, 48, exif=exif(orientation)))
    box = (0, 40, 48, 64) if orientation >= 5 else (40, 0, 64, 48)
    folder.add_box("a.jpg", box)
    dataset = folder.load()
    assert (dataset.widths[0], dataset.heights[0]) == upright
    np.testing.assert_array_equal(dataset.boxes, [box])
    assert not folder.findings


def test_an_image_annotated_on_its_side_is_noted(sized_folder, picture, exif):
    sized_folder.add_image("a.jpg", (64, 48), content=picture(64, 48, exif=exif(6)))
    sized_folder.load()
    ((problem, action),) = sized_folder.findings
    assert "without its EXIF orientation" in problem
    assert action == "noted"


def test_a_split_without_usable_images_is_refused_with_the_reasons(folder):
    folder.add_image("a.jpg", content=b"text")
    folder.add_image("b.jpg", content=b"")
    with pytest.raises(DataError, match=r"no usable image .*empty image file; not an image"):
        folder.load()


def test_an_empty_split_is_refused(folder):
    folder.image_folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"the split 'train' of .*data\.yaml has no usable image"):
        folder.load()


def test_an_unknown_split_gets_a_suggestion(folder):
    folder.add_image()
    with pytest.raises(DataError, match="no split 'trian': did you mean 'train'"):
        folder.load("trian")


def test_split_names(voc):
    voc.settings["splits"] = {"train": "train", "holdout": "test"}
    voc.write()
    assert split_names(voc.root / "data.yaml") == ["train", "holdout"]


def test_paths_are_relative_to_the_yaml_and_hold_variables(coco, monkeypatch, tmp_path_factory):
    coco.add_image()
    coco.write()
    monkeypatch.setenv("IMAGES_OF_THE_TEST", str(coco.image_folder))
    split = {"images": "${IMAGES_OF_THE_TEST}", "annotations": "train.json"}
    coco.write_yaml({"format": "coco", "splits": {"train": split}})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(load_dataset(coco.root / "data.yaml", "train")) == 1
    monkeypatch.delenv("IMAGES_OF_THE_TEST")
    with pytest.raises(ConfigError, match="IMAGES_OF_THE_TEST is not set"):
        load_dataset(coco.root / "data.yaml", "train")


COCO_SPLIT = {"images": "images", "annotations": "train.json"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "cocoo", "splits": {}}, "format = 'cocoo': did you mean 'coco'"),
        ({"splits": {}}, "known: coco, voc, csv, kitti, open_images, yolo, tfrecord, tfds"),
        ({"format": "coco", "split": {}}, "unknown setting 'split': did you mean 'splits'"),
        ({"format": "kitti", "splits": {}}, "'root' is missing"),
        ({"format": "coco", "splits": {"train": {"images": "x"}}}, "'splits.train.annotations' is"),
        (
            {"format": "coco", "splits": {"train": {**COCO_SPLIT, "anotations": "x"}}},
            "unknown setting 'splits.train.anotations': did you mean 'annotations'",
        ),
    ],
)
def test_a_wrong_yaml_says_what_to_mend(coco, values, message):
    coco.write_yaml(values)
    with pytest.raises(ConfigError, match=message):
        load_dataset(coco.root / "data.yaml", "train")


def test_a_yaml_may_have_windows_separators(coco):
    coco.add_image()
    coco.add_box("a.jpg", (8, 4, 40, 30))
    coco.write()
    split = {"images": ".\\images", "annotations": "sub\\..\\train.json"}
    (coco.root / "sub").mkdir()
    coco.write_yaml({"format": "coco", "splits": {"train": split}})
    assert load_dataset(coco.root / "data.yaml", "train").num_boxes == 1
