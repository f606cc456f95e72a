"""What runs a bundle."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attnvgg_serving.errors import StartError

if TYPE_CHECKING:  # an engine runs where there is no pydantic (benchmarks/gpu)
    from attnvgg_serving.registry import Bundle
    from attnvgg_serving.settings import Settings


class Engine(Protocol):
    """A loaded bundle. `provider` and `sha256` are what an answer says about it; `precision` is
    that of the graph that runs (fp32, int8, fp16), and `sha256` that of its file. `lanes` is how
    many threads may well call `run` at one time."""

    provider: str
    precision: str
    sha256: str
    lanes: int

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] and fetches only the named outputs. Called off the loop."""
        ...

    def close(self) -> None:
        """Lets go of its memory when nobody runs it any more; it cannot run again."""
        ...


@runtime_checkable
class RemoteEngine(Engine, Protocol):
    """An engine in another process: it is awaited, and it may go away and come back.

    available: whether it answered when it was last asked.
    """

    available: bool

    async def infer(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str], seconds: float
    ) -> dict[str, NDArray[np.float32]]:
        """As `run`, on the loop, within so many seconds.

        Raises:
            Overloaded, DeadlineExceeded, EngineUnavailable: no fault of any picture.
        """
        ...

    async def watch(self) -> None:
        """Keeps `available` true to life until it is cancelled; then lets go of its channel."""
        ...


def create(bundle: "Bundle", settings: "Settings") -> Engine:
    """The bundle on the engine of the settings, warm: its next batch is as fast as any later one.

    Takes seconds: call it off the loop.

    Raises:
        StartError: one line that says what is wrong with the bundle, the settings or the machine.
    """
    # Here, so that whoever only names the protocol imports no engine.
    if settings.engine == "triton":
        try:
            from attnvgg_serving.engines import triton
        except ImportError as error:
            raise StartError(
                f"ATTNVGG_ENGINE is 'triton', which needs tritonclient ({error}); "
                "pip install 'attnvgg[triton]'"
            ) from error
        return triton.create(bundle, settings)
    from attnvgg_serving.engines import onnxruntime

    return onnxruntime.create(bundle, settings)
