"""Draws what the demo data set shows: objects, their ground, distractors; and the camera."""

import colorsys
import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Gold, steel, rust, green and pink on grounds of any, paler hue: colour helps to tell classes and
# objects apart within minutes of training, and does not do it alone.
HUES = {"coin": 0.13, "screw": 0.58, "gear": 0.02, "leaf": 0.35, "donut": 0.85}
SHADOW_REACH = 10  # pixels a shadow may stick out of its object
JPEG_QUALITY = (55, 90)


def draw_sprite(
    name: str, side: float, light: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an object seen from above: alpha [S, S], colour [S, S, 3], shadow's darkness [S, S].

    Args:
        name: one of SHAPES.
        side: of the object's longer axis, in pixels.
        light: direction the light comes from, in radians.
    """
    half = side / 2
    reach = math.ceil(half) + SHADOW_REACH
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    turn = rng.uniform(0, 2 * math.pi)
    u = (x * math.cos(turn) + y * math.sin(turn)) / half
    v = (y * math.cos(turn) - x * math.sin(turn)) / half
    distance, texture = SHAPES[name](u, v, rng)
    slope = np.hypot(*np.gradient(distance)) + 1e-6
    alpha = np.clip(0.5 - distance / slope, 0, 1)  # edge one pixel wide: antialiased

    hue, saturation = HUES[name] + rng.normal(0, 0.04), rng.uniform(0.5, 1.0)
    pale = np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.7, 1.0)), np.float32)
    hue += rng.normal(0, 0.04)
    deep = np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.2, 0.45)), np.float32)
    if rng.random() < 0.5:
        pale, deep = deep, pale
    colour = 255 * (deep + np.clip(texture, 0, 1)[..., None] * (pale - deep))
    towards_light = -(x * math.cos(light) + y * math.sin(light)) / half
    rim = np.clip(1 + distance / 0.12, 0, 1)  # the outer 12 % fall off into the dark
    colour *= (1 + rng.uniform(0.1, 0.3) * towards_light - 0.35 * rim)[..., None]

    offset = np.round(rng.uniform(2, 5) * np.array([math.sin(light), math.cos(light)])).astype(int)
    softness = rng.uniform(2, 5)
    shadow = np.clip(0.5 - np.roll(distance, offset, (0, 1)) * half / softness, 0, 1)
    return alpha, colour, rng.uniform(0.25, 0.6) * shadow


def draw_background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return a textured ground in two colours of any hue: float32 [height, width, 3]."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, 2 * math.pi)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    cloud = sum(_noise(height, width, cell, rng) * cell / 64 for cell in (64, 32, 16, 8))
    tile = rng.uniform(5, 18)
    fields = {
        "cloud": lambda: cloud,
        "gradient": lambda: (along - along.mean()) / np.ptp(along) * 2 + 0.3 * cloud,
        "stripes": lambda: np.sin(along / rng.uniform(3, 14) + rng.uniform(0, 3) * cloud),
        "speckle": lambda: np.tanh(4 * _noise(height, width, 3, rng)) + 0.3 * cloud,
        "tiles": lambda: np.tanh(9 * np.sin(along / tile) * np.sin(across / tile)) + 0.5 * cloud,
    }
    field = np.clip(0.5 + 0.5 * fields[rng.choice(list(fields))](), 0, 1)[..., None]
    first = np.array(
        colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.3, 1)), np.float32
    )
    second = first + np.float32(rng.uniform(-0.3, 0.3)) + np.float32(rng.uniform(-0.1, 0.1, 3))
    pixels = 255 * (first + field * (second - first))
    grain = _noise(height, width, 2, rng) * rng.uniform(2, 14)
    return np.clip(pixels + grain[..., None], 0, 255).astype(np.float32)


def draw_distractors(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the ground [H, W, 3] with lines, blobs, arcs and letter-like strokes, no objects."""
    height, width = pixels.shape[:2]
    layer = Image.new("RGBA", (2 * width, 2 * height))  # twice the size: antialiased when reduced
    draw = ImageDraw.Draw(layer)
    for kind in rng.choice(["line", "blob", "arc", "letter"], rng.integers(0, 6)):
        ink = (*(int(c) for c in rng.integers(0, 256, 3)), int(rng.integers(120, 240)))
        x, y = rng.uniform((0, 0), layer.size)
        size, thick = rng.uniform(20, 90), int(rng.integers(2, 9))
        if kind == "line":
            draw.line([x, y, *rng.uniform((0, 0), layer.size)], ink, thick)
        elif kind == "blob":
            angles = np.sort(rng.uniform(0, 2 * math.pi, 9))
            rims = size * rng.uniform(0.3, 1, 9)
            corners = np.stack([x + rims * np.cos(angles), y + rims * np.sin(angles)], 1)
            draw.polygon([tuple(corner) for corner in corners.tolist()], ink)
        elif kind == "arc":
            start = rng.uniform(0, 360)
            draw.arc([x - size, y - size, x + size, y + size], start, start + 110, ink, thick)
        else:
            strokes = np.array([x, y]) + size * rng.uniform(-0.6, 0.6, (5, 2))
            draw.line([tuple(point) for point in strokes.tolist()], ink, thick, joint="curve")
    layer = layer.reduce(2)
    ground = Image.fromarray(pixels.astype(np.uint8)).convert("RGBA")
    return np.asarray(Image.alpha_composite(ground, layer).convert("RGB")).astype(np.float32)


def photograph(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    """Return the JPEG file that a camera makes of pixels [H, W, 3]: contrast, brightness, blur and
    noise are its own."""
    contrast, brightness = rng.uniform(0.8, 1.15), rng.uniform(-25, 25)
    pixels = pixels * contrast + (128 * (1 - contrast) + brightness)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 6)
    image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(*JPEG_QUALITY, endpoint=True)))
    return file.getvalue()


# Of u and v in units of half the object's longer axis, which lies along u: the signed distance to
# the edge (inside < 0) in the same units, and the texture in 0 … 1.
Shape = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def _coin(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    radius = np.hypot(u, v)
    return radius - 1, 0.5 + 0.5 * np.cos(radius * rng.uniform(13, 19))


def _screw(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    half_width, corner = rng.uniform(0.4, 0.5), 0.12
    past_u, past_v = np.abs(u) - 1 + corner, np.abs(v) - half_width + corner
    outside = np.hypot(np.maximum(past_u, 0), np.maximum(past_v, 0))
    distance = outside + np.minimum(np.maximum(past_u, past_v), 0) - corner
    thread = np.cos(rng.uniform(11, 16) * (u + 0.5 * v))
    return distance, 0.5 + 0.5 * np.tanh(3 * thread)


def _gear(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    radius, teeth = np.hypot(u, v), rng.integers(7, 11)
    edge = 0.84 + 0.16 * np.tanh(2.5 * np.cos(teeth * np.arctan2(v, u)))
    hub = np.clip((radius - rng.uniform(0.28, 0.4)) / 0.06, 0, 1)
    return radius - edge, hub * (0.85 + 0.15 * np.cos(12 * radius))


def _leaf(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    half_width, veins = rng.uniform(0.42, 0.55), rng.uniform(16, 24)
    ribs = np.clip(np.cos(veins * (u - 0.9 * np.abs(v))), 0, 1) ** 4
    spine = np.exp(-((v / 0.06) ** 2))
    return np.abs(v) - half_width * (1 - u**2), np.maximum(spine, 0.6 * ribs)


def _donut(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    radius, angle, hole = np.hypot(u, v), np.arctan2(v, u), rng.uniform(0.35, 0.5)
    middle = (1 + hole) / 2
    dots = np.cos(rng.integers(7, 10) * angle + 9 * radius) * np.cos(11 * (radius - middle))
    return np.abs(radius - middle) - (1 - hole) / 2, np.clip(3 * dots - 0.6, 0, 1)


SHAPES: dict[str, Shape] = {
    "coin": _coin,
    "screw": _screw,
    "gear": _gear,
    "leaf": _leaf,
    "donut": _donut,
}


def _noise(height: int, width: int, cell: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise [height, width] in about -1 … 1, of features `cell` pixels wide."""
    grid = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
