"""The table of weights that other projects publish (published.yaml)."""

import functools
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from keras_retinanet.errors import WeightsError

_TABLE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedWeights:
    """A file on the web.

    Attributes:
        network: what it holds weights of.
        checksum: "sha256:" or "md5:" and the first digits, or all; None: the project tells none.
        num_bytes: None: not told.
        ap: COCO's, in percent; None: of a backbone, or not told.
        by_hand: how a user gets it, where no program may without an account.
        package: the distribution that brings the file, in place of the web, and where in it.
    """

    name: str
    network: str
    address: str
    checksum: str | None
    licence: str
    ap: float | None = None
    num_bytes: int | None = None
    by_hand: str | None = None
    package: str | None = None
    package_file: str | None = None

    @property
    def file_name(self) -> str:
        return (self.package_file or urlsplit(self.address).path).rpartition("/")[2]


@functools.cache
def published_weights() -> dict[str, PublishedWeights]:
    """Return the table, by name."""
    rows = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return {
        name: PublishedWeights(name=name, num_bytes=row.pop("bytes", None), **row)
        for name, row in rows.items()
    }


def find_published(name: str) -> PublishedWeights:
    """Return the entry of a name.

    Raises:
        WeightsError: there is none.
    """
    table = published_weights()
    if name not in table:
        raise WeightsError(
            f"no published weights are called {name!r}: known are {', '.join(table)}"
        )
    return table[name]
