"""Pictures -> what Triton is asked: files for NAME-encoded, pixels for NAME."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from attnvgg_client._decode import upright_rgb
from attnvgg_client._geometry import size
from attnvgg_client._pictures import Picture
from attnvgg_client._requests import Options
from attnvgg_client._triton_answers import outputs
from attnvgg_client._triton_model import ENCODED, Description
from attnvgg_client._triton_values import Question, byte_strings


def parts_of(pictures: Sequence[Picture], described: Description) -> list[tuple[list[int], bool]]:
    """Which pictures share a request, by their places, and whether it is one of pixels."""
    exact = [_is_exact(picture, described) for picture in pictures]
    return [
        (places, kind)
        for kind in (False, True)
        for places in _chunks([i for i, each in enumerate(exact) if each is kind], described)
    ]


def _chunks(places: list[int], described: Description) -> Iterator[list[int]]:
    for start in range(0, len(places), described.max_batch):
        yield places[start : start + described.max_batch]


def _is_exact(picture: Picture, described: Description) -> bool:
    """Whether it was pixels, and is what the network takes; files travel untouched."""
    return picture.made and size(picture.data) == (described.width, described.height)


def question_of(
    described: Description, pictures: Sequence[Picture], exact: bool, options: Options
) -> Question:
    """One request, all of files or all of pixels."""
    count, height, width = len(pictures), described.height, described.width
    return Question(
        model=described.name if exact else f"{described.name}{ENCODED}",
        version=options.version,
        name="image" if exact else "encoded",
        datatype="UINT8" if exact else "BYTES",
        shape=[count, height, width, 3] if exact else [count, 1],
        data=_pixels(pictures) if exact else byte_strings([each.data for each in pictures]),
        outputs=outputs(described, options),
        request_id=uuid.uuid4().hex,
    )


def _pixels(pictures: Sequence[Picture]) -> bytes:
    """uint8 [B, H, W, 3]; decoded again from our own PNG, which is exact and costs little at the
    size of a network's input."""
    return b"".join(upright_rgb(picture.data).tobytes() for picture in pictures)
