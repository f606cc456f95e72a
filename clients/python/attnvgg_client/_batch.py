"""Many pictures: as few requests as the limits allow, and one bad picture spoils no other."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from attnvgg_client import _core
from attnvgg_client._door import Door
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
Results: TypeAlias = dict[int, Prediction | ItemError]


def predict_batch(
    door: Door, images: Iterable[PictureLike], options: Options, seconds: float
) -> Flow[list[Prediction | ItemError]]:
    """See Client.predict_batch. Holds the bytes of one request's pictures at a time."""
    results: Results = {}
    waiting: Placed = []
    for index, image in enumerate(_checked(images)):
        try:
            picture = yield from _core.picture_of(image, Deadline(seconds))
        except InvalidPictureError as error:
            results[index] = ItemError(error.code, str(error), index)
            continue
        if waiting and _full(waiting, picture):
            results |= yield from _ask(door, waiting, options, seconds)
            waiting = []
        waiting.append((index, picture))
    if waiting:
        results |= yield from _ask(door, waiting, options, seconds)
    return [results[index] for index in range(len(results))]


def _checked(images: Iterable[PictureLike]) -> Iterable[PictureLike]:
    """A lone picture is the likeliest mistake, and a str is iterable."""
    lone = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview)
    if lone or callable(getattr(images, "read", None)) or not hasattr(images, "__iter__"):
        raise InvalidArgumentError(
            f"images is a {type(images).__name__}; it must be a list or another iterable of "
            "pictures (predict takes a lone one)"
        )
    return images


def _full(waiting: Placed, picture: Picture) -> bool:
    size = sum(len(other.data) for _, other in waiting)
    return len(waiting) >= MAX_IMAGES or size + len(picture.data) > MAX_BYTES


def _ask(door: Door, placed: Placed, options: Options, seconds: float) -> Flow[Results]:
    """One request; halved if the server refuses it for what is in it.

    The server's limits may be lower than ours, and one that answers "invalid_image" for a whole
    request does not say which picture it means: halving finds out.
    """
    pictures = [picture for _, picture in placed]
    try:
        items = yield from door.ask(pictures, options, Deadline(seconds))
    except APIStatusError as error:
        if not (isinstance(error, PictureRejectedError) or error.code == "too_many_images"):
            raise
        return (yield from _halve(door, placed, options, seconds, error))
    return {
        index: replace(item, index=index) if isinstance(item, ItemError) else item
        for (index, _), item in zip(placed, items, strict=True)
    }


def _halve(
    door: Door, placed: Placed, options: Options, seconds: float, error: APIStatusError
) -> Flow[Results]:
    if len(placed) == 1:
        index = placed[0][0]
        return {index: ItemError(error.code, error.message, index, error.request_id)}
    middle = len(placed) // 2
    first = yield from _ask(door, placed[:middle], options, seconds)
    return first | (yield from _ask(door, placed[middle:], options, seconds))
