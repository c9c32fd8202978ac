"""Pictures: detections drawn on images."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Neighbouring classes get hues this far apart on the colour circle (the golden ratio), so that any
# number of classes stays well spread.
HUE_STEP = 0.618034


def class_color(label: int) -> tuple[int, int, int]:
    """Return the colour of a class, the same in every picture."""
    rgb = colorsys.hsv_to_rgb((label * HUE_STEP) % 1.0, 0.85, 0.95)
    return tuple(round(255 * channel) for channel in rgb)


def draw_detections(
    image: Image.Image,
    boxes: np.ndarray,
    labels: Sequence[int],
    class_names: Sequence[str],
    scores: Sequence[float] | None = None,
) -> Image.Image:
    """Return a copy of an upright image with boxes [n, 4], xyxy in its pixels, and their names."""
    picture = image.convert("RGB")
    draw = ImageDraw.Draw(picture)
    # Lines and letters that are readable on a thumbnail as on a photograph of 20 megapixels.
    line = max(1, round(min(picture.size) / 240))
    font = ImageFont.load_default(size=max(10, round(min(picture.size) / 40)))
    # The best detections come first and are drawn last, on top.
    for i in reversed(range(len(boxes))):
        color = class_color(int(labels[i]))
        x1, y1, x2, y2 = (float(v) for v in boxes[i])
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=color, width=line)
        text = class_names[int(labels[i])]
        if scores is not None:
            text += f" {float(scores[i]):.2f}"
        _draw_label(draw, text, (x1, y1), color, font, picture.size)
    return picture


def _draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    color: tuple[int, int, int],
    font: ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write a label above the box's corner, or inside where there is no room, within the image."""
    _, _, width, height = draw.textbbox((0, 0), text, font=font)
    x = max(0.0, min(corner[0], size[0] - width - 4))
    y = corner[1] - height - 2 if corner[1] >= height + 2 else corner[1]
    draw.rectangle((x, y, x + width + 3, y + height + 2), fill=color)
    is_light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    draw.text((x + 2, y), text, fill=(0, 0, 0) if is_light else (255, 255, 255), font=font)
