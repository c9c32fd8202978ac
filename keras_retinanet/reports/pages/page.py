"""From a template and its values to a page that is one file and needs no network."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from keras_retinanet.system.atomic_files import write_whole

# Templates are named by their place below this folder.
_ROOM = Path(__file__).parents[1]


def write_page(template: str, path: Path, **values: Any) -> Path:
    """Write the page that a template makes of its values, whole or not at all; return its path.

    Args:
        template: its place among the reports, for example "pages/page.html".
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOM, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, environment.get_template(template).render(**values))
    return path


def jpeg_url(picture: Image.Image, *, quality: int) -> str:
    """Return a picture as the address that holds it."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def figure_text(value: float | None) -> str:
    """Return a figure of COCO's as pages show it."""
    return "n/a" if value is None else f"{value:.3f}"
