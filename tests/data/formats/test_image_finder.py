"""Which file an annotation means by a name."""

import pytest

from keras_retinanet.data.formats.image_finder import ImageFinder


@pytest.fixture
def folder(tmp_path):
    for name in ("images/a.jpg", "images/sub/b.JPG", "images/x/c.jpg", "images/y/c.jpg", "d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "images" / ".hidden").mkdir()
    (tmp_path / "images" / ".hidden" / "e.jpg").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "images/a.jpg"),
        ("../d.png", "images/../d.png"),
        ("sub\\b.JPG", "images/sub/b.JPG"),
        ("sub/b.jpg", "images/sub/b.JPG"),
        ("C:\\Users\\me\\sub\\b.jpg", "images/sub/b.JPG"),
        ("/data/upload/1/a.jpg", "images/a.jpg"),
        ("elsewhere/x/c.jpg", "images/x/c.jpg"),
        ("a", "images/a.jpg"),
        # Either of two: none is guessed.
        ("c.jpg", "images/c.jpg"),
        ("none.jpg", "images/none.jpg"),
        (".hidden.jpg", "images/.hidden.jpg"),
        ("e.jpg", "images/e.jpg"),
        ("a\0b.jpg", "images/a\0b.jpg"),
        ("", "images/"),
    ],
)
def test_names(folder, name, found):
    assert ImageFinder(folder / "images").find(name) == f"{folder}/{found}"


def test_the_first_folder_that_has_it(folder):
    finder = ImageFinder(folder, folder / "images")
    assert finder.find("d.png") == f"{folder}/d.png"
    assert finder.find("a.jpg") == f"{folder}/images/a.jpg"
    assert finder.find("none.jpg") == f"{folder}/none.jpg"
