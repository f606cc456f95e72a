"""What a bundle's graphs do on pictures that nothing was fitted to: accuracy, and where they look.

A graph of other arithmetic (8 bits, float16) is compared with model.onnx picture by picture. No
torch here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnvgg_export.errors import HeldOutError
from attnvgg_export.formats import HeldOut
from attnvgg_export.parity import total_variation

Runner = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
BATCH = 64


def measure(
    runners: Mapping[str, Runner],
    reference: str,
    batches: Iterable[Batch],
) -> dict[str, dict[str, Any]]:
    """Runs every graph on the pictures and compares its maps with the reference's.

    Args:
        batches: pictures [B, H, W, 3] with their targets [B].

    Returns:
        By graph: pictures, hits (right labels), accuracy, and by map the mean correlation and the
        mean total variation distance.
    """
    sums = {name: _Sums() for name in runners}
    count = 0
    for image, target in batches:
        count += len(image)
        expected = runners[reference](image)
        for name, runner in runners.items():
            found = expected if name == reference else runner(image)
            sums[name].add(expected, found, target)
    return {name: each.report(count) for name, each in sums.items()}


def check(
    name: str, found: Mapping[str, Any], reference: Mapping[str, Any], limit: HeldOut
) -> None:
    """Raises HeldOutError unless a graph's report is within the limit."""
    loss = reference["accuracy"] - found["accuracy"]
    if loss > limit.loss:
        raise HeldOutError(
            f"{name}: {found['hits']} of {found['pictures']} held-out pictures are right, with "
            f"model.onnx {reference['hits']}: a loss of {100 * loss:.2f} points; at most "
            f"{100 * limit.loss:.2f} are allowed"
        )
    for level, off in found["total_variation"].items():
        correlation = found["correlation"][level]
        # Negated, so that a distance that is no number is too large.
        if not off <= limit.variation and not (correlation or 0.0) >= limit.correlation:
            raise HeldOutError(
                f"{name}: the maps of {level} look elsewhere on {found['pictures']} held-out "
                f"pictures: mean correlation {_number(correlation)}, mean total variation "
                f"{off:.4f}; {limit.correlation:g} or more, or {limit.variation:g} or less, is "
                "allowed"
            )


class _Sums:
    """What adds up over batches."""

    def __init__(self) -> None:
        self.hits = 0
        self.correlations: dict[str, list[float]] = {}
        self.variations: dict[str, float] = {}

    def add(
        self,
        expected: Mapping[str, NDArray[Any]],
        found: Mapping[str, NDArray[Any]],
        target: NDArray[np.int64],
    ) -> None:
        self.hits += int((found["probabilities"].argmax(1) == target).sum())
        for output, right in expected.items():
            if output.startswith("attention_"):
                level = output.removeprefix("attention_")
                off = total_variation(right, found[output]).sum()
                self.variations[level] = self.variations.get(level, 0.0) + float(off)
                self.correlations.setdefault(level, []).extend(_correlations(right, found[output]))

    def report(self, count: int) -> dict[str, Any]:
        return {
            "pictures": count,
            "hits": self.hits,
            "accuracy": self.hits / count,
            "correlation": {
                level: float(np.mean(values)) if values else None
                for level, values in self.correlations.items()
            },
            "total_variation": {level: off / count for level, off in self.variations.items()},
        }


def _correlations(right: NDArray[Any], found: NDArray[Any]) -> Sequence[float]:
    """Pearson's, of each picture's map. Where neither has contrast there is none to speak of; where
    one has, or a value is no number, it is 0."""
    a, b = (m.reshape(len(m), -1).astype(np.float64) for m in (right, found))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    lengths = np.stack([np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)])
    flat = (lengths < 1e-9).all(0)
    values = (a * b).sum(1) / np.maximum(lengths.prod(0), 1e-18)
    kept: list[float] = np.nan_to_num(values[~flat]).tolist()
    return kept


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
