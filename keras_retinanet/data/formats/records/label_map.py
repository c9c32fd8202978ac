"""Label maps: the names of class numbers, in a .pbtxt (Object Detection API) or a YAML file."""

import re
from pathlib import Path

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.errors import DataError

# Text format of protocol buffers: a comment, a string, a bracket, or a name, number, "-1.5e3".
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<sign>[{}<>:,;\[\]])
    |(?P<word>[\w.+-]+)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f"}
_OPENING, _CLOSING = ("{", "<", "["), ("}", ">", "]")


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
    names, aliases = {}, []
    for line, item in _items(content, path):
        class_id, name = item.get("id"), item.get("display_name") or item.get("name")
        if not name or not re.fullmatch(r"\d{1,9}", class_id or ""):
            raise DataError(f"{path}:{line}: an item needs a name and an id of 0 or more")
        if int(class_id) in names:
            raise DataError(f"{path}:{line}: the id {class_id} is used twice")
        names[int(class_id)] = name
        aliases += [(alias, int(class_id)) for alias in {name, item.get("name", name)}]
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
    return "".join(f"item {{\n  id: {i}\n  name: {_quoted(n)}\n}}\n" for i, n in names.items())


def _checked(
    names: dict[int, str], aliases: list[tuple[str, int]], source: str
) -> tuple[dict[int, str], dict[str, int]]:
    id_of = dict(aliases)
    if not names:
        raise DataError(f"{source} names no class")
    if len(id_of) < len(aliases):
        raise DataError(f"{source}: a class name is used twice")
    return dict(sorted(names.items())), id_of


def _items(content: str, path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the plain fields of each item; messages inside an item are passed over.

    Separators mean nothing here: "id", ":", "1" and "id", "1" are the same.
    """
    items: list[tuple[int, dict[str, str]]] = []
    depth, key, place, line = 0, "", 0, 1
    while place < len(content):
        match = _TOKEN.match(content, place)
        if not match:
            raise DataError(f"{path}:{line}: not a label map: unexpected {content[place]!r}")
        place, start = match.end(), line
        line += match[0].count("\n")
        token = match["text"] or match["sign"] or match["word"]
        if token in _OPENING:
            depth += 1
            if depth == 1:
                if key != "item":
                    raise DataError(f"{path}:{start}: not a label map: expected item {{ ... }}")
                items.append((start, {}))
            key = ""
        elif token in _CLOSING:
            depth, key = depth - 1, ""
            if depth < 0:
                raise DataError(f"{path}:{start}: not a label map: unexpected {token!r}")
        elif token and token not in (":", ",", ";"):
            if not key:
                key = token
            elif depth == 0:
                raise DataError(f"{path}:{start}: not a label map: unexpected {token!r}")
            else:
                if depth == 1:
                    items[-1][1][key] = _unquoted(token) if match["text"] else token
                key = ""
    if depth:
        raise DataError(f"{path}:{line}: not a label map: an item is not closed")
    return items


def _quoted(name: str) -> str:
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        name = name.replace(char, escaped)
    return f'"{name}"'


def _unquoted(token: str) -> str:
    def char(match: re.Match) -> bytes:
        code = match[1]
        if code[:1].isdigit() and code[:1] < b"8":
            return bytes([int(code, 8) & 255])
        if code[:1] in b"xX" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(char, token[1:-1].encode("utf-8", "replace")).decode("utf-8", "replace")
