"""Are these the outputs that were expected? One rule for export, `verify` and a hot swap.

Outputs are compared in this order: names, shapes, values. Maps are compared as h * w * a, where
uniform attention is 1, so that the tolerance means the same at every level.

Errors:

    BundleError
    └── DifferenceError        outputs are not the expected ones
        ├── OutputNamesError   other outputs, or in another order
        ├── ShapeError         an output of another shape or type
        └── ValuesError        other values; names the output and the largest difference
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnvgg_bundle.limits import Limit, Spread, Tolerance
from attnvgg_bundle.manifest import BundleError

Arrays = Mapping[str, NDArray[Any]]


class DifferenceError(BundleError):
    """Outputs are not the expected ones."""


class OutputNamesError(DifferenceError):
    """There are other outputs, or they are in another order."""


class ShapeError(DifferenceError):
    """An output has another shape or type."""


class ValuesError(DifferenceError):
    """An output has other values."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of one output in one comparison, in the unit of its limit."""

    output: str
    batch: int
    largest: float


def check_names(expected: Sequence[str], found: Sequence[str]) -> None:
    """Raises OutputNamesError unless both are the same names in the same order."""
    if list(expected) != list(found):
        raise OutputNamesError(
            f"the outputs are {', '.join(found)}; expected {', '.join(expected)}"
        )


def compare(expected: Arrays, found: Arrays, limit: Limit, where: str) -> list[Difference]:
    """Compares every output of one batch; `where` says which graph and batch, for the message.

    Raises:
        OutputNamesError, ShapeError, ValuesError: the first that applies.
    """
    check_names(list(expected), list(found))
    for name, right in expected.items():
        if right.shape != found[name].shape or found[name].dtype != np.float32:
            raise ShapeError(
                f"{where}: {name} is {found[name].dtype} {list(found[name].shape)}; "
                f"expected float32 {list(right.shape)}"
            )
    if isinstance(limit, Spread):
        return [_spread(n, right, found[n], limit, where) for n, right in expected.items()]
    return [_cells(n, right, found[n], limit, where) for n, right in expected.items()]


def total_variation(right: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
    """How much of each picture's total is elsewhere, [B]: half the sum of |difference|, divided by
    the expected total, which is 1 but for sigmoid's maps."""
    axes = tuple(range(1, right.ndim))
    off = np.abs(found.astype(np.float64) - right).sum(axes) / 2
    return np.asarray(off / np.maximum(right.sum(axes, dtype=np.float64), 1e-9))


def _cells(
    name: str, right: NDArray[Any], found: NDArray[Any], limit: Tolerance, where: str
) -> Difference:
    is_map = name.startswith("attention_")
    scale = right[0].size if is_map else 1
    expected, got = right.astype(np.float64) * scale, found.astype(np.float64) * scale
    off = np.abs(got - expected)
    absolute = limit.maps if is_map else limit.absolute
    allowed = absolute + limit.relative * np.abs(expected)
    # Negated, so that a NaN on either side counts as a difference.
    if not bool(np.all(off <= allowed)):
        at = np.unravel_index(int(np.argmax(np.nan_to_num(off - allowed, nan=np.inf))), off.shape)
        unit = " (as h*w*a)" if is_map else ""
        raise ValuesError(
            f"{where}: {name}{unit} differs by {off[at]:.3g} at {[int(i) for i in at]}: it is "
            f"{got[at]:.6g}, expected {expected[at]:.6g}; allowed are {absolute:g} + "
            f"{limit.relative:g} of the value"
        )
    return Difference(name, len(right), float(off.max()))


def _spread(
    name: str, right: NDArray[Any], found: NDArray[Any], limit: Spread, where: str
) -> Difference:
    if name == "descriptor":
        lengths = np.linalg.norm(right.astype(np.float64), axis=1)
        off = np.linalg.norm(found.astype(np.float64) - right, axis=1) / np.maximum(lengths, 1e-9)
    else:
        off = total_variation(right, found)
    if not bool(np.all(off <= limit.variation)):
        at = int(np.argmax(np.nan_to_num(off, nan=np.inf)))
        unit = "of its length" if name == "descriptor" else "in total variation"
        raise ValuesError(
            f"{where}: {name} differs by {off[at]:.3g} {unit} at picture {at}; "
            f"allowed is {limit.variation:g}"
        )
    return Difference(name, len(right), float(off.max()))
