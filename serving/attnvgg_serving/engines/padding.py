"""Batches of a few fixed sizes, for engines that prepare for every new size.

CUDA chooses its convolutions and takes its memory when it meets a size for the first time. With
sizes from a short list, all of that has happened before the first request.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attnvgg_serving.engines import Engine


def sizes(max_batch: int) -> tuple[int, ...]:
    """The powers of two below max_batch, and max_batch: never twice as much work as was asked for.

    >>> sizes(24)
    (1, 2, 4, 8, 16, 24)
    """
    powers = (1 << exponent for exponent in range(max_batch.bit_length()))
    return (*(power for power in powers if power < max_batch), max_batch)


def padded(size: int, sizes: Sequence[int]) -> int:
    """The smallest of the sizes that holds `size` pictures; the largest where none does."""
    return min((one for one in sizes if one >= size), default=max(sizes))


class Padded:
    """An engine behind which there are only batches of `sizes`.

    What is added is black pictures behind the real ones; their rows are cut off again. The network
    looks at each picture on its own, so a row does not depend on its neighbours. More pictures than
    the largest size holds are run one batch after the other.
    """

    lanes = 1

    def __init__(self, engine: Engine, sizes: Sequence[int]) -> None:
        self._engine = engine
        self._sizes = tuple(sorted(sizes))
        self.provider = engine.provider
        self.precision = engine.precision
        self.sha256 = engine.sha256

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] and fetches only the named outputs."""
        step = self._sizes[-1]
        found = [self._run(pixels[at : at + step], outputs) for at in range(0, len(pixels), step)]
        if len(found) == 1:
            return found[0]
        return {name: np.concatenate([one[name] for one in found]) for name in outputs}

    def close(self) -> None:
        """Closes the engine."""
        self._engine.close()

    def _run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        count = len(pixels)
        size = padded(count, self._sizes)
        if size > count:
            pixels = np.concatenate([pixels, np.zeros((size - count, *pixels.shape[1:]), np.uint8)])
        values = self._engine.run(pixels, outputs)
        return {name: value[:count] for name, value in values.items()}
