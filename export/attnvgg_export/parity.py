"""Does an exported graph compute what the checkpoint computes?

Outputs are compared with PyTorch's in this order: names, axes, shapes, values. Maps are compared
as h * w * a, where uniform attention is 1, so that the tolerance means the same at every level.
Nothing here imports torch: `attnvgg-export verify` compares golden.npz in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnvgg_export.errors import AxesError, OutputNamesError, ShapeError, ValuesError

Arrays = Mapping[str, NDArray[Any]]
BATCHES = (1, 2, 3, 32)


@dataclass(frozen=True)
class Tolerance:
    """A value v may differ from the expected e by absolute + relative * |e|."""

    absolute: float
    relative: float


FLOAT32 = Tolerance(absolute=1e-4, relative=1e-3)


@dataclass(frozen=True)
class Difference:
    """The largest difference of one output in one comparison; maps as h * w * a."""

    output: str
    batch: int
    largest: float


def check_names(expected: Sequence[str], found: Sequence[str]) -> None:
    """Raises OutputNamesError unless both are the same names in the same order."""
    if list(expected) != list(found):
        raise OutputNamesError(
            f"the outputs are {', '.join(found)}; expected {', '.join(expected)}"
        )


def check_axes(shapes: Mapping[str, Sequence[object]]) -> None:
    """Raises AxesError unless of every input and output exactly the first axis is free.

    A free axis is a name or None, a fixed one a number.
    """
    for name, shape in shapes.items():
        if not shape or isinstance(shape[0], int):
            raise AxesError(f"{name} has shape {list(shape)}: its batch axis must be free")
        if not all(isinstance(axis, int) for axis in shape[1:]):
            raise AxesError(f"{name} has shape {list(shape)}: only its batch axis may be free")


def compare(expected: Arrays, found: Arrays, tolerance: Tolerance, where: str) -> list[Difference]:
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
    return [_difference(n, right, found[n], tolerance, where) for n, right in expected.items()]


def report(differences: Sequence[Difference], tolerance: Tolerance) -> dict[str, Any]:
    """What parity.json says of one format: the tolerance and the largest difference found."""
    largest: dict[str, float] = {}
    for each in differences:
        largest[each.output] = max(each.largest, largest.get(each.output, 0.0))
    return {
        "batches": sorted({each.batch for each in differences}),
        "tolerance": asdict(tolerance),
        "largest_difference": largest,
    }


def _difference(
    name: str, right: NDArray[Any], found: NDArray[Any], tolerance: Tolerance, where: str
) -> Difference:
    scale = right[0].size if name.startswith("attention_") else 1
    expected, got = right.astype(np.float64) * scale, found.astype(np.float64) * scale
    off = np.abs(got - expected)
    allowed = tolerance.absolute + tolerance.relative * np.abs(expected)
    # Negated, so that a NaN on either side counts as a difference.
    if not bool(np.all(off <= allowed)):
        at = np.unravel_index(int(np.argmax(np.nan_to_num(off - allowed, nan=np.inf))), off.shape)
        unit = " (as h*w*a)" if scale > 1 else ""
        raise ValuesError(
            f"{where}: {name}{unit} differs by {off[at]:.3g} at {[int(i) for i in at]}: it is "
            f"{got[at]:.6g}, expected {expected[at]:.6g}; allowed are {tolerance.absolute:g} + "
            f"{tolerance.relative:g} of the value"
        )
    return Difference(name, len(right), float(off.max()))
