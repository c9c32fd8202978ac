"""One self-contained HTML page of pictures: boxes, labels, ignored regions and anchors as vector
graphics over embedded images, with filters by class and by what is remarkable."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import ANY_CLASS
from keras_retinanet.detection.drawing import class_color, is_light
from keras_retinanet.reports.gallery import Picture
from keras_retinanet.reports.pages.page import jpeg_url

# Larger images are embedded smaller: the page is for looking, and is to stay a few megabytes.
MAX_EMBEDDED_SIDE = 1024
JPEG_QUALITY = 85
# Letters are this share of the image's longer side.
LETTER_SHARE = 1 / 36
TEMPLATE = Path(__file__).with_name("gallery_page.html")


def write_page(
    pictures: Sequence[Picture],
    class_names: Sequence[str],
    path: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the page; `notes` are lines below its title."""
    counts = np.zeros(len(class_names), int)
    for picture in pictures:
        np.add.at(counts, picture.labels[~picture.is_ignored], 1)
    parts = {
        "TITLE": html.escape(title),
        "NOTES": "".join(f"<p>{html.escape(note)}</p>" for note in notes),
        "CLASSES": "\n".join(
            _class_box(label, class_names[label], counts[label])
            for label in np.argsort(-counts, kind="stable")
            if counts[label]
        ),
        "TOGGLES": "\n".join(_toggles(pictures)),
        "CARDS": "\n".join(_card(picture, class_names) for picture in pictures),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    path.write_text(page, encoding="utf-8")


def _class_box(label: int, name: str, count: int) -> str:
    return (
        f'<label class="class"><input type="checkbox" data-class="{label}" checked>'
        f'<i style="background:{_css(label)}"></i>{html.escape(name)}<b>{count}</b></label>'
    )


def _toggles(pictures: Sequence[Picture]) -> list[str]:
    """Return check boxes for what the pictures have."""
    shown = {"boxes": "boxes", "labels": "labels"}
    if any(picture.is_ignored.any() for picture in pictures):
        shown["ignored"] = "ignored regions"
    if any(picture.anchors is not None for picture in pictures):
        shown["anchors"] = "anchors"
    only = {}
    if any(picture.is_unmatched.any() for picture in pictures):
        only["unmatched"] = "only with an object without an anchor"
    if any(picture.remarks for picture in pictures):
        only["remarked"] = "only with findings"
    return [
        f'<label><input type="checkbox" data-show="{name}" checked>{text}</label>'
        for name, text in shown.items()
    ] + [
        f'<label><input type="checkbox" data-only="{name}">{text}</label>'
        for name, text in only.items()
    ]


def _card(picture: Picture, class_names: Sequence[str]) -> str:
    width, height = picture.image.size
    unmatched = int(picture.is_unmatched.sum())
    states = ["card"] + ["unmatched"] * bool(unmatched) + ["remarked"] * bool(picture.remarks)
    remarks = [f"{unmatched} without an anchor"] * bool(unmatched) + picture.remarks
    listed = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks)
    return (
        f'<figure class="{" ".join(states)}" data-name="{html.escape(picture.title.lower())}">'
        f'<svg viewBox="0 0 {width} {height}" style="--letters:'
        f'{max(max(width, height) * LETTER_SHARE, 4):.1f}px">'
        f'<image href="{_data_url(picture.image)}" width="{width}" height="{height}"/>'
        f"{_shapes(picture, class_names)}</svg>"
        f"<figcaption><strong>{html.escape(picture.title)}</strong>"
        f"<span>{html.escape(picture.caption)}</span>"
        f"{f'<ul>{listed}</ul>' if listed else ''}</figcaption></figure>"
    )


def _shapes(picture: Picture, class_names: Sequence[str]) -> str:
    shapes = []
    room = 1.4 * max(picture.image.size) * LETTER_SHARE
    if picture.anchors is not None and picture.anchor_objects is not None:
        for box, i in zip(picture.anchors, picture.anchor_objects, strict=True):
            label = int(picture.labels[i])
            shapes.append(
                f'<rect class="anchor c{label}" {_geometry(box)} stroke="{_css(label)}"/>'
            )
    boxes, unmatched = picture.boxes, picture.is_unmatched
    # Large boxes first: the pointer reaches the small ones.
    for i in np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable"):
        label = int(picture.labels[i])
        name = "any class" if label == ANY_CLASS else html.escape(class_names[label])
        width, height = boxes[i, 2:] - boxes[i, :2]
        hint = f"<title>{name}, {width:.0f} x {height:.0f}</title>"
        if picture.is_ignored[i]:
            hint = f"<title>{name}: ignored region</title>"
            shapes.append(f'<rect class="ignored" {_geometry(boxes[i])}>{hint}</rect>')
            continue
        kind, color, ink = f"c{label}", f' stroke="{_css(label)}"', _ink(label)
        if unmatched[i]:
            shapes.append(f'<rect class="under {kind}" {_geometry(boxes[i])}/>')
            kind, color, ink = f"{kind} missed", "", "#fff"
            hint = f"<title>{name}, {width:.0f} x {height:.0f}: no anchor finds it</title>"
        shapes.append(f'<rect class="box {kind}" {_geometry(boxes[i])}{color}>{hint}</rect>')
        shapes.append(
            f'<text class="label {kind}" x="{boxes[i, 0]:.1f}" y="{boxes[i, 1]:.1f}" '
            f'dx=".25em" dy="{"-.35em" if boxes[i, 1] > room else "1em"}"{color} fill="{ink}">'
            f"{name}</text>"
        )
    return "".join(shapes)


def _geometry(box: np.ndarray) -> str:
    x1, y1, x2, y2 = box
    return f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'


def _css(label: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*class_color(int(label)))


def _ink(label: int) -> str:
    return "#000" if is_light(class_color(label)) else "#fff"


def _data_url(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((MAX_EMBEDDED_SIDE, MAX_EMBEDDED_SIDE))
    return jpeg_url(small, quality=JPEG_QUALITY)
