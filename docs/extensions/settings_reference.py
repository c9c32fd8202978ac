"""Every setting of a training with its type, default and meaning, read out of config/schema.py.

The comments beside and above the fields of the schema are the meanings. Those of `augment` are in
the docstring of `Augmentation`, whose fields they set.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import annotated_types
import pydantic
import yaml

from keras_retinanet.config import schema
from keras_retinanet.data.pipeline.augment.settings import Augmentation

SOURCES = tuple(Path(inspect.getfile(source)) for source in (schema, Augmentation))

FIELD = re.compile(r"    (\w+): [^#]*?(?:  # (.*))?")


class Setting(NamedTuple):
    """One setting, as a reader of the reference sees it."""

    name: str
    type: str
    default: str
    meaning: str


def sections() -> dict[str, tuple[str, list[Setting]]]:
    """Return each section's introduction and settings."""
    found = {}
    for name, field in schema.Config.model_fields.items():
        section = field.annotation
        intro = inspect.getdoc(section) or ""
        found[name] = (intro, _settings(section))
    return found


def as_markdown() -> str:
    """Return the reference: a heading and a table for each section."""
    parts = []
    for name, (intro, settings) in sections().items():
        rows = [
            f"| `{s.name}` | {_cell(s.type)} | {_cell(s.default)} | {_cell(s.meaning)} |"
            for s in settings
        ]
        head = ["| setting | type | default | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {name}", "", intro, "", *head, *rows]))
    return "\n\n".join(parts) + "\n"


def _settings(section: type[pydantic.BaseModel]) -> list[Setting]:
    meanings = _meanings(section)
    return [
        Setting(name, _type(field), _value(field.default), meanings.get(name, ""))
        for name, field in sorted(
            section.model_fields.items(), key=lambda item: item[0] not in section.__annotations__
        )  # its own before those it inherits, which are for networks of other projects
    ]


def _meanings(section: type[pydantic.BaseModel]) -> dict[str, str]:
    """Return the comments of a section's fields, and of those that it inherits."""
    found: dict[str, str] = {}
    if section is schema.AugmentConfig:
        found |= _attributes(inspect.getdoc(Augmentation) or "")
    for base in reversed(section.__mro__):
        if base.__module__ == schema.__name__:
            found |= _comments(inspect.getsource(base))
    return found


def _comments(source: str) -> dict[str, str]:
    """Return the comment above or beside each field of a class."""
    found = {}
    above: list[str] = []
    for line in source.splitlines():
        if line.startswith("    # "):
            above.append(line[6:].strip())
            continue
        match = FIELD.fullmatch(line)
        if match and (above or match[2]):
            found[match[1]] = " ".join([*above, *([match[2]] if match[2] else [])])
        above = []
    return found


def _attributes(docstring: str) -> dict[str, str]:
    """Return the attributes that a docstring describes; "a, b: ..." describes both."""
    found = {}
    described = docstring.partition("Attributes:\n")[2]
    for names, text in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", described, re.M):
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def _type(field: pydantic.fields.FieldInfo) -> str:
    return _bounded(field.annotation, field.metadata)


def _bounded(annotation: Any, metadata: Iterable[Any]) -> str:
    bounds = [text for item in metadata if (text := _bound(item))]
    return _plain(annotation) + (f" ({', '.join(bounds)})" if bounds else "")


def _plain(annotation: Any) -> str:
    """Return an annotation in words: 'number, null', '"a" or "b"'."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _bounded(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_plain(x) for x in arguments))
    if origin is Literal:
        return ", ".join(f"`{x}`" for x in arguments)
    if origin is tuple:
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        return f"list of {'' if many else f'{len(arguments)} '}{_plain(arguments[0])}"
    if inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel):
        return "{" + ", ".join(f"`{name}`" for name in annotation.model_fields) + "}"
    names = {int: "integer", float: "number", bool: "`true`, `false`", str: "text", dict: "mapping"}
    return names.get(origin or annotation, "null" if annotation is type(None) else str(annotation))


def _bound(item: Any) -> str:
    signs = {
        annotated_types.Gt: ("> ", "gt"),
        annotated_types.Ge: ("≥ ", "ge"),
        annotated_types.Lt: ("< ", "lt"),
        annotated_types.Le: ("≤ ", "le"),
    }
    if isinstance(item, pydantic.fields.FieldInfo):
        return ", ".join(text for each in item.metadata if (text := _bound(each)))
    if type(item) in signs:
        sign, name = signs[type(item)]
        return f"{sign}{getattr(item, name):g}"
    if isinstance(item, pydantic.AfterValidator) and item.func.__closure__:
        # The names that `_named_or_dotted` allows.
        names = [c.cell_contents for c in item.func.__closure__]
        return ", ".join(f"`{x}`" for each in names for x in each)
    return ""


def _value(default: Any) -> str:
    if isinstance(default, tuple):
        default = [round(x, 4) if isinstance(x, float) else x for x in default]
    elif isinstance(default, float):
        default = round(default, 4)
    text = yaml.safe_dump(default, default_flow_style=True, width=1000)
    return f"`{text.removesuffix(chr(10)).removesuffix('...').strip()}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
