"""The directives that put the generated references into pages, and docstrings as plain text."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import command_reference
import settings_reference
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class GeneratedReference(SphinxDirective):
    """`settings-reference` and `command-reference`: Markdown made when the site is built."""

    has_content = True  # what readers of the page itself see in its place
    make: ClassVar[Callable[[], str]]
    sources: ClassVar[tuple[Path, ...]]

    def run(self) -> list[nodes.Node]:
        for source in self.sources:
            self.env.note_dependency(str(source))
        return self.parse_text_to_nodes(type(self).make(), allow_section_headings=True)


class SettingsReference(GeneratedReference):
    make = staticmethod(settings_reference.as_markdown)
    sources = settings_reference.SOURCES


class CommandReference(GeneratedReference):
    make = staticmethod(command_reference.as_markdown)
    sources = command_reference.SOURCES


def escape_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape what reStructuredText would take for markup: |x|, *x and name_, outside of `code`."""
    lines[:] = _one_attribute_each(lines)
    for i, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [
            re.sub(r"([|*\\]|_\b(?!\w)|(?<=\w)_(?=\W|$))", r"\\\1", x) for x in parts[::2]
        ]
        lines[i] = "`".join(parts)


def _one_attribute_each(lines: list[str]) -> list[str]:
    """Return a docstring with "a, b: ..." under Attributes as an entry for each."""
    text = "\n".join(lines)
    head, title, attributes = text.partition("\nAttributes:\n")
    entry = r"^    (\w+(?:, \w+)+): (.*(?:\n {8}.*)*)"
    attributes = re.sub(
        entry,
        lambda match: "\n".join(f"    {name}: {match[2]}" for name in match[1].split(", ")),
        attributes,
        flags=re.MULTILINE,
    )
    return (head + title + attributes).split("\n")


def shorten_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: Any, returned: Any
) -> tuple[Any, Any] | None:
    """Leave out where types come from: ~numpy.ndarray is ndarray."""
    if not signature:
        return None
    return tuple(text and re.sub(r"~(?:\w+\.)+", "", text) for text in (signature, returned))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("settings-reference", SettingsReference)
    app.add_directive("command-reference", CommandReference)
    # Before napoleon, which writes markup of its own.
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    app.connect("autodoc-process-signature", shorten_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
