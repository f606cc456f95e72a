"""Attention maps on the wire: little-endian FP16, FP32, or UINT8 with a scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attnvgg_client._errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

DTYPES = {"FP16": "<f2", "FP32": "<f4", "UINT8": "u1"}
ITEM_BYTES = {"FP16": 2, "FP32": 4, "UINT8": 1}


def decode(
    name: str, datatype: str, shape: tuple[int, ...], data: bytes, scale: float | None
) -> Map:
    """One map as float32 [h, w]; UINT8 means value = data * scale.

    Raises:
        ProtocolError: an unknown datatype, a shape that is not [h, w], another number of bytes
            than the shape says, a missing scale, or a value that is no number.
    """
    _check(name, datatype, shape, len(data))
    if datatype == "UINT8" and scale is None:
        raise ProtocolError(f"attention map {name} is UINT8 and has no scale")
    import numpy as np

    array = np.frombuffer(data, dtype=DTYPES[datatype]).reshape(shape).astype(np.float32)
    if scale is not None:
        array *= np.float32(scale)
    if not np.isfinite(array).all():
        raise ProtocolError(f"attention map {name} holds values that are no finite numbers")
    return array


def _check(name: str, datatype: str, shape: tuple[int, ...], size: int) -> None:
    if datatype not in DTYPES:
        raise ProtocolError(
            f"attention map {name} has datatype {datatype!r}; known are {', '.join(DTYPES)}"
        )
    if len(shape) != 2 or min(shape) < 1:
        raise ProtocolError(f"attention map {name} has shape {list(shape)}; it must be [h, w]")
    expected = math.prod(shape) * ITEM_BYTES[datatype]
    if size != expected:
        raise ProtocolError(
            f"attention map {name}, {datatype} {list(shape)}, came with {size} bytes; "
            f"it must have {expected}"
        )
