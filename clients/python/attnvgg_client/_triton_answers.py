"""Triton's tensors -> predictions; nothing is believed unchecked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnvgg_client._errors import InvalidPictureError, ItemError, ProtocolError, about
from attnvgg_client._geometry import seen
from attnvgg_client._pictures import Picture
from attnvgg_client._prediction import Model, Prediction, Score
from attnvgg_client._requests import Options
from attnvgg_client._triton_model import Description
from attnvgg_client._triton_values import Answer

if TYPE_CHECKING:
    from attnvgg_client._triton_values import Floats

PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Asked:
    """What an answer is to."""

    described: Description
    pictures: Sequence[Picture]
    options: Options
    request_id: str


def outputs(described: Description, options: Options) -> list[str]:
    """The outputs to ask for: maps only if they are wanted."""
    return [PROBABILITIES, *(described.maps.values() if options.return_attention else ())]


def predictions(asked: Asked, answer: Answer, seconds: float) -> list[Prediction | ItemError]:
    """One for each picture, in order.

    Raises:
        ProtocolError: an output is missing or has another shape than it must have.
    """
    with about(asked.request_id):
        _check(asked, answer)
    return [_item(asked, answer, place, seconds) for place in range(len(asked.pictures))]


def _check(asked: Asked, answer: Answer) -> None:
    count, labels = len(asked.pictures), len(asked.described.labels)
    for name in outputs(asked.described, asked.options):
        if name not in answer.outputs:
            raise ProtocolError(f"the answer lacks the output {name}")
        shape = answer.outputs[name].shape
        fits = shape == (count, labels) if name == PROBABILITIES else _is_map(shape, count)
        if not fits:
            raise ProtocolError(
                f"the output {name} has shape {list(shape)}, for {count} pictures and {labels} "
                "labels"
            )


def _is_map(shape: tuple[int, ...], count: int) -> bool:
    return len(shape) == 3 and shape[0] == count and min(shape) > 0


def _item(asked: Asked, answer: Answer, place: int, seconds: float) -> Prediction | ItemError:
    described, picture = asked.described, asked.pictures[place]
    try:
        shown = seen(picture.data, described.height, described.width, described.geometry)
    except InvalidPictureError as error:
        return ItemError(error.code, str(error), place, asked.request_id)
    top = _top(answer.outputs[PROBABILITIES][place], asked)
    sha256 = described.sha256.get(answer.version, "")
    return Prediction(
        label=top[0].label,
        index=top[0].index,
        probability=top[0].probability,
        top_k=top[: asked.options.top_k],
        attention=_attention(asked, answer, place),
        model=Model(described.name, answer.version, sha256, described.provider),
        timings_ms={"round_trip": seconds * 1000},
        input=shown,
        request_id=asked.request_id,
        _source=picture.source,
    )


def _top(probabilities: Floats, asked: Asked) -> tuple[Score, ...]:
    """The most probable first; ties are in the order of the labels, as the gateway has them."""
    order = (-probabilities).argsort(kind="stable")[: asked.options.top_k]
    labels = asked.described.labels
    return tuple(Score(labels[i], int(i), float(probabilities[i])) for i in order)


def _attention(asked: Asked, answer: Answer, place: int) -> dict[str, Floats] | None:
    """Copies: a view would keep the maps of all pictures of the request in memory."""
    if not asked.options.return_attention:
        return None
    maps = asked.described.maps
    return {level: answer.outputs[name][place].copy() for level, name in maps.items()}
