"""From an encoded picture to the network's input, off the event loop, in a bounded pool.

Two lanes: a picture of 25 million pixels takes a second and 600 MB to decode, and a few of them
would hold up every small one behind them. Large pictures get threads of their own, one less than
there are for the small ones, so that a flood of them slows the small ones down and never stops
them, and memory is bounded by threads * pixels * BYTES_PER_PIXEL of each lane.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from attnvgg_bundle.manifest import Input
from attnvgg_bundle.preprocess import Fitted, PictureError, decode, fit
from attnvgg_serving.errors import ImageTooLarge, all_wire_errors

__all__ = ["BYTES_PER_PIXEL", "SMALL_PIXELS", "Decoders", "to_input"]

SMALL_PIXELS = 4_000_000
# The most that was measured: lossy WebP, which libwebp decodes into several buffers.
BYTES_PER_PIXEL = 26


class Decoders:
    """The threads of one process; `threads` for small pictures."""

    def __init__(self, threads: int, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="decode-large")

    async def to_input(self, picture: bytes, input: Input) -> Fitted:
        """`to_input` on a thread of the right lane; cancelling leaves the queue before it."""
        loop = asyncio.get_running_loop()
        most = min(self._max_pixels, SMALL_PIXELS)
        try:
            return await loop.run_in_executor(self._small, to_input, picture, input, most)
        except ImageTooLarge:
            if most == self._max_pixels:
                raise
        return await loop.run_in_executor(self._large, to_input, picture, input, self._max_pixels)

    def close(self) -> None:
        self._small.shutdown()
        self._large.shutdown()


def to_input(picture: bytes, input: Input, max_pixels: int) -> Fitted:
    """Decodes one file and brings it to the network's input.

    Raises:
        WireError: of the class whose code the PictureError has.
    """
    try:
        image = decode(picture, max_pixels)
        return fit(image, input.height, input.width, input.geometry, input.filter)
    except PictureError as error:
        raise all_wire_errors()[error.code](str(error)) from error
