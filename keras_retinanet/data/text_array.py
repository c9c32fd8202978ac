"""Millions of short texts in a third of the memory of a list."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np


class TextArray(Sequence[str]):
    """Texts that do not change; compares to lists, and is printed, as a list is.

    Args:
        texts: [n] NumPy bytes, UTF-8 without zeros at the end.
    """

    def __init__(self, texts: np.ndarray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return (text.decode() for text in self._texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "TextArray": ...
    def __getitem__(self, index: int | slice) -> "str | TextArray":
        found: Any = self._texts[index]
        return TextArray(found) if isinstance(index, slice) else found.decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))
