"""`retinanet data show` over every format; TFDS's are with its reader's tests."""

import re

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.source import load_dataset

OPTIONS = {
    "plain": (),
    "anchors": ("--anchors", "quickstart"),
    "augment": ("--augment", "quickstart", "--anchors", "quickstart"),
}


def fill(folder, names=("a.jpg", "b.png")):
    """Two images with an object each."""
    for name in names:
        folder.add_image(name, (64, 64))
        folder.add_box(name, (8, 4, 40, 36), "cat")
    folder.write()
    return folder.root / "data.yaml"


@pytest.fixture(params=["coco", "voc", "csv", "kitti", "open_images", "yolo", "tfrecord"])
def data(request, tmp_path):
    """A data YAML of each format."""
    if request.param in ("yolo", "tfrecord"):
        source = fill(request.getfixturevalue("coco"))
        return convert(source, tmp_path / "converted", target=request.param).data_yaml
    folder = request.getfixturevalue(request.param)
    if request.param == "open_images":  # whose images are JPEGs
        return fill(folder, ("a.jpg", "b.jpg"))
    return fill(folder)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_format_is_shown(data, call, tmp_path, capfd, option):
    output = tmp_path / "look"
    arguments = ("--data", data, "--split", "train", "--output", output, "--count", 2)
    assert call("data", "show", *arguments, *OPTIONS[option]) == 0
    assert "2 images: " in capfd.readouterr().out
    page = (output / "sample.html").read_text()
    assert page.count("<figure") == 2
    assert set(re.findall(r'data-name="(\w)\.\w+"', page)) == {"a", "b"}
    with Image.open(output / "sample.png") as sheet:
        assert sheet.width > 300


def test_a_data_set_gives_its_images_as_they_are_seen(data, picture):
    dataset = load_dataset(data, "train")
    assert len(dataset) == 2
    for i in range(2):
        pixels = dataset.read_image(i)
        assert pixels.dtype == np.uint8 and pixels.shape == (64, 64, 3)
        # The picture brightens to the right in red, and downwards in green.
        assert pixels[:, -1, 0].mean() - pixels[:, 0, 0].mean() > 200
        assert pixels[-1, :, 1].mean() - pixels[0, :, 1].mean() > 200


def test_an_image_that_cannot_be_decoded_is_named_and_the_rest_shown(coco, call, tmp_path, capfd):
    data = fill(coco)
    path = coco.image_folder / "a.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    arguments = ("--data", data, "--split", "train", "--output", tmp_path / "look")
    assert call("data", "show", *arguments) == 0
    printed = capfd.readouterr()
    assert "truncated or damaged" in printed.out + printed.err
    assert (tmp_path / "look" / "sample.html").read_text().count("<figure") == 1
    (coco.image_folder / "b.png").write_bytes(path.read_bytes())
    assert call("data", "show", *arguments) == 2
    printed = capfd.readouterr()
    assert "none of the images drawn can be shown" in printed.err
    assert "Traceback" not in printed.err
