"""Where in an annotation file something is written: found only when it has to be told."""

import functools
import json
import re
import xml.parsers.expat
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NOT_SPACE = re.compile(r"[^\s,]")

# Of a text and a position: the JSON value there, and the position behind it.
Decode = Callable[[str, int], tuple[Any, int]]


def xml_object_place(path: Path, number: int) -> str:
    """Return "file:line: object 3" for the <object> of that number (from 1) in a VOC file."""
    return _place(path, _xml_object_lines(path, _stamp(path)), number - 1, f"object {number}")


def json_element_place(path: Path, key: str, index: int) -> str:
    """Return "file:line: annotations[3]" for an element of a list in a JSON object."""
    lines = _json_element_lines(path, key, _stamp(path))
    return _place(path, lines, index, f"{key}[{index}]")


def _place(path: Path, lines: tuple[int, ...], index: int, name: str) -> str:
    # That all is on line 1 of 1 tells nobody anything.
    line = f":{lines[index]}" if index < len(lines) and lines[-1] > 1 else ""
    return f"{path}{line}: {name}"


def _stamp(path: Path) -> int:
    """Return a number that changes with the file, so that no lines of an older one are told."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=64)
def _xml_object_lines(path: Path, _: int) -> tuple[int, ...]:
    """Return the lines of the <object> elements right below the root."""
    lines: list[int] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and name == "object":
            lines.append(parser.CurrentLineNumber)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(path.read_bytes(), True)
    except (OSError, xml.parsers.expat.ExpatError, ValueError, LookupError):
        return ()  # the reader has told
    return tuple(lines)


@functools.lru_cache(maxsize=4)
def _json_element_lines(path: Path, key: str, _: int) -> tuple[int, ...]:
    """Return the lines that the elements of a list begin on, in a file that is known to be JSON."""
    content = path.read_bytes()
    text = content.decode(json.detect_encoding(content))
    if text.rstrip().count("\n") == 0:
        return ()
    decode: Decode = json.JSONDecoder().raw_decode
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        name, position = decode(text, position)
        position = _skip(text, text.index(":", position) + 1)
        if name == key and text[position] == "[":
            return _element_lines(text, _skip(text, position + 1), decode)
        _, position = decode(text, position)
        position = _skip(text, position)
    return ()


def _element_lines(text: str, position: int, decode: Decode) -> tuple[int, ...]:
    """Return the lines of the elements of a list whose first element is at `position`."""
    lines: list[int] = []
    line, counted = 1, 0
    while text[position] != "]":
        line += text.count("\n", counted, position)
        counted = position
        lines.append(line)
        _, position = decode(text, position)
        position = _skip(text, position)
    return tuple(lines)


def _skip(text: str, position: int) -> int:
    """Return where the next value, or the end of its list or object, is."""
    match = _NOT_SPACE.search(text, position)
    return match.start() if match else len(text)
