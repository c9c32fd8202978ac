import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from keras_retinanet.data.demo import demo

NUM_IMAGES = {"train": 8, "val": 5}  # each holds the crowd image (2) and an empty one (4)


def write(folder, *, seed=0, num_train=NUM_IMAGES["train"], num_val=NUM_IMAGES["val"]):
    return demo.write_demo_dataset(folder, num_train=num_train, num_val=num_val, seed=seed)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("demo") / "set").parent


@pytest.fixture(params=sorted(NUM_IMAGES))
def split(request):
    return request.param


@pytest.fixture
def coco(folder, split):
    return COCO(folder / "annotations" / f"{split}.json")


def extent_by_pixels(mask):
    """The box around a mask from the coordinates of its pixels, unlike the code under test."""
    y, x = np.nonzero(mask)
    return [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]


def test_data_yaml_points_to_what_was_written(folder):
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data["format"] == "coco"
    for split, paths in data["splits"].items():
        assert (folder / paths["annotations"]).is_file()
        assert len(list((folder / paths["images"]).iterdir())) == NUM_IMAGES[split]
    assert set(contents(folder)) >= {"data.yaml", "images/train/train_00000.jpg"}


def test_same_seed_same_bytes_and_other_seed_other_bytes(folder, tmp_path):
    expected = contents(folder)
    assert contents(write(tmp_path / "same").parent) == expected
    other = contents(write(tmp_path / "other", seed=1, num_train=2, num_val=1).parent)
    for name in ("images/train/train_00000.jpg", "annotations/train.json"):
        assert other[name] != expected[name]


def test_a_smaller_set_begins_with_the_same_pictures(folder, tmp_path):
    smaller = contents(write(tmp_path / "small", num_train=2, num_val=1).parent)
    pictures = {name: data for name, data in smaller.items() if name.endswith(".jpg")}
    assert len(pictures) == 3
    assert pictures.items() <= contents(folder).items()


def test_splits_share_no_picture(folder):
    pictures = [data for name, data in contents(folder).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == sum(NUM_IMAGES.values())


def test_images_are_jpeg_rgb_of_the_stated_and_varying_size(folder, split, coco):
    sizes = set()
    for info in coco.dataset["images"]:
        with Image.open(folder / "images" / split / info["file_name"]) as image:
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert image.size == (info["width"], info["height"])
            assert np.asarray(image).std() > 1
        assert 208 <= min(image.size) <= max(image.size) <= 352
        sizes.add(image.size)
    assert len(sizes) > 1


def test_annotations_are_valid_coco(coco):
    assert coco.getCatIds() == [1, 3, 4, 7, 9]
    fields = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"}
    for annotation in coco.dataset["annotations"]:
        image = coco.imgs[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        assert set(annotation) == fields
        assert annotation["category_id"] in coco.cats
        assert min(x, y) >= 0
        assert min(width, height) >= demo.MIN_VISIBLE_SIDE
        assert x + width <= image["width"]
        assert y + height <= image["height"]
        assert 0 < annotation["area"] <= width * height
        np.testing.assert_array_equal(
            extent_by_pixels(coco.annToMask(annotation)), [x, y, width, height]
        )


def test_ids_are_unique_over_both_splits(folder):
    sets = [json.loads((folder / f"annotations/{split}.json").read_text()) for split in NUM_IMAGES]
    for kind in ("images", "annotations"):
        ids = [entry["id"] for entries in sets for entry in entries[kind]]
        assert len(ids) == len(set(ids))


def test_there_is_an_empty_image_and_one_crowd_region(coco):
    empty = [image_id for image_id in coco.getImgIds() if not coco.getAnnIds(imgIds=image_id)]
    crowds = coco.loadAnns(coco.getAnnIds(iscrowd=True))
    assert len(empty) == 1
    assert [np.count_nonzero(coco.annToMask(crowd)) for crowd in crowds] == [crowds[0]["area"]]


@pytest.mark.parametrize("index", [0, demo.CROWD_INDEX, demo.EMPTY_INDEX, 7])
def test_boxes_are_tight_on_the_pixels_in_sight(index):
    scene = demo.draw_scene(np.random.default_rng(index), index)
    annotations = list(scene.annotations())
    assert len(annotations) == scene.owner.max()
    for number, annotation in enumerate(annotations, start=1):
        mask = scene.owner == number
        assert annotation["bbox"] == extent_by_pixels(mask)
        assert annotation["area"] == mask.sum() >= demo.MIN_VISIBLE * scene.full_areas[number - 1]


@pytest.mark.parametrize("category_id", demo.CATEGORIES)
@pytest.mark.parametrize("centre", [(60, 50), (4, 50), (102, 80)])
def test_box_fits_the_drawn_pixels(category_id, centre):
    scene = demo.Scene(np.full((100, 120, 3), 128, np.float32))
    assert scene.add(category_id, 70.0, centre, 0.3, np.random.default_rng(5))
    (annotation,) = scene.annotations()
    coloured = np.ptp(scene.pixels, axis=2) > 4  # the ground and the shadow on it are grey
    x, y, width, height = extent_by_pixels(coloured)
    left, top, box_width, box_height = annotation["bbox"]
    np.testing.assert_allclose([left, top], [x, y], atol=1)  # 1: the antialiased edge
    np.testing.assert_allclose(
        [left + box_width, top + box_height], [x + width, y + height], atol=1
    )


@pytest.mark.parametrize("centre", [(118, 98), (-500, 50), (60, 900)])
def test_an_object_mostly_outside_the_image_is_not_drawn(centre):
    scene = demo.Scene(np.full((100, 120, 3), 128, np.float32))
    assert not scene.add(1, 70.0, centre, 0.3, np.random.default_rng(0))
    assert np.all(scene.pixels == 128)
    assert not list(scene.annotations())


def test_an_object_that_would_hide_another_is_not_drawn():
    scene = demo.Scene(np.full((100, 120, 3), 128, np.float32))
    rng = np.random.default_rng(0)
    assert scene.add(1, 40.0, (60, 50), 0.0, rng)
    before = scene.pixels.copy(), scene.owner.copy()
    assert not scene.add(4, 60.0, (60, 50), 0.0, rng)
    np.testing.assert_array_equal(scene.pixels, before[0])
    np.testing.assert_array_equal(scene.owner, before[1])
    assert len(list(scene.annotations())) == 1


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="choose another folder") as error:
        write(folder)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == {"mine/notes.txt": b"keep"}


def test_an_empty_folder_is_filled_and_no_scratch_folder_stays(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert write(folder, num_train=1, num_val=1) == folder / "data.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(pixels, rng):
        raise OSError("disk full")

    monkeypatch.setattr(demo, "photograph", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_counts_below_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 or more, got 4 and 0"):
        write(tmp_path / "set", num_train=4, num_val=0)


def test_needs_no_tensorflow():
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, demo.__file__], check=True)
