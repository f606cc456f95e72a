"""Does an exported graph compute what the checkpoint computes?

Outputs are compared with PyTorch's in this order: names, axes, shapes, values. The comparison is
attnvgg_bundle's: `attnvgg-export verify` and the gateway compare golden.npz in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attnvgg_bundle.compare import Difference, check_names, compare, total_variation
from attnvgg_bundle.limits import Limit
from attnvgg_bundle.manifest import Input
from attnvgg_export.errors import AxesError

__all__ = [
    "BATCHES",
    "Difference",
    "check_axes",
    "check_names",
    "compare",
    "other_sizes",
    "report",
    "total_variation",
]
BATCHES = (1, 2, 3, 7, 32)


def other_sizes(spec: Input) -> list[tuple[int, int]]:
    """Two (height, width) to compare at beside the input's own: low and wide, high and narrow."""
    if spec.sizes is None:
        return []
    low, high, step = spec.sizes.min, spec.sizes.max, spec.sizes.multiple
    return [(low, min(high, 2 * spec.width)), (high, min(high, spec.width + step))]


def check_axes(shapes: Mapping[str, Sequence[object]], spatial: bool) -> None:
    """Raises AxesError unless exactly the axes that must be free are: the first of every input and
    output, and where `spatial` holds the second and third of the image and of the maps.

    A free axis is a name or None, a fixed one a number.
    """
    for name, shape in shapes.items():
        described = f"{name} has shape {list(shape)}"
        if not shape or isinstance(shape[0], int):
            raise AxesError(f"{described}: its batch axis must be free")
        pictured = name == "image" or name.startswith("attention_")
        for axis, size in enumerate(shape[1:], start=1):
            free = spatial and pictured and axis <= 2
            if isinstance(size, int) == free:
                word = "free" if free else "fixed"
                raise AxesError(f"{described}: its axis {axis} must be {word}")


def report(
    differences: Sequence[Difference], limit: Limit, sizes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """What parity.json says of one format: the tolerance and the largest difference found."""
    largest: dict[str, float] = {}
    for each in differences:
        largest[each.output] = max(each.largest, largest.get(each.output, 0.0))
    return {
        "batches": sorted({each.batch for each in differences}),
        "sizes": [list(size) for size in sizes],
        "tolerance": asdict(limit),
        "largest_difference": largest,
    }
