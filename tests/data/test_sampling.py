import dataclasses
import json

import numpy as np
import pytest
import yaml

from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.sampling import image_repeats, repeat_factors
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.geometry.input_policy import InputPolicy

POLICY = InputPolicy(size=32, max_size=64)


@pytest.fixture
def sets(tmp_path, picture):
    """Two COCO data sets, a (4 images; cat, dog) and b (2 images; dog, bird), and mixes of them."""

    def write(name, classes, num_images, splits=("train", "val")):
        (tmp_path / name).mkdir()
        images = []
        for i in range(num_images):
            (tmp_path / name / f"{i}.jpg").write_bytes(picture(48, 32))
            images.append({"id": i + 1, "file_name": f"{i}.jpg", "width": 48, "height": 32})
        content = {
            "images": images,
            "categories": [{"id": i + 1, "name": n} for i, n in enumerate(classes)],
            "annotations": [
                {"id": i + 1, "image_id": i + 1, "category_id": i % 2 + 1, "bbox": [2, 3, 10, 12]}
                for i in range(num_images)
            ],
        }
        (tmp_path / name / "a.json").write_text(json.dumps(content))
        split = {"images": ".", "annotations": "a.json"}
        data = {"format": "coco", "splits": dict.fromkeys(splits, split)}
        (tmp_path / name / "data.yaml").write_text(yaml.safe_dump(data))

    def mix(*sources, name="mix"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"format": "mix", "sources": list(sources)}))
        return path

    write("a", ["cat", "dog"], 4)
    write("b", ["dog", "bird"], 2, splits=("train", "more"))
    return mix


A, B = {"data": "a/data.yaml"}, {"data": "b/data.yaml"}


def test_a_mix_unites_images_and_classes_by_name(sets):
    dataset = load_dataset(sets(A, B), "train")
    assert dataset.class_names == ("cat", "dog", "bird")
    assert dataset.category_ids == (1, 2, 3)  # bird's own 2 is taken by dog
    assert [p.split("/")[-2] for p in dataset.image_paths] == ["a"] * 4 + ["b"] * 2
    assert [dataset.class_names[i] for i in dataset.labels] == [
        *("cat", "dog", "cat", "dog"),
        *("dog", "bird"),
    ]
    assert dataset.row_splits.tolist() == list(range(7))
    assert len(set(dataset.image_ids)) == 6
    assert dataset.image_ids[0] == "data-1/1" and dataset.image_ids[4] == "data-2/1"
    assert len(dataset.boxes) == len(dataset.areas) == len(dataset.is_ignored) == 6


def test_weights_are_shares_of_the_draws(sets):
    dataset = load_dataset(sets({**A, "weight": 1}, {**B, "weight": 3}), "train")
    np.testing.assert_allclose(dataset.repeats, [6 * 0.25 / 4] * 4 + [6 * 0.75 / 2] * 2)
    plan = TrainingPlan(dataset.heights, dataset.widths, POLICY, 3, repeats=dataset.repeats)
    counts = np.zeros(6)
    for epoch in range(200):
        index = plan.epoch(epoch)["index"]
        assert len(index) == 6
        counts += np.bincount(index, minlength=6)
    np.testing.assert_allclose(counts / 200, dataset.repeats, atol=0.1)


def test_splits_are_of_the_sources_that_have_them(sets):
    path = sets(A, B)
    assert split_names(path) == ["train", "val", "more"]
    assert len(load_dataset(path, "val")) == 4
    assert len(load_dataset(path, "more")) == 2
    path = sets(A, {**B, "splits": {"val": "more"}})
    assert split_names(path) == ["train", "val"]
    assert len(load_dataset(path, "train")) == 4
    assert len(load_dataset(path, "val")) == 6
    with pytest.raises(DataError, match="no split 'more'"):
        load_dataset(path, "more")


def test_a_mix_of_mixes_keeps_the_inner_weights(sets):
    sets({**A, "weight": 1}, {**B, "weight": 3}, name="inner")
    dataset = load_dataset(sets(A, {"data": "inner.yaml"}), "train")
    assert len(dataset) == 10
    assert dataset.repeats.sum() == pytest.approx(10)
    assert dataset.repeats[:4].sum() == pytest.approx(5)
    inner = dataset.repeats[4:]
    assert inner[:4].sum() == pytest.approx(5 / 4)
    assert inner[4:].sum() == pytest.approx(15 / 4)


def test_a_selection_keeps_its_repeats(sets):
    dataset = load_dataset(sets(A, {**B, "weight": 3}), "train")
    np.testing.assert_array_equal(dataset.select([5, 0]).repeats, dataset.repeats[[5, 0]])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "sources"),
        ([{**A, "weight": 0}], "weight = 0"),
        ([{**A, "wieght": 1}], "did you mean 'weight'"),
        ([{**A, "splits": {"train": "trian"}}], "no split 'trian' for 'train': did you mean"),
        ([{"data": "nothing.yaml"}], "cannot read .*nothing.yaml"),
        ([{"data": "mix.yaml"}], "leads back to the same file"),
    ],
)
def test_a_wrong_mix_says_what_to_mend(sets, sources, message):
    with pytest.raises(ConfigError, match=message):
        load_dataset(sets(*sources), "train")


@pytest.fixture
def rare(coco):
    """Eight images with a cat, one of them with a dog as well; and one with a crowd of dogs."""
    for i in range(8):
        coco.add_image(f"{i}.jpg")
        coco.add_box(f"{i}.jpg", (5, 5, 30, 30))
    coco.add_box("3.jpg", (10, 10, 20, 20), "dog")
    coco.add_box("3.jpg", (10, 10, 25, 20), "dog")
    coco.add_box("5.jpg", (10, 10, 20, 20), "dog", ignored=True)
    return coco.load()


def test_repeat_factors_are_lvis_s(rare):
    factors = repeat_factors(rare, 0.5)
    expected = np.ones(8)
    expected[3] = np.sqrt(0.5 / (1 / 8))  # of the rarest class in the image
    np.testing.assert_allclose(factors, expected)
    np.testing.assert_array_equal(repeat_factors(rare, 0.001), np.ones(8))


def test_repeat_factors_multiply_a_mix_s_repeats(rare):
    assert image_repeats(rare, None) is None
    halves = dataclasses.replace(rare, repeats=np.full(8, 0.5))
    np.testing.assert_array_equal(image_repeats(halves, None), halves.repeats)
    np.testing.assert_allclose(image_repeats(halves, 0.5), repeat_factors(rare, 0.5) / 2)


def test_an_image_without_objects_is_shown_once(coco):
    coco.add_image("a.jpg")
    np.testing.assert_array_equal(repeat_factors(coco.load(), 0.5), [1])


@pytest.mark.parametrize("repeats", [None, np.array([1.0, 1, 1, 1, 2, 2, 4, 4])])
def test_an_epoch_of_a_part_shows_so_many_images_and_others_each_time(sets, repeats):
    """Over many epochs each image comes in its share, and never too often in one."""
    dataset = load_dataset(sets(A, A), "train")
    dataset = dataclasses.replace(dataset, repeats=repeats)
    limited = image_repeats(dataset, None, 4)
    shares = np.ones(8) / 8 if repeats is None else repeats / repeats.sum()
    np.testing.assert_allclose(limited, 4 * shares)
    plan = TrainingPlan(dataset.heights, dataset.widths, POLICY, 2, repeats=limited)
    assert plan.steps_per_epoch == 2
    counts = np.zeros(8)
    for epoch in range(400):
        shown = np.bincount(plan.epoch(epoch)["index"], minlength=8)
        assert shown.sum() == 4 and (shown <= np.ceil(limited)).all()
        counts += shown
    np.testing.assert_allclose(counts / 1600, shares, atol=0.02)


def test_a_limit_above_what_there_is_changes_nothing(sets):
    dataset = dataclasses.replace(load_dataset(sets(A, A), "train"), repeats=None)
    assert image_repeats(dataset, None, 8) is None
    rare = image_repeats(dataset, 1.0)
    np.testing.assert_array_equal(image_repeats(dataset, 1.0, 100), rare)
    np.testing.assert_allclose(image_repeats(dataset, 1.0, 5), rare * 5 / rare.sum())
