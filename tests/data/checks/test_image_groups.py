"""Images that belong together: by their bytes, by their looks, from one to the next."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.checks import image_groups
from keras_retinanet.data.checks.image_groups import group_images
from keras_retinanet.errors import DataError


def scene(seed):
    """A picture of large patches, which no other seed's is like."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(patches).resize((96, 80), Image.Resampling.BICUBIC)


@pytest.fixture
def write(tmp_path):
    def write(name, image, **options):
        path = tmp_path / name
        image.save(path, **options)
        return str(path)

    return write


def test_copies_and_lookalikes_are_one_group(write, tmp_path):
    paths = [write(f"{seed}.png", scene(seed)) for seed in range(6)]
    paths.append(write("small.jpg", scene(2).resize((48, 40)), quality=60))
    paths.append(write("copy.png", scene(4)))
    assert group_images(paths, "looks").tolist() == [0, 1, 2, 3, 4, 5, 2, 4]
    assert group_images(paths, "bytes").tolist() == [0, 1, 2, 3, 4, 5, 6, 4]


def test_likeness_goes_from_one_to_the_next(write):
    def blend(share):
        return Image.blend(scene(0), scene(1), share)

    paths = [write(f"{i}.png", blend(i / 40)) for i in range(41)]
    ends = [paths[0], paths[-1]]
    assert group_images(ends, "looks").tolist() == [0, 1]
    assert set(group_images(paths, "looks").tolist()) == {0}


def test_blocks_are_compared_with_each_other(write, monkeypatch):
    monkeypatch.setattr(image_groups, "_BLOCK", 3)
    order = [0, 1, 2, 3, 0, 4, 2, 5, 6, 0]
    paths = [write(f"{i}.jpg", scene(s), quality=95 - i) for i, s in enumerate(order)]
    groups = group_images(paths, "looks").tolist()
    assert groups == [order.index(s) for s in order]


def test_flat_pictures_and_damaged_files_are_like_no_other(write, tmp_path):
    flat = [write(f"{grey}.png", Image.new("RGB", (32, 32), (grey,) * 3)) for grey in (10, 200)]
    cut = []
    for seed in (7, 8):
        file = io.BytesIO()
        scene(seed).save(file, "JPEG")
        path = tmp_path / f"cut{seed}.jpg"
        path.write_bytes(file.getvalue()[:300])
        cut.append(str(path))
    paths = [*flat, *cut, str(tmp_path / "missing.jpg")]
    assert group_images(paths, "looks").tolist() == [0, 1, 2, 3, 4]


def test_a_changed_file_is_looked_at_again(write):
    paths = [write("a.png", scene(0)), write("b.png", scene(1))]
    assert group_images(paths, "bytes").tolist() == [0, 1]
    write("b.png", scene(0))
    assert group_images(paths, "bytes").tolist() == [0, 0]


def test_too_many_are_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(image_groups, "MAX_COMPARED", 2)
    with pytest.raises(DataError, match=r"3 images are too many .* --groups bytes"):
        group_images(["a", "b", "c"], "looks")
