"""From arrays to the wire: the labels, and the maps in one of three precisions.

f32  FP32   exact
f16  FP16   half the bytes; the sum of a map stays within 1e-3 of its value
u8   UINT8  a quarter; value = data * scale, where scale = max / 255, so each value is
            within scale / 2, and the sum is not promised
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

AttentionFormat = Literal["f16", "f32", "u8"]
Map = NDArray[np.float32]


class Tensor(NamedTuple):
    """One map on its way out: what the JSON says about it, and its bytes."""

    shape: tuple[int, int]
    datatype: Literal["FP16", "FP32", "UINT8"]
    scale: float | None
    data: bytes


def encode(values: Map, format: AttentionFormat) -> Tensor:
    """Encodes one map [h, w]."""
    return _ENCODERS[format](values)


def top(probabilities: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """Index and probability of the k most probable, the most probable first; ties in order."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    # A softmax may round to a little more than 1.
    return list(zip(order.tolist(), probabilities[order].clip(max=1).tolist(), strict=True))


def _f32(values: Map) -> Tensor:
    return Tensor(_shape(values), "FP32", None, values.astype("<f4").tobytes())


def _f16(values: Map) -> Tensor:
    return Tensor(_shape(values), "FP16", None, values.astype("<f2").tobytes())


def _u8(values: Map) -> Tensor:
    # A map of zeros (sigmoid can give one) has no maximum to scale by.
    scale = float(values.max()) / 255 or 1.0
    data = np.rint(values / scale).clip(0, 255).astype(np.uint8)
    return Tensor(_shape(values), "UINT8", scale, data.tobytes())


def _shape(values: Map) -> tuple[int, int]:
    h, w = values.shape
    return (h, w)


_ENCODERS: dict[AttentionFormat, Callable[[Map], Tensor]] = {
    "f16": _f16,
    "f32": _f32,
    "u8": _u8,
}
