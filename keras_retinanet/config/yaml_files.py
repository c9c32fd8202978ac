"""YAML files and mappings checked against pydantic models, with errors that a user can mend."""

import codecs
import difflib
import os
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import pydantic
import yaml
from pydantic.fields import FieldInfo

from keras_retinanet.errors import ConfigError

Model = TypeVar("Model", bound=pydantic.BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 2, 20, 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 300
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML (with the line), or not a mapping.
    """
    try:
        values = yaml.safe_load(_decoded(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a YAML text file: {error}") from error
    except yaml.YAMLError as error:
        where, problem = str(path), str(error)
        if isinstance(error, yaml.MarkedYAMLError):
            where += f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            problem = str(error.problem)
        problem = " ".join(problem.split())  # may have two lines
        raise ConfigError(f"{where}: not valid YAML: {problem}") from error
    except (ValueError, RecursionError, OverflowError) as error:  # a date 2001-99-99; deep nesting
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected `name: value` lines, got {type(values).__name__}")
    return values


def _decoded(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with its mark, as Windows saves it."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig")


def expand_variables(text: str, source: str) -> str:
    """Replace ${NAME} by environment variables.

    Raises:
        ConfigError: a variable is not set; `source` says where it is used.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ConfigError(
                f"{source}: the environment variable {match[1]} is not set: "
                f"export {match[1]}=..., or write the path itself"
            )
        return os.environ[match[1]]

    return _VARIABLE.sub(value, text)


def validated(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Return `values` as an instance of `model`.

    Raises:
        ConfigError: the first thing that is wrong, with a suggestion where a name is misspelt.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        problems = error.errors()
        # A misspelt name is the reason for a missing one.
        misspelt = [p for p in problems if p["type"] == "extra_forbidden"]
        problem = (misspelt or problems)[0]
        raise ConfigError(f"{source}: {_explain(model, problem)}") from error


def shown(value: Any) -> str:
    """Return a value from a YAML file for a message; a few lines of aliases can make it endless."""
    return _SHORT.repr(value)


def did_you_mean(word: str, known: list[str]) -> str:
    """Return a suggestion for a misspelt name, or the list of the known ones."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _explain(model: type[pydantic.BaseModel], problem: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in words that name the setting and how to mend it."""
    location = [str(part) for part in problem["loc"] if not str(part).startswith("function-")]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name!r}: {did_you_mean(location[-1], _siblings(model, location))}"
    if problem["type"] == "missing":
        return f"{name!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "literal_error":
        expected = re.findall(r"'([^']*)'", message)
        word = problem["input"] if isinstance(problem["input"], str) else ""
        return f"{name} = {shown(problem['input'])}: {did_you_mean(word, expected)}"
    if problem["type"] in ("value_error", "assertion_error") and not name:
        return message
    given = problem["input"]
    is_plain = not isinstance(given, dict | pydantic.BaseModel)
    return f"{name}{f' = {shown(given)}' if is_plain else ''}: {message}"


def _siblings(model: type[pydantic.BaseModel], location: list[str]) -> list[str]:
    """Return the settings that there are beside the one at `location`."""
    annotation: Any = model
    for part in location[:-1]:
        if get_origin(annotation) is dict:  # `part` is one of its keys
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        else:
            field = _fields(annotation).get(part)
            annotation = field.annotation if field else None
    return list(_fields(annotation))


def _fields(annotation: Any) -> Mapping[str, FieldInfo]:
    """Return the settings in a section; none for what is no section."""
    is_section = isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)
    return annotation.model_fields if is_section else {}
