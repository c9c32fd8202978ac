"""A process' share of work that many do."""

import re
from dataclasses import dataclass

from keras_retinanet.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """A share of the work: number `index`, from 0 on, of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that "3/8" means.

        Raises:
            ConfigError: it means none.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or int(found[1]) >= int(found[2]):
            raise ConfigError(
                f"a shard is its number from 0 on and how many there are, 0/8 to 7/8, not {text!r}"
            )
        return cls(int(found[1]), int(found[2]))

    def of(self, number: int) -> range:
        """Return which of `number` pieces of work are this shard's."""
        return range(self.index, number, self.count)

    def __contains__(self, number: int) -> bool:
        """Whether a piece of work is this shard's."""
        return number % self.count == self.index
