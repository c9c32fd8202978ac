import pytest

from keras_retinanet.data.formats.records.label_map import (
    format_label_map,
    label_map_of,
    read_label_map,
)
from keras_retinanet.errors import DataError


@pytest.fixture
def read(tmp_path):
    def read(text, name="map.pbtxt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_label_map(path)

    return read


def test_items_as_the_object_detection_api_writes_them(read):
    names, ids = read("item {\n\tid: 2\n\tname: 'cat'\n}\n\nitem {\n  name: \"dog\"\n  id: 1\n}\n")
    assert names == {1: "dog", 2: "cat"}
    assert list(names) == [1, 2]
    assert ids == {"dog": 1, "cat": 2}


def test_display_names_are_shown_and_both_names_understood(read):
    names, ids = read("item { name: '/m/01g317' id: 1 display_name: 'person' }")
    assert names == {1: "person"}
    assert ids == {"person": 1, "/m/01g317": 1}


def test_whatever_else_the_text_format_allows(read):
    text = """# classes
    item: < id: 1, name: "a # no comment }"; > # one
    item{id:2 name:'it\\'s' keypoints { id: 9 label: "nose" } instance_count: -1.5e3}
    item { id: 3 name: "\\303\\244\\x41\\n" }"""
    assert read("\ufeff" + text)[0] == {1: "a # no comment }", 2: "it's", 3: "äA\n"}


NAMES = ["cat", "Käse 雪", 'say "a"', "it's", "back\\slash", "{}[]:#,;", "two\nlines", "a/b"]


def test_round_trip(read):
    names = {i * 3: name for i, name in enumerate(NAMES)}
    assert read(format_label_map(names)) == (names, {n: i for i, n in names.items()})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item { id: 1 name: 'a' }\n\nitem { id: 1 name: 'b' }", ":3: the id 1 is used twice"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "a class name is used twice"),
        ("item { id: 1 }", ":1: an item needs a name"),
        ("\nitem { name: 'a' }", ":2: an item needs a name and an id"),
        ("item { id: x name: 'a' }", "needs a name and an id"),
        ("item { id: -1 name: 'a' }", "needs a name and an id"),
        ("item { id: 1 name: 'a'", "an item is not closed"),
        ("item { id: 1 name: 'a' } }", "unexpected '}'"),
        ("item { id: 1\nname: 'a }", ':2: not a label map: unexpected "\'"'),
        ("names { id: 1 name: 'a' }", "expected item"),
        ("cat\ndog", ":2: not a label map: unexpected 'dog'"),
        ("", "names no class"),
    ],
)
def test_a_malformed_file_is_told_with_its_line(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)


def test_yaml(read):
    expected = {1: "cat", 3: "dog"}, {"cat": 1, "dog": 3}
    assert read("3: dog\n1: cat", "map.yaml") == expected
    for text in ("a: cat", "1: 2", "-1: cat", "1: ''", "true: cat"):
        with pytest.raises(DataError, match="expected `id: name`"):
            read(text, "map.yml")


def test_lists_count_from_1():
    assert label_map_of(["cat", "dog"], "x")[0] == {1: "cat", 2: "dog"}
    with pytest.raises(DataError, match="used twice"):
        label_map_of(["cat", "cat"], "x")
