"""Pictures: boxes, regions and labels drawn on images."""

import colorsys
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Neighbouring classes get hues this far apart on the colour circle (the golden ratio), so that any
# number of classes stays well spread.
HUE_STEP = 0.618034
# Saturation and value, in turn: hues come near again after 5, 8, 13, 21, 34, ... classes, none of
# them a multiple of six.
_TONES = ((0.85, 0.95), (0.50, 0.95), (0.90, 0.62), (0.60, 0.75), (0.85, 0.80), (0.45, 0.70))
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
UNMATCHED_COLOR = (214, 20, 30)
IGNORED_COLOR = (245, 245, 245)
_SHADE, _HATCH = (20, 20, 20, 70), (245, 245, 245, 120)
_HATCH_DISTANCE = 9
# Letters, in pixels, are no smaller than this, and no larger than this share of their object; a
# line is no thicker than this share of its narrower side; a label covers no more of an object.
_LEAST_LETTERS, _LETTER_SHARE, _LINE_SHARE, _MOST_COVERED = 10, 0.6, 0.08, 0.1


def class_color(label: int) -> tuple[int, int, int]:
    """Return the colour of a class, the same in every picture."""
    rgb = colorsys.hsv_to_rgb((label * HUE_STEP) % 1.0, *_TONES[label % len(_TONES)])
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue


def is_light(color: tuple[int, int, int]) -> bool:
    """Whether black letters are easier to read on a colour than white ones (Rec. 601 luma)."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140


def draw_detections(
    image: Image.Image,
    boxes: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
) -> Image.Image:
    """Return a copy of an upright image with boxes [n, 4], xyxy in its pixels, and their names."""
    picture = image.convert("RGB")
    draw = ImageDraw.Draw(picture)
    # Lines and letters that are readable on a thumbnail as on a photograph of 20 megapixels.
    line = max(1, round(min(picture.size) / 240))
    letters = max(_LEAST_LETTERS, round(min(picture.size) / 40))
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    # The best detections come first and are drawn last, on top.
    for i in reversed(range(len(boxes))):
        color = class_color(int(labels[i]))
        x1, y1, x2, y2 = (float(v) for v in boxes[i])
        corners = (x1, y1, max(x2 - 1, x1), max(y2 - 1, y1))
        # Neither lines nor letters of a small object are those of a large one: they would hide it.
        width = int(np.clip(min(x2 - x1, y2 - y1) * _LINE_SHARE, 1, line))
        draw.rectangle(corners, outline=color, width=width)
        size = round(np.clip(max(x2 - x1, y2 - y1) * _LETTER_SHARE, _LEAST_LETTERS, letters))
        text = class_names[int(labels[i])]
        if scores is not None:
            text += f" {float(scores[i]):.2f}"
        draw_label(draw, text, boxes[i], color, _font(size), picture.size, boxes)
    return picture


@functools.cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: np.ndarray,
    color: tuple[int, int, int],
    font: Font,
    size: tuple[int, int],
    boxes: np.ndarray,
) -> None:
    """Write a label beside or inside a box, xyxy, where it hides no object; nowhere if it would.

    Args:
        size: width and height of the picture.
        boxes: of all objects [n, 4]; of none more than a tenth is covered.
    """
    _, _, width, height = draw.textbbox((0, 0), text, font=font)
    place = label_place(box, (width + 4, height + 3), size, boxes) if text else None
    if place is None:
        return
    x, y = place
    draw.rectangle((x, y, x + width + 3, y + height + 2), fill=color)
    draw.text((x + 2, y), text, fill=(0, 0, 0) if is_light(color) else (255, 255, 255), font=font)


def label_place(
    box: np.ndarray, label: tuple[float, float], size: tuple[int, int], boxes: np.ndarray
) -> tuple[float, float] | None:
    """Return the left top corner of a label: above its box, inside, below, or at a side of it.

    None: at each of these it would leave the picture, or cover more than a tenth of an object.

    Args:
        label, size: width and height of the label and of the picture.
        boxes: [n, 4] xyxy of all objects, this one included.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = label
    left = max(0.0, min(x1, size[0] - width))
    top = max(0.0, min(y1, size[1] - height))
    places = ((left, y1 - height), (left, top), (left, y2), (x2, top), (x1 - width, top))
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1.0)
    for x, y in places:
        if not (0 <= x <= max(0, size[0] - width) and 0 <= y <= size[1] - height):
            continue
        sides = np.minimum(boxes[:, 2:], (x + width, y + height)) - np.maximum(boxes[:, :2], (x, y))
        if (np.maximum(sides, 0).prod(axis=1) <= _MOST_COVERED * areas).all():
            return x, y
    return None


def draw_dashed_box(
    draw: ImageDraw.ImageDraw,
    box: np.ndarray,
    color: tuple[int, int, int],
    *,
    line: int = 2,
    dash: int = 6,
    gaps: tuple[int, int, int] | None = None,
) -> None:
    """Draw the outline of a box, xyxy, in dashes; `gaps` is the colour between them."""
    x1, y1, x2, y2 = (float(v) for v in box)
    if gaps is not None:
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=gaps, width=line)
    for start in np.arange(x1, x2, 2 * dash):
        end = min(start + dash, x2)
        for y in (y1, max(y2 - line, y1)):
            draw.rectangle((start, y, end, y + line - 1), fill=color)
    for start in np.arange(y1, y2, 2 * dash):
        end = min(start + dash, y2)
        for x in (x1, max(x2 - line, x1)):
            draw.rectangle((x, start, x + line - 1, end), fill=color)


def draw_hatched_box(picture: Image.Image, box: np.ndarray) -> None:
    """Shade and hatch a region of a picture, in place: something that is not looked at."""
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    x1, y1 = max(x1, 0), max(y1, 0)
    x2, y2 = min(x2, picture.width), min(y2, picture.height)
    if x2 <= x1 or y2 <= y1:
        return
    width, height = x2 - x1, y2 - y1
    layer = Image.new("RGBA", (width, height), _SHADE)
    draw = ImageDraw.Draw(layer)
    for x in range(-height, width, _HATCH_DISTANCE):
        draw.line((x, height, x + height, 0), fill=_HATCH, width=1)
    picture.paste(layer, (x1, y1), layer)
    draw_dashed_box(ImageDraw.Draw(picture), np.array([x1, y1, x2, y2]), IGNORED_COLOR)
