"""Findings by the million in little memory: many of a kind are kept as numbers, and the place of
each is written when it is asked for."""

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from keras_retinanet.data.dataset import Finding

# Problem and action.
Kind = tuple[str, str]


@dataclass(frozen=True)
class _Block:
    """n findings of which the places follow from numbers.

    Attributes:
        kinds: those that occur.
        codes: [n], the kind of each.
        keys: [n], what `where` makes places of.
    """

    kinds: Sequence[Kind]
    codes: np.ndarray
    keys: np.ndarray
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Finding:
        problem, action = self.kinds[self.codes[index]]
        return Finding(problem, self.where(int(self.keys[index])), action)

    def __iter__(self) -> Iterator[Finding]:
        return map(self.__getitem__, range(len(self)))

    def picked(self, keep: np.ndarray) -> "_Block":
        return _Block(self.kinds, self.codes[keep], self.keys[keep], self.where)

    def count_kinds(self) -> dict[Kind, int]:
        counts: Counter[Kind] = Counter()
        codes, first, numbers = np.unique(self.codes, return_index=True, return_counts=True)
        for i in np.argsort(first):
            counts[self.kinds[codes[i]]] += int(numbers[i])
        return counts


class FindingList(Sequence[Finding]):
    """Findings in order; compares to lists as a list does."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._blocks: list[list[Finding] | _Block] = []
        self.extend(findings)

    def append(self, finding: Finding) -> None:
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, list):
            last.append(finding)
        else:
            self._blocks.append([finding])

    def extend(self, findings: Iterable[Finding]) -> None:
        if isinstance(findings, FindingList):
            self._blocks += [b if isinstance(b, _Block) else [*b] for b in findings._blocks]
            return
        for finding in findings:
            self.append(finding)

    def add_many(
        self,
        kinds: Sequence[Kind],
        codes: np.ndarray,
        keys: np.ndarray,
        where: Callable[[int], str],
    ) -> None:
        """Add findings as numbers.

        Args:
            kinds: (problem, action) by code.
            codes, keys: [n], of each finding its kind, and what `where` makes its place of.
        """
        if len(keys):
            self._blocks.append(_Block(kinds, codes, keys, where))

    def add_kind(
        self, problem: str, action: str, keys: np.ndarray, where: Callable[[int], str]
    ) -> None:
        """Add findings of one kind as numbers."""
        codes = np.broadcast_to(np.uint8(0), len(keys))
        self.add_many([(problem, action)], codes, np.asarray(keys), where)

    def count_kinds(self) -> dict[Kind, int]:
        """Return how many there are of each kind, in the order of their first ones."""
        counts: Counter[Kind] = Counter()
        for block in self._blocks:
            if isinstance(block, _Block):
                counts.update(block.count_kinds())
            else:
                counts.update((f.problem, f.action) for f in block)
        return counts

    def unique(self) -> "FindingList":
        """Return each finding once, where it is first."""
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        order = np.argsort(hashes, kind="stable")
        is_repeated = hashes[order[1:]] == hashes[order[:-1]]
        keep = np.ones(len(self), bool)
        seen: set[Finding] = set()
        last = None
        # Most are told apart by their hashes; of the others, a few at a time are looked at.
        for place in np.flatnonzero(is_repeated).tolist():
            if place != last:
                seen = {self[int(order[place])]}
            finding = self[int(order[place + 1])]
            keep[order[place + 1]] = finding not in seen
            seen.add(finding)
            last = place + 1
        result = FindingList()
        start = 0
        for block in self._blocks:
            kept = keep[start : start + len(block)]
            start += len(block)
            if isinstance(block, _Block):
                result._blocks.append(block if kept.all() else block.picked(kept))
            else:
                result._blocks.append([f for f, is_kept in zip(block, kept) if is_kept])
        return result

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def __iter__(self) -> Iterator[Finding]:
        for block in self._blocks:
            yield from block

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        ends = list(itertools.accumulate(map(len, self._blocks)))
        number = bisect_right(ends, place)
        if place < 0 or number == len(self._blocks):
            raise IndexError(f"{index} of {len(self)} findings")
        block = self._blocks[number]
        return block[place - ends[number] + len(block)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FindingList of {len(self)}: {dict(self.count_kinds())}"
