"""What runs a bundle."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A loaded bundle. `provider` and `sha256` are what an answer says about it."""

    provider: str
    sha256: str

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] and fetches only the named outputs. Called off the loop."""
        ...
