"""A sheet of pictures with their objects, for a look at a data set in one image."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_retinanet.detection.drawing import (
    UNMATCHED_COLOR,
    Font,
    class_color,
    draw_dashed_box,
    draw_hatched_box,
    draw_label,
)
from keras_retinanet.reports.gallery import Picture

CELL = 460  # width of a picture on the sheet, in pixels
GAP = 14
TEXT_SIZE = 13
LINE_HEIGHT = 18
BACKGROUND, CARD, TEXT, FAINT = (238, 240, 243), (255, 255, 255), (25, 28, 32), (105, 112, 120)
WARNING = (178, 70, 0)
# A picture taller than this times its cell's width is made narrower.
MAX_CELL_RATIO = 0.8


def contact_sheet(
    pictures: Sequence[Picture], class_names: Sequence[str], *, columns: int | None = None
) -> Image.Image:
    """Return the pictures side by side, with names, captions and remarks below each."""
    columns = columns or max(1, min(4, math.ceil(math.sqrt(len(pictures)))))
    cards = [_card(picture, class_names) for picture in pictures]
    rows = [cards[i : i + columns] for i in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    size = (columns * (CELL + GAP) + GAP, sum(heights) + GAP * (len(rows) + 1))
    sheet = Image.new("RGB", size, BACKGROUND)
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            x = GAP + column * (CELL + GAP)
            sheet.paste(CARD, (x, y, x + CELL, y + height))
            sheet.paste(card, (x, y))
        y += height + GAP
    return sheet


def draw_picture(picture: Picture, class_names: Sequence[str], scale: float) -> Image.Image:
    """Return a picture at `scale` with its objects; lines and letters do not scale with it."""
    width, height = (max(1, round(side * scale)) for side in picture.image.size)
    drawn = picture.image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    font = ImageFont.load_default(size=TEXT_SIZE - 2)
    if picture.anchors is not None and picture.anchor_objects is not None:
        colors = [class_color(int(picture.labels[i])) for i in picture.anchor_objects]
        _draw_anchors(drawn, picture.anchors * scale, colors)
    draw = ImageDraw.Draw(drawn)
    boxes = picture.boxes * scale
    for box in boxes[picture.is_ignored]:
        draw_hatched_box(drawn, box)
    unmatched = picture.is_unmatched
    # Large boxes first, so that small ones and their labels stay in sight.
    by_area = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")
    order = [i for i in by_area if not picture.is_ignored[i]]
    for i in order:
        color = class_color(int(picture.labels[i]))
        if unmatched[i]:
            draw_dashed_box(draw, boxes[i], UNMATCHED_COLOR, line=3, dash=5, gaps=CARD)
        else:
            x1, y1, x2, y2 = boxes[i]
            draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=color, width=2)
    for i in order:
        name = class_names[int(picture.labels[i])]
        color = UNMATCHED_COLOR if unmatched[i] else class_color(int(picture.labels[i]))
        draw_label(draw, name, boxes[i], color, font, drawn.size, boxes[order])
    return drawn


def _draw_anchors(
    drawn: Image.Image, anchors: np.ndarray, colors: Sequence[tuple[int, int, int]]
) -> None:
    """Draw the anchors thin and half transparent: there are dozens to an object."""
    layer = Image.new("RGBA", drawn.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for box, color in zip(anchors, colors, strict=True):
        draw.rectangle(tuple(box), outline=(*color, 110), width=1)
    drawn.paste(layer, (0, 0), layer)


def _card(picture: Picture, class_names: Sequence[str]) -> Image.Image:
    width, height = picture.image.size
    scale = min(CELL / width, CELL * MAX_CELL_RATIO / height)
    drawn = draw_picture(picture, class_names, scale)
    title_font = ImageFont.load_default(size=TEXT_SIZE + 1)
    font = ImageFont.load_default(size=TEXT_SIZE)
    lines = [(picture.title, TEXT, title_font), (picture.caption, FAINT, font)]
    if count := int(picture.is_unmatched.sum()):
        lines.append((f"{count} without an anchor", UNMATCHED_COLOR, font))
    lines += [(remark, WARNING, font) for remark in picture.remarks[:3]]
    if len(picture.remarks) > 3:
        lines.append((f"and {len(picture.remarks) - 3} more", WARNING, font))
    card = Image.new("RGB", (CELL, drawn.height + LINE_HEIGHT * len(lines) + 14), CARD)
    card.paste(drawn, ((CELL - drawn.width) // 2, 0))
    draw = ImageDraw.Draw(card)
    for i, (text, color, line_font) in enumerate(lines):
        y = drawn.height + 6 + i * LINE_HEIGHT
        draw.text((8, y), _shortened(text, line_font, CELL - 16), fill=color, font=line_font)
    return card


def _shortened(text: str, font: Font, width: int) -> str:
    """Return the text without its middle, if it is too long: names differ at their ends."""
    cut = len(text)
    shown = text
    while font.getlength(shown) > width and cut > 2:
        cut -= 2
        shown = f"{text[: cut // 2]}...{text[-(cut // 2) :]}"
    return shown
