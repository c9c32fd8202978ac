"""JSON with lists that need not fit into memory."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from keras_retinanet.system.buckets.bucket_address import told


@dataclass(frozen=True)
class LongList:
    """A list of which each item is made when it is written."""

    items: Callable[[], Iterator[Any]]


def write_json(result: Mapping[str, Any], file: TextIO) -> None:
    """Write an object as `json.dump` does with an indent of 1; values may be `LongList`s."""
    start = "{\n "
    for key, value in result.items():
        file.write(f"{start}{json.dumps(key, ensure_ascii=False)}: ")
        start = ",\n "
        if isinstance(value, LongList):
            _write_list(value.items(), file)
        else:
            file.write(_text(value, depth=1))
    file.write("{}" if not result else "\n}")


def _write_list(items: Iterator[Any], file: TextIO) -> None:
    start = "[\n  "
    for item in items:
        file.write(start + _text(item, depth=2))
        start = ",\n  "
    file.write("[]" if start.startswith("[") else "\n ]")


def _text(value: Any, depth: int) -> str:
    # A line's end in a string is written as "\n": what is found here is the layout's.
    text = told(json.dumps(value, indent=1, ensure_ascii=False, default=str))
    return text.replace("\n", "\n" + " " * depth)
