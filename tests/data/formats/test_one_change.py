"""A file that is changed in one place never yields fewer objects without a finding that says so.

A change is another value, or another name of a key, an element or a title: whole records that are
taken away cannot be missed by anyone.
"""

import json
import random
import re

import pytest

from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError, DataError
from tests.data.formats.test_fuzz import FORMATS

NUM_QUICK = 40
VALUES = [
    None, True, False, -1, 0, 1, 2, 10**6, 10**30, 0.5, "", " ", "x", "0", "1", "cat ",
    "CAT", "a.jpg",
]  # fmt: skip


def other_names(name):
    return {name.upper(), name.capitalize(), f"{name}s", f"x{name}", name[:-1], f"{name} "} - {name}


def json_changes(text):
    """Yield the text with one leaf or one key changed, and what was done."""
    content = json.loads(text)
    for node, path in nodes(content, ""):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            kept = node[key]
            if not isinstance(kept, dict | list):
                for value in VALUES:
                    node[key] = value
                    yield json.dumps(content), f"{path}/{key}: {kept!r} -> {value!r}"
            node[key] = kept
            if isinstance(node, dict):
                entries = dict(node)
                for name in other_names(key):
                    node.clear()
                    node.update({(name if k == key else k): v for k, v in entries.items()})
                    yield json.dumps(content), f"{path}/{key} -> {name!r}"
                node.clear()
                node.update(entries)


def nodes(node, path):
    if isinstance(node, dict | list):
        yield node, path
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from nodes(node[key], f"{path}/{key}")


def xml_changes(text):
    """Yield the text with one element renamed or emptied, or one text or attribute changed."""
    for match in re.finditer(r"<(\w+)([^<>]*)>([^<>]*)</\1>", text):
        tag, attributes, inner = match.groups()
        for value in VALUES:
            new = f"<{tag}{attributes}>{'' if value is None else value}</{tag}>"
            yield text[: match.start()] + new + text[match.end() :], f"{match[0]} -> {new}"
        for name in other_names(tag):
            new = f"<{name.strip()}{attributes}>{inner}</{name.strip()}>"
            yield text[: match.start()] + new + text[match.end() :], f"{match[0]} -> {new}"
    for match in re.finditer(r'(\w+)="([^"]*)"', text):
        for value in VALUES:
            new = f'{match[1]}="{"" if value is None else value}"'
            yield text[: match.start()] + new + text[match.end() :], f"{match[0]} -> {new}"
        for name in other_names(match[1]):
            new = f'{name.strip()}="{match[2]}"'
            yield text[: match.start()] + new + text[match.end() :], f"{match[0]} -> {new}"


def cell_changes(text):
    """Yield the text with one cell, or one delimiter, changed."""
    for match in re.finditer(r"[^,;\s]+", text):
        is_line = match[0] in text.splitlines()
        others = {"" if v is None else str(v) for v in VALUES} | other_names(match[0])
        for value in sorted(others - {match[0]}):
            if is_line and not value.strip():
                continue
            yield (
                text[: match.start()] + value + text[match.end() :],
                f"{match.start()}: {match[0]!r} -> {value!r}",
            )


def changes(path):
    """Return every change of a file, as (text, what was done)."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        lines = text.splitlines()
        return [
            ("\n".join([*lines[:i], changed, *lines[i + 1 :]]), f"line {i + 1}{told}")
            for i, line in enumerate(lines)
            for changed, told in json_changes(line)
        ]
    change = {".json": json_changes, ".xml": xml_changes}.get(path.suffix, cell_changes)
    return list(change(text))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, picture):
    made = {}
    for name, (maker, files) in FORMATS.items():
        folder = maker(tmp_path_factory.mktemp(name), picture)
        for image in ("a.jpg", "b.jpg"):
            folder.add_image(image, (64, 64))
            folder.add_box(image, (8, 4, 40, 30), "cat")
            folder.add_box(image, (2, 2, 30, 60), "dog")
        dataset = folder.load()
        assert dataset.num_boxes == 4
        # What it says without a change does not count.
        made[name] = (folder.root, files, {finding.problem for finding in dataset.findings})
    return made


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_some_changes(folders, name):
    assert lost_in_silence(*folders[name], limit=NUM_QUICK) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_change(folders, name):
    assert lost_in_silence(*folders[name], limit=None) == []


def lost_in_silence(root, files, known, *, limit):
    """Return the changes after which objects are missing and nothing says so."""
    lost, num_read = [], 0
    for path in (root / file for file in files):
        sound = path.read_bytes()
        cases = changes(path)
        if limit is not None and len(cases) > limit:
            cases = random.Random(path.name).sample(cases, limit)
        try:
            for text, told in cases:
                path.write_text(text)
                try:
                    dataset = load_dataset(root / "data.yaml", "train", decode_images=False)
                except (DataError, ConfigError):
                    continue  # it is refused, which nobody overlooks
                num_read += 1
                news = {finding.problem for finding in dataset.findings} - known
                if dataset.num_boxes < 4 and not news:
                    lost.append(f"{path.name}: {told}: {dataset.num_boxes} boxes")
        finally:
            path.write_bytes(sound)
    assert num_read > 0
    return lost
