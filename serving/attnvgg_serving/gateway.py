"""The pipeline of verbs behind every door: decode, queue, run.

One per process. No HTTP in here, and no framework.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnvgg_bundle.manifest import Input
from attnvgg_bundle.preprocess import Fitted
from attnvgg_serving import stages
from attnvgg_serving.batcher import Ran
from attnvgg_serving.cores import share
from attnvgg_serving.decoding import Decoders
from attnvgg_serving.errors import InvalidRequest, TooManyImages, WireError
from attnvgg_serving.model import Model
from attnvgg_serving.registry import Registry
from attnvgg_serving.repository import Repository
from attnvgg_serving.settings import Settings

__all__ = ["Gateway", "Model", "Picture", "Seen", "check_pixels"]

Picture = bytes | WireError  # an error where the door could not get at the picture


@dataclass(frozen=True)
class Seen:
    """One picture that went through; the times are in seconds."""

    fitted: Fitted
    ran: Ran
    decoded: float


class Gateway:
    """Loads what there is to serve, then answers until it is closed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry: Registry[Model] = Registry(default="")
        self.repository = Repository(settings, self.registry)
        threads = settings.decode_threads or min(4, share(settings.workers))
        self._decoders = Decoders(threads, settings.max_pixels)

    async def start(self) -> None:
        """Loads every bundle; each has run an inference and answered golden.npz when this is done.

        Raises:
            StartError: one line that says what is wrong.
        """
        await self.repository.start()

    @property
    def ready(self) -> bool:
        models = self.registry.all()
        return bool(models) and all(model.batcher.alive for model in models)

    async def close(self) -> None:
        """Finishes what was accepted."""
        await self.repository.close()
        self._decoders.close()

    async def predict(
        self, model: Model, pictures: Sequence[Picture], outputs: Sequence[str], deadline: float
    ) -> list[Seen | WireError]:
        """What became of each picture, in their order; fetches only the named outputs.

        `deadline` is on the clock of time.monotonic. Cancelling this leaves every queue.

        Raises:
            TooManyImages: more pictures than one request may have.
            Overloaded: no room for them in the queue.
        """
        with self._room(model, len(pictures)):
            work = [self._one(model, picture, outputs, deadline) for picture in pictures]
            # One needs no task of its own, and most requests have one.
            outcomes = [await work[0]] if len(work) == 1 else await asyncio.gather(*work)
        seen = [one for one in outcomes if isinstance(one, Seen)]
        stages.answered(model.label, [(one.decoded, one.ran.queued, one.ran.ran) for one in seen])
        return outcomes

    async def infer(
        self, model: Model, pixels: NDArray[np.uint8], outputs: Sequence[str], deadline: float
    ) -> list[Ran]:
        """What the network says about pixels [B, H, W, 3], picture by picture.

        Each picture is an item of its own in the queue, merged with those of other requests that
        have its size. `deadline` and cancelling as in `predict`.

        Raises:
            InvalidRequest: the model does not take pictures of this shape.
            WireError: as in `predict`, or that of the first picture that failed.
        """
        check_pixels(pixels, model.manifest.input)
        with self._room(model, len(pixels)):
            futures = [model.batcher.submit(each, outputs, deadline) for each in pixels]
            try:
                # One needs no task of its own, and most requests have one.
                one = len(futures) == 1
                answers = [await futures[0]] if one else await asyncio.gather(*futures)
                stages.answered(model.label, [(None, ran.queued, ran.ran) for ran in answers])
                return answers
            finally:
                for future in futures:
                    future.cancel()

    @contextmanager
    def _room(self, model: Model, count: int) -> Iterator[None]:
        stages.asked(model.label, count)
        limit = self.settings.max_images
        if count > limit:
            raise TooManyImages(f"the request has {count} pictures; at most {limit} may be")
        model.batcher.check_alive()  # before anything is decoded for nothing
        with model.batcher.reserve(count):
            yield

    async def _one(
        self, model: Model, picture: Picture, outputs: Sequence[str], deadline: float
    ) -> Seen | WireError:
        if isinstance(picture, WireError):
            return picture
        started = time.monotonic()
        try:
            fitted = await self._decoders.to_input(picture, model.manifest.input)
            decoded = stages.over("decode", started, model.label)
            ran = await model.batcher.submit(fitted.pixels, outputs, deadline)
        except WireError as error:
            return error
        return Seen(fitted, ran, decoded)


def check_pixels(pixels: NDArray[np.uint8], input: Input) -> None:
    """Whether a model with this input takes pixels [B, H, W, 3].

    Raises:
        InvalidRequest: it does not; the message says what it takes.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or not len(pixels):
        raise InvalidRequest(
            f"{input.name} is {pixels.dtype} {list(pixels.shape)}; it must be uint8 [B, H, W, 3] "
            "with B from 1 on"
        )
    height, width = pixels.shape[1:3]
    sizes = input.sizes
    if sizes is None:
        if (height, width) != (input.height, input.width):
            raise InvalidRequest(
                f"{input.name} has pictures of {height} x {width} (height x width); "
                f"this model takes {input.height} x {input.width} only"
            )
    elif any(not sizes.min <= n <= sizes.max or n % sizes.multiple for n in (height, width)):
        raise InvalidRequest(
            f"{input.name} has pictures of {height} x {width} (height x width); this model takes "
            f"sides from {sizes.min} to {sizes.max} that are multiples of {sizes.multiple}"
        )
