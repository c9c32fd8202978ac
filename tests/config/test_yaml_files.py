from pathlib import Path

import pydantic
import pytest

from keras_retinanet.config.yaml_files import did_you_mean, expand_variables, read_yaml, validated
from keras_retinanet.errors import ConfigError


class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    width: int = 1


class Whole(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    name: str
    part: Part = Part()
    parts: dict[str, Part] = {}


@pytest.fixture
def written(tmp_path):
    """A function: bytes -> the path of a YAML file that holds them."""

    def write(content):
        path = tmp_path / "a.yaml"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"a: 1\nb: {c: x}", {"a": 1, "b": {"c": "x"}}),
        (b"", {}),
        (b"# nothing\n", {}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: ü 雪".encode(), {"a": "ü 雪"}),
    ],
)
def test_mappings_are_read(written, content, values):
    assert read_yaml(written(content)) == values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1, 2\nc: 3", r"a\.yaml:3: not valid YAML"),
        (b"a: 1\n\tb: 2", r"a\.yaml:2: not valid YAML"),
        (b"- a\n- b", "expected `name: value` lines, got list"),
        (b"text", "got str"),
        (b"\xff\xfe\x00", "not a YAML text file"),
        (b"a: \x00", "not valid YAML"),
        (b"a: !!python/object:os.system {}", r"a\.yaml:1: not valid YAML"),
    ],
)
def test_other_files_are_refused_with_the_line(written, content, message):
    with pytest.raises(ConfigError, match=message):
        read_yaml(written(content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=f"cannot read .*: {reason}"):
            read_yaml(Path(path))


def test_variables_are_expanded(monkeypatch):
    monkeypatch.setenv("FIRST", "/a b")
    monkeypatch.setenv("SECOND", "${FIRST}")
    assert expand_variables("${FIRST}/x/${SECOND}", "s") == "/a b/x/${FIRST}"
    assert expand_variables("$FIRST 100% {x}", "s") == "$FIRST 100% {x}"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ConfigError, match=r"d\.yaml: .* NOT_THERE is not set: export NOT_THERE="):
        expand_variables("x/${NOT_THERE}", "d.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "x"}, "unknown setting 'nam': did you mean 'name'"),
        ({}, "'name' is missing"),
        ({"name": "x", "part": {"widht": 2}}, "unknown setting 'part.widht': did you mean 'width'"),
        ({"name": "x", "part": {"zzz": 2}}, "unknown setting 'part.zzz': known: width"),
        (
            {"name": "x", "parts": {"a": {"wdth": 2}}},
            "unknown setting 'parts.a.wdth': did you mean 'width'",
        ),
        ({"name": "x", "part": {"width": "wide"}}, "part.width = 'wide': .*integer"),
    ],
)
def test_the_first_problem_is_explained(values, message):
    with pytest.raises(ConfigError, match=f"^file: {message}"):
        validated(Whole, values, "file")


def test_valid_values_become_the_model():
    assert validated(Whole, {"name": "x", "part": {"width": "3"}}, "file").part.width == 3


@pytest.mark.parametrize(
    ("word", "answer"),
    [("trian", "did you mean 'train'?"), ("test", "known: train, val"), ("", "known: train, val")],
)
def test_did_you_mean(word, answer):
    assert did_you_mean(word, ["train", "val"]) == answer
