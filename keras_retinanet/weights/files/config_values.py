"""Values of a config that came as JSON: read by name, each with its type checked."""

import math
from typing import Any

from keras_retinanet.errors import WeightsError

# Sides, counts and sizes above this are not read.
LARGEST = 2**15
_MOST_NUMBERS = 64


class ConfigValues:
    """Settings by name, whose types are checked when they are read."""

    def __init__(self, values: Any, name: str) -> None:
        if not isinstance(values, dict):
            raise WeightsError(f"its config has no {name}, or not as KerasHub writes it")
        self._values: dict[str, Any] = values
        self._name = name

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def object(self, name: str, *, kind: str) -> "ConfigValues":
        """Return the config of an object of the class `kind`."""
        value: Any = self._values.get(name)
        found = value.get("class_name") if isinstance(value, dict) else None
        if found != kind:
            raise WeightsError(f"its {name} is {str(found)[:60]}, and only {kind} is read")
        return ConfigValues(value.get("config"), name)

    def number(self, name: str, default: float | None = None) -> float:
        value: Any = self._values.get(name, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self._error(name, "a number")
        return float(value)

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value != int(value) or not 0 <= value <= LARGEST:
            raise self._error(name, "a whole number")
        return int(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        value: Any = self._values.get(name)
        is_list = isinstance(value, list) and 0 < len(value) <= _MOST_NUMBERS
        if not is_list or not all(type(v) in (int, float) and math.isfinite(v) for v in value):
            raise self._error(name, "numbers")
        return tuple(float(v) for v in value)

    def flag(self, name: str, default: bool = False) -> bool:
        value: Any = self._values.get(name, default)
        if type(value) is not bool:
            raise self._error(name, "true or false")
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise self._error(name, "a text")
        return value

    def expect(self, name: str, expected: Any, default: Any = None) -> None:
        """Refuse another value than `expected`."""
        value = self._values.get(name, default)
        if value != expected:
            raise WeightsError(
                f"its {self._name} has {name} = {str(value)[:60]}, and only {expected} is read"
            )

    def _error(self, name: str, expected: str) -> WeightsError:
        value = str(self._values.get(name))[:60]
        return WeightsError(f"its {self._name} has {name} = {value}, which is not {expected}")
