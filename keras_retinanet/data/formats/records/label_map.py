"""Label maps: the names of class numbers, in a .pbtxt (Object Detection API) or a YAML file."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.errors import DataError

_PACKAGE = "keras_retinanet"
_SEPARATORS = frozenset(":,;[]")


def read_label_map(path: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Return the shown name of each id, and the id of each name that records may use.

    The two differ where a .pbtxt has a code as `name` beside a `display_name`.

    Raises:
        DataError: the file is malformed (with its line), or says a thing twice.
    """
    if path.suffix in (".yaml", ".yml"):
        return label_map_of(read_yaml(path), str(path))
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: {error}") from error
    names: dict[int, str] = {}
    aliases: list[tuple[str, int]] = []
    for line, item in _items(content, path):
        name = item.display_name or item.name
        if not name or not item.HasField("id") or item.id < 0:
            raise DataError(f"{path}:{line}: an item needs a name and an id of 0 or more")
        if item.id in names:
            raise DataError(f"{path}:{line}: the id {item.id} is used twice")
        names[item.id] = name
        aliases += [(alias, item.id) for alias in {name, item.name or name}]
    return _checked(names, aliases, str(path))


def label_map_of(classes: dict | list, source: str) -> tuple[dict[int, str], dict[str, int]]:
    """Return the same for classes written in a YAML: {id: name}, or names with ids from 1 on."""
    if isinstance(classes, list):
        classes = dict(enumerate(classes, start=1))
    for class_id, name in classes.items():
        is_id = isinstance(class_id, int) and not isinstance(class_id, bool) and class_id >= 0
        if not is_id or not isinstance(name, str) or not name:
            raise DataError(f"{source}: expected `id: name`, not {class_id!r}: {name!r}")
    return _checked(dict(classes), [(n, i) for i, n in classes.items()], source)


def format_label_map(names: dict[int, str]) -> str:
    """Return the text of a .pbtxt."""
    label_map = _label_map_class()()
    for class_id, name in names.items():
        label_map.item.add(id=class_id, name=name)
    return text_format.MessageToString(label_map, as_utf8=True)


def _checked(
    names: dict[int, str], aliases: list[tuple[str, int]], source: str
) -> tuple[dict[int, str], dict[str, int]]:
    id_of = dict(aliases)
    if not names:
        raise DataError(f"{source} names no class")
    if len(id_of) < len(aliases):
        raise DataError(f"{source}: a class name is used twice")
    return dict(sorted(names.items())), id_of


@cache
def _label_map_class() -> type[Any]:
    """Return the class of a protobuf message that has what counts here of StringIntLabelMap.

    Described here, since the Object Detection API's own is in no package that we depend on. Its
    other fields (keypoints, frequency and so on) are passed over when a text is read.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="label_map.proto", package=_PACKAGE)
    item = file.message_type.add(name="Item")
    kinds = {"id": field.TYPE_INT32, "name": field.TYPE_STRING, "display_name": field.TYPE_STRING}
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        item.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    file.message_type.add(name="LabelMap").field.add(
        name="item",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.Item",
        label=field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.LabelMap"))


def _items(content: str, path: Path) -> list[tuple[int, Any]]:
    """Return the line and the message of each item of a text."""
    lines = content.split("\n")
    label_map = _label_map_class()()
    try:
        text_format.ParseLines(lines, label_map, allow_unknown_field=True)
        places = _places(lines)
    except text_format.ParseError as error:
        line = error.GetLine()  # of some errors protobuf does not tell it
        if line is None:
            raise DataError(f"{path}: not a label map: {error}") from error
        # Protobuf repeats the place and the whole line: "2:8 : 'item { id: x }': Expected ...".
        problem = re.sub(r"^\d+:\d+ : ", "", str(error)).removeprefix(f"'{lines[line - 1]}': ")
        raise DataError(f"{path}:{line}: not a label map: {problem}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a label map: messages in too many others") from error
    return list(zip(places, label_map.item, strict=True))


def _places(lines: Sequence[str]) -> list[int]:
    """Return the lines on which items begin, which protobuf does not keep.

    Raises:
        ParseError: there is something else beside items, which reading has passed over.
    """
    tokens = text_format.Tokenizer(lines)
    depth, places = 0, []
    while not tokens.AtEnd():
        if tokens.token in ("{", "<"):
            if depth == 0:
                places.append(tokens.ParseError("").GetLine())
            depth += 1
        elif tokens.token in ("}", ">"):
            depth -= 1
        elif depth == 0 and tokens.token not in _SEPARATORS and tokens.token != "item":
            raise tokens.ParseError(f"expected item {{ ... }}, not {tokens.token!r}")
        tokens.NextToken()
    return places
