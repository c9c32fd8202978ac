"""Files, folders, patterns and lists that a command is given."""

import pytest

from keras_retinanet.data.images.given_images import given_images
from keras_retinanet.errors import DataError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p/a.jpg", "p/sub/b.PNG", "p/notes.txt", "q/[1].jpg", "c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def files(*given, lines=()):
    images = given_images(given, lines)
    return [str(path) for path in images.files], [f.where for f in images.findings]


def test_files_folders_and_patterns(photos):
    assert files("p", "c.jpg", "p/a.jpg") == (["p/a.jpg", "p/sub/b.PNG", "c.jpg"], ["p/notes.txt"])
    assert files("p/**/*") == (["p/a.jpg", "p/sub/b.PNG"], ["p/notes.txt"])
    assert files("q/[1].jpg") == (["q/[1].jpg"], [])  # a file of that name
    images = given_images(["p/**/*.PNG"])
    assert [str(root) for root in images.roots.values()] == ["p"]


def test_a_list_on_standard_input(photos):
    lines = ["c.jpg\n", "\n", "gone.jpg\n", " q \n"]
    assert files("-", lines=lines) == (["c.jpg", "q/[1].jpg"], ["gone.jpg"])


@pytest.mark.parametrize(
    ("name", "message"), [("gone.jpg", "no file or folder gone"), ("x*.jpg", "no file matches x")]
)
def test_what_is_not_there_is_told(photos, name, message):
    with pytest.raises(DataError, match=message):
        given_images([name])
