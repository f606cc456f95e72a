"""Reads an answer's JSON field by field; what is missing or of another type is named by its path.

Fields that nobody asks for are ignored: a newer server may send more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from attnvgg_client._errors import ProtocolError


@dataclass(frozen=True)
class Fields:
    """One JSON object of the answer, and where it stands in it."""

    values: dict[str, Any]
    path: str = "the answer"

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        return str(self._get(name, str))

    def integer(self, name: str) -> int:
        return int(self._get(name, int))

    def number(self, name: str) -> float:
        value = self._get(name, int, float)
        if not -1e300 < value < 1e300:  # NaN, infinity, or an integer that no float can hold
            raise ProtocolError(f"{self._at(name)} is no finite number")
        return float(value)

    def numbers(self, name: str) -> list[float]:
        items = self._items(name)
        return [items.number(place) for place in items.values]

    def integers(self, name: str) -> list[int]:
        items = self._items(name)
        return [items.integer(place) for place in items.values]

    def texts(self, name: str) -> list[str]:
        items = self._items(name)
        return [items.text(place) for place in items.values]

    def object(self, name: str) -> Fields:
        return Fields(self._get(name, dict), self._at(name))

    def objects(self, name: str) -> list[Fields]:
        items = self._items(name)
        return [items.object(place) for place in items.values]

    def _items(self, name: str) -> Fields:
        """A list, as an object whose fields are named by their places."""
        values = self._get(name, list)
        return Fields({str(place): value for place, value in enumerate(values)}, self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.path}: {name}" if self.path == "the answer" else f"{self.path}.{name}"

    def _get(self, name: str, *kinds: type) -> Any:
        if name not in self.values:
            raise ProtocolError(f"{self._at(name)} is missing")
        value = self.values[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ProtocolError(f"{self._at(name)} is {type(value).__name__}, not {wanted}")
        return value


def parse(data: bytes) -> Fields:
    """The answer's JSON object.

    Raises:
        ProtocolError: it is no JSON, or no object.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            f"the answer is no JSON ({error}); it starts with {data[:60]!r}"
        ) from error
    if not isinstance(values, dict):
        raise ProtocolError(f"the answer is a JSON {type(values).__name__}, not an object")
    return Fields(values)
