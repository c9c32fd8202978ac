"""The configs that come with the package, and what each is for."""

import re
from dataclasses import dataclass

from keras_retinanet.config.load import CONFIG_FOLDER


@dataclass(frozen=True)
class ShippedConfig:
    """A config by its name, and the sentence that begins its file."""

    name: str
    purpose: str


def shipped_configs() -> list[ShippedConfig]:
    """Return the configs that `load_config` finds by name, in order."""
    return [
        ShippedConfig(path.stem, _first_sentence(path.read_text(encoding="utf-8")))
        for path in sorted(CONFIG_FOLDER.glob("*.yaml"))
    ]


def _first_sentence(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    # A point within a number ends no sentence.
    return re.split(r"\.(?= [A-Z]|$)", " ".join(lines), maxsplit=1)[0]
