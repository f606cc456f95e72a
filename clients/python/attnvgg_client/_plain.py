"""Values as plain data for JSON, and texts that fit into a line and cannot drive a terminal."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Mappings, sequences, arrays and numpy's numbers as dict, list, int and float.

    A number that is not finite becomes None: JSON has no word for it.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers, without importing it
        return plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def one_line(text: str) -> str:
    """The text with everything escaped that is not seen: line ends, control and bidi characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cut(text: str, cells: int) -> str:
    """The text, its middle left out if it needs more cells of a terminal than these."""
    if width(text) <= cells:
        return text
    head, tail = text, text[-(cells // 6) :]
    while width(head) + 3 + width(tail) > cells:
        head = head[:-1]
    return f"{head}...{tail}"


def width(text: str) -> int:
    """Cells of a terminal: two for a wide letter, as in Chinese."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
