"""What a data set cannot give is said, with its figures."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.training.planning.data_limits import limits_of_data, limits_of_size


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=6, num_val=3)
    return load_dataset(path, "train"), load_dataset(path, "val")


def test_rare_classes_are_named_with_their_counts(make_dataset):
    dataset = make_dataset([50.0] * 3, labels=[0, 0, 1], num_images=12)
    (rare, no_val) = limits_of_data(dataset, None)
    assert rare.startswith("2 of 3 classes have fewer than 20 objects in train: c (0), b (12): ")
    assert "no split val" in no_val


def test_nothing_is_said_of_what_is_enough(make_dataset):
    dataset = make_dataset([50.0] * 3, labels=[0, 1, 2], num_images=30)
    other = make_dataset([50.0] * 3, labels=[0, 1, 2], num_images=25)
    other.image_paths[:] = [f"other-{i}.jpg" for i in range(25)]
    assert limits_of_data(dataset, other) == []


def test_images_of_val_that_are_in_train_are_counted(demo):
    train, val = demo
    told = [limit for limit in limits_of_data(train, val) if "in train as well" in limit]
    assert told == []
    mixed = val.select([0, 1, 2])
    mixed.image_paths[1] = train.image_paths[4]
    (told,) = [limit for limit in limits_of_data(train, mixed) if "in train as well" in limit]
    assert told.startswith("1 images of val are in train")


def test_images_that_look_alike_are_counted(demo, tmp_path):
    train, val = (part.select(range(len(part))) for part in demo)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((300, 200))
    for part, level in ((train, 1), (val, 9)):  # the same picture in other bytes
        part.image_paths[0] = str(tmp_path / f"{level}.png")
        picture.save(part.image_paths[0], compress_level=level)
    told = [limit for limit in limits_of_data(train, val) if "in train as well" in limit]
    assert len(told) == 1


def test_a_small_val_and_its_missing_classes(make_dataset):
    train = make_dataset([50.0] * 3, labels=[0, 1, 2], num_images=30)
    val = make_dataset([50.0] * 2, labels=[0, 2], num_images=5)
    val.image_paths[:] = [f"other-{i}.jpg" for i in range(5)]
    few, missing = limits_of_data(train, val)
    assert few == "val has 5 images: AP on so few says little"
    assert missing == "val has no object of b: their AP is not known"


def test_objects_that_are_spots():
    assert limits_of_size(np.array([4.0, 10.0, 100.0])) == []
    (told,) = limits_of_size(np.array([3.9, 1.0, 100.0]))
    assert told.startswith("2 of 3 objects are under 4 px")
