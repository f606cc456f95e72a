"""Tensors of the Open Inference Protocol: from JSON lists or raw bytes to arrays, and back.

Raw BYTES have each string's length before it, as 4 bytes; everything is little-endian.
In JSON an encoded picture is base64, as in /v1: no JPEG or PNG is valid text.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnvgg_serving.errors import InvalidRequest

LENGTH = 4


def pixels(data: memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Raw UINT8, not copied.

    Raises:
        InvalidRequest: more or fewer bytes than the shape has.
    """
    if len(data) != prod(shape):
        raise InvalidRequest(
            f"the shape {list(shape)} has {prod(shape)} bytes; {len(data)} follow the JSON"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def pixels_of_json(data: list[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """UINT8 as whole numbers, in one list or in lists nested as the shape is.

    Raises:
        InvalidRequest: other values, or more or fewer than the shape has.
    """
    values = flat(data, shape)
    try:
        # np.array would take strings and cut floats; bytes() takes 0 to 255 and nothing else.
        raw = bytes(values)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest("data must be whole numbers from 0 to 255, nothing else") from None
    return np.frombuffer(raw, np.uint8).reshape(shape)


def strings(data: memoryview, count: int) -> list[bytes]:
    """Raw BYTES: `count` strings.

    Raises:
        InvalidRequest: the lengths do not lead to the end.
    """
    found, at = [], 0
    for _ in range(count):
        start = at + LENGTH
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data) or start > len(data):
            raise InvalidRequest(_LENGTHS.format(count=count, size=len(data)))
        found.append(bytes(data[start:at]))
    if at != len(data):
        raise InvalidRequest(_LENGTHS.format(count=count, size=len(data)))
    return found


def strings_of_json(data: list[Any], shape: tuple[int, ...]) -> list[bytes]:
    """BYTES as base64.

    Raises:
        InvalidRequest: other values, or more or fewer than the shape has.
    """
    try:
        return [base64.b64decode(text, validate=True) for text in flat(data, shape)]
    except (TypeError, ValueError, binascii.Error):
        raise InvalidRequest(
            "data must be files in base64 where it is JSON; better send them as a binary tensor"
        ) from None


def flat(data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """The values of a list that is flat already, or nested as the shape is.

    Raises:
        InvalidRequest: it is neither.
    """
    if not (data and isinstance(data[0], list)):
        if len(data) != prod(shape):
            raise InvalidRequest(
                f"the shape {list(shape)} has {prod(shape)} values; data has {len(data)}"
            )
        return data
    level: list[Any] = [data]
    for size in shape:
        if not all(isinstance(each, list) and len(each) == size for each in level):
            raise InvalidRequest(f"data is neither flat nor nested as the shape {list(shape)}")
        level = list(chain.from_iterable(level))
    return level


def packed(texts: Iterable[str]) -> bytes:
    """Raw BYTES of texts."""
    encoded = [text.encode() for text in texts]
    return b"".join(len(each).to_bytes(LENGTH, "little") + each for each in encoded)


def classes(values: NDArray[np.float32], count: int, labels: Sequence[str]) -> list[str]:
    """The `count` greatest of one picture's values as Triton writes them, VALUE:INDEX:LABEL.

    Without labels VALUE:INDEX. Ties are in the order of the indices.
    """
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    found = ((f"{values.flat[i]:f}", int(i)) for i in order)
    return [f"{value}:{i}:{labels[i]}" if labels else f"{value}:{i}" for value, i in found]


_LENGTHS = (
    "the {size} bytes after the JSON are not {count} strings, "
    "each with its length before it in 4 little-endian bytes"
)
