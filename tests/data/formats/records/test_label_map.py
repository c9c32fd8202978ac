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


def test_all_fields_of_the_object_detection_api(read):
    text = """item {
      name: "/m/0" id: 7 display_name: "person"
      keypoints { id: 1 label: "nose" } keypoints { id: 2 label: "left_eye" }
      ancestor_ids: 3 ancestor_ids: 4 descendant_ids: [5, 6]
      frequency: FREQUENT instance_count: 12
    }"""
    assert read(text) == ({7: "person"}, {"person": 7, "/m/0": 7})


def test_a_list_of_items(read):
    assert read("item: [{id: 1 name: 'a'},\n{id: 2 name: 'b'}]")[0] == {1: "a", 2: "b"}
    with pytest.raises(DataError, match=":2: the id 1 is used twice"):
        read("item: [{id: 1 name: 'a'},\n{id: 1 name: 'b'}]")


NAMES = [
    "cat",
    "Käse 雪",
    'say "a"',
    "it's",
    "back\\slash",
    "{}[]:#,;",
    "two\nlines",
    "a/b",
    "line\u2028separator",
]


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
        ("\nitem { id: x name: 'a' }", ":2: not a label map: Couldn't parse integer: x"),
        ("item { id: -1 name: 'a' }", ":1: an item needs a name and an id of 0 or more"),
        ("item { id: 3000000000 name: 'a' }", ":1: not a label map: Value out of range"),
        ("item { id: 1 name: 'a' name: 'b' }", ':1: not a label map: .*multiple "name" fields'),
        ("item { id: 1\nname: '\\377' }", ":2: not a label map: Couldn't parse string"),
        ("item { id: 1\nname: 'a'", ':2: not a label map: Expected "}"'),
        ("item { id: 1 name: 'a' }\n}", ":2: not a label map: .* got }"),
        ("item { id: 1\nname: 'a }", ":2: not a label map: String missing ending quote"),
        (
            "item { id: 1 name: 'a' }\nnames { id: 2 name: 'b' }",
            ":2: .* expected item { ... }, not",
        ),
        ("version: 2", ":1: not a label map: expected item { ... }, not 'version'"),
        ("cat\ndog", ':2: not a label map: Expected "{"'),
        (
            "item {" + 5000 * "a {" + 5000 * "}" + "}",
            "not a label map: messages in too many others",
        ),
        ("", "names no class"),
    ],
)
def test_a_malformed_file_is_told_with_its_line(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)


def test_a_long_line_is_not_repeated(read):
    text = "".join(f"item {{ id: {i} name: 'c{i}' }} " for i in range(5000))
    with pytest.raises(DataError, match=":1: not a label map") as caught:
        read(text + "x")
    assert len(str(caught.value)) < 400


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


def test_an_unknown_field_without_a_value_is_told(read):
    with pytest.raises(DataError, match=r"map\.pbtxt: not a label map: Invalid field value: \}"):
        read("item { name: 'cat' id: 1 other: }")
