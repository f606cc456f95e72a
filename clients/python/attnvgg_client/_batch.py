"""Several pictures: as few requests as the limits allow, and one bad picture spoils no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from attnvgg_client import _core
from attnvgg_client._door import Answers, Door
from attnvgg_client._errors import (
    APIStatusError,
    InvalidArgumentError,
    InvalidPictureError,
    ItemError,
    PictureRejectedError,
)
from attnvgg_client._http import Flow
from attnvgg_client._pictures import Picture, PictureLike
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import Options
from attnvgg_client._retry import Deadline

MAX_IMAGES = 16
MAX_BYTES = 8_000_000

Placed: TypeAlias = list[tuple[int, Picture]]
Ask: TypeAlias = Callable[[list[Picture], Options, Deadline], Flow[Answers]]
Results: TypeAlias = dict[int, Prediction | ItemError]


@dataclass
class Limits:
    """What one request may hold; a server that wants less is asked too much only once."""

    images: int = field(default_factory=lambda: MAX_IMAGES)
    bytes: int = field(default_factory=lambda: MAX_BYTES)

    def full(self, waiting: Placed, picture: Picture) -> bool:
        """Whether this picture must wait for the next request."""
        return len(waiting) >= self.images or _size(waiting) + len(picture.data) > self.bytes

    def learn(self, code: str, refused: Placed) -> None:
        """From a refusal of so many pictures."""
        if code == "too_many_images":
            self.images = min(self.images, max(1, len(refused) // 2))
        if code == "body_too_large":
            self.bytes = min(self.bytes, _size(refused) // 2)


def predict_batch(
    door: Door, images: Iterable[PictureLike], options: Options, seconds: float
) -> Flow[list[Prediction | ItemError]]:
    """See Client.predict_batch. Holds the bytes of one request's pictures at a time."""
    results: Results = {}
    numbered = enumerate(checked(images))
    yield from Batch(door.ask, options, seconds).collect(numbered, results)
    return [results[index] for index in range(len(results))]


def checked(images: Any) -> Any:
    """Raises InvalidArgumentError for a lone picture, which is the likeliest mistake: a str is
    iterable, and the rows of an array could be taken for grey pictures."""
    lone = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview)
    lone = lone or callable(getattr(images, "read", None))
    lone = lone or getattr(images, "ndim", 1) in (0, 2, 3)
    if lone or not hasattr(images, "__iter__"):
        raise InvalidArgumentError(
            f"images is a {type(images).__name__}; it must be a list or another iterable of "
            "pictures (predict takes a lone one)"
        )
    return images


@dataclass(frozen=True)
class Batch:
    """How pictures are asked about: Door.ask or something like it, and what every request shares.
    seconds: for each request, and for each picture that is fetched."""

    ask: Ask
    options: Options
    seconds: float
    limits: Limits = field(default_factory=Limits)

    def collect(self, images: Iterable[tuple[int, PictureLike]], results: Results) -> Flow[None]:
        """Puts what becomes of each picture under its number; if a request fails, what is there
        stays there."""
        waiting: Placed = []
        for index, image in images:
            try:
                picture = yield from _core.picture_of(image, Deadline(self.seconds))
            except InvalidPictureError as error:
                results[index] = ItemError(error.code, str(error), index)
                continue
            if waiting and self.limits.full(waiting, picture):
                yield from self._send(waiting, results)
                waiting = []
            waiting.append((index, picture))
        if waiting:
            yield from self._send(waiting, results)

    def _send(self, placed: Placed, results: Results) -> Flow[None]:
        """One request; halved if the server refuses it for what is in it.

        The server's limits may be lower than ours, and one that answers "invalid_image" for a whole
        request does not say which picture it means: halving finds out.
        """
        pictures = [picture for _, picture in placed]
        try:
            items = yield from self.ask(pictures, self.options, Deadline(self.seconds))
        except APIStatusError as error:
            if not (isinstance(error, PictureRejectedError) or error.code == "too_many_images"):
                raise
            if len(placed) > 1:
                self.limits.learn(error.code, placed)
                yield from self._send(placed[: len(placed) // 2], results)
                yield from self._send(placed[len(placed) // 2 :], results)
                return
            items = [ItemError(error.code, error.message, 0, error.request_id)]
        for (index, _), item in zip(placed, items, strict=True):
            results[index] = replace(item, index=index) if isinstance(item, ItemError) else item


def _size(placed: Placed) -> int:
    return sum(len(picture.data) for _, picture in placed)
