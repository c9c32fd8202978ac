"""Every verb of the command line with its arguments and options, as `--help` tells them."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from keras_retinanet import cli
from keras_retinanet.cli.app import app

SOURCES = tuple(sorted(Path(cli.__file__).parent.rglob("*.py")))


def as_markdown() -> str:
    """Return the reference: a heading, a usage line and a table for each verb."""
    return "\n\n".join(_described(name, command) for name, command in verbs()) + "\n"


def verbs() -> Iterator[tuple[str, Any]]:
    """Yield each verb, such as "data check", and its command, in the order of `--help`."""
    for name, command in typer.main.get_command(app).commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", below[each]) for each in below)


def _described(name: str, command: Any) -> str:
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if not _is_option(param)]
    options = [param for param in shown if _is_option(param) and param.name != "help"]
    usage = " ".join(["retinanet", name, *map(_placeholder, arguments), "[OPTIONS]"])
    text = _escaped(inspect.cleandoc(command.help or ""))
    table = ["| | |", "|---|---|", *(_row(param) for param in [*arguments, *options])]
    return "\n".join([f"## {name}", "", "```text", usage, "```", "", text, "", *table])


def _row(param: Any) -> str:
    notes = [_escaped(param.help or "")]
    if getattr(param, "is_flag", False) is False and param.default not in (None, False, ()):
        notes.append(f"Default: `{param.default}`.")
    if _is_option(param) and param.required:
        notes.append("Required.")
    if param.envvar:
        notes.append(f"Or the environment variable `{param.envvar}`.")
    return f"| {_spelling(param)} | {' '.join(notes)} |"


def _spelling(param: Any) -> str:
    if not _is_option(param):
        return f"`{_metavar(param)}`"
    names = " / ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} `{_metavar(param)}`"


def _placeholder(param: Any) -> str:
    many = param.nargs == -1 and not _metavar(param).endswith("...")
    text = _metavar(param) + ("..." if many else "")
    return text if param.required else f"[{text}]"


def _metavar(param: Any) -> str:
    return param.metavar or param.name.upper().replace("_", "-")


def _is_option(param: Any) -> bool:
    return param.opts[0].startswith("-")


def _escaped(text: str) -> str:
    """Return plain text with `code` as Markdown."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([|<*_])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
