"""The answers of the wire contract -> typed values; nothing is believed unchecked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnvgg_client import _tensors
from attnvgg_client._errors import APIStatusError, ItemError, ProtocolError, status_error
from attnvgg_client._fields import Fields, parse
from attnvgg_client._http import Reply
from attnvgg_client._pictures import Source
from attnvgg_client._prediction import Input, Model, Prediction, Score
from attnvgg_client._retry import retry_after

if TYPE_CHECKING:
    from attnvgg_client._tensors import Map

JSON_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class ModelInfo:
    """One model that the server has.

    default: it answers where a request names no model. levels: the maps in its answers, in their
        order, with "fused" where there is one. Empty where an older server does not say.
    """

    name: str
    version: str
    sha256: str
    provider: str
    default: bool
    labels: tuple[str, ...]
    levels: tuple[str, ...]


def predictions(reply: Reply, sources: Sequence[Source]) -> list[Prediction | ItemError]:
    """The predictions of a 200 answer, one for each picture, in order.

    Raises:
        ProtocolError: cut off, wrong sizes, missing fields, another number of predictions.
    """
    answer, tensors = split(reply)
    items = answer.objects("predictions")
    if len(items) != len(sources):
        raise ProtocolError(f"the answer has {len(items)} predictions for {len(sources)} pictures")
    parsed = [
        _item(answer, item, place, source, tensors.take)
        for place, (item, source) in enumerate(zip(items, sources, strict=True))
    ]
    tensors.check_end()
    return parsed


def models(reply: Reply) -> list[ModelInfo]:
    """The models of a 200 answer of /v1/models."""
    return [_model_info(item) for item in parse(reply.body).objects("models")]


def error_code(reply: Reply) -> str | None:
    """The code of an attnvgg server's error; None if it comes from something else."""
    try:
        return parse(reply.body).object("error").text("code")
    except ProtocolError:
        return None


def error(reply: Reply, request_id: str | None) -> APIStatusError:
    """The error that an answer other than 200 stands for."""
    code, message = error_code(reply), _foreign(reply)
    if code is not None:
        fields = parse(reply.body).object("error")
        message = fields.text("message") if "message" in fields else code
        request_id = fields.text("request_id") if "request_id" in fields else request_id
    return status_error(reply.status, code, message, request_id, retry_after(reply))


def _foreign(reply: Reply) -> str:
    """A message for an answer that is not an attnvgg server's."""
    if 300 <= reply.status < 400 and "location" in reply.headers:
        return f"redirected to {reply.headers['location']}; redirects are not followed, set the url"
    text = " ".join(reply.body[:400].decode("utf-8", "replace").split())
    return f"the server answered {text[:120]!r}" if text else "the server gave no reason"


class Tensors:
    """The raw bytes after the JSON of a binary answer, taken in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._data):
            raise ProtocolError(
                f"the answer is cut off: a tensor of {size} bytes at {start}, of {len(self._data)}"
            )
        return self._data[start : self._at]

    def check_end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise ProtocolError(f"the answer has {left} bytes that belong to no tensor")


def split(reply: Reply) -> tuple[Fields, Tensors]:
    """The JSON and the tensors behind it; a plain JSON answer has none."""
    length = reply.headers.get(JSON_LENGTH)
    if length is None:
        if reply.headers.get("content-type", "").startswith("application/octet-stream"):
            raise ProtocolError(f"the answer is binary and has no header {JSON_LENGTH}")
        return parse(reply.body), Tensors(b"")
    if not (length.isascii() and length.isdigit() and int(length[:18]) <= len(reply.body)):
        raise ProtocolError(
            f"the header {JSON_LENGTH} is {length[:40]!r}, of an answer of {len(reply.body)} bytes"
        )
    return parse(reply.body[: int(length)]), Tensors(reply.body[int(length) :])


def _item(
    answer: Fields, item: Fields, place: int, source: Source, take: Callable[[int], bytes]
) -> Prediction | ItemError:
    if "error" in item:
        reason = item.object("error")
        return ItemError(
            reason.text("code"), reason.text("message"), place, answer.text("request_id")
        )
    timings = answer.object("timings_ms")
    return Prediction(
        label=item.text("label"),
        index=item.integer("index"),
        probability=item.number("probability"),
        top_k=tuple(_score(score) for score in item.objects("top_k")),
        attention=_attention(item.object("attention"), take) if "attention" in item else None,
        model=_model(answer.object("model")),
        timings_ms={name: timings.number(name) for name in timings.values},
        input=_input(item.object("input")),
        request_id=answer.text("request_id"),
        _source=source,
    )


def _score(item: Fields) -> Score:
    return Score(item.text("label"), item.integer("index"), item.number("probability"))


def _model(item: Fields) -> Model:
    return Model(*(item.text(name) for name in ("name", "version", "sha256", "provider")))


def _input(item: Fields) -> Input:
    width, height, box = item.integer("width"), item.integer("height"), item.numbers("box")
    if len(box) != 4 or not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise ProtocolError(f"{item.path}: box {box} is no part of {width} x {height} pixels")
    return Input(width, height, (box[0], box[1], box[2], box[3]))


def _attention(levels: Fields, take: Callable[[int], bytes]) -> dict[str, Map]:
    return {name: _map(name, levels.object(name), take) for name in levels.values}


def _map(name: str, item: Fields, take: Callable[[int], bytes]) -> Map:
    shape = tuple(item.integers("shape"))
    scale = item.number("scale") if "scale" in item else None
    if "data" in item:
        data = _base64(name, item.text("data"))
    else:
        data = take(item.object("parameters").integer("binary_data_size"))
    return _tensors.decode(name, item.text("datatype"), shape, data, scale)


def _base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(f"attention map {name} is no base64: {error}") from error


def _model_info(item: Fields) -> ModelInfo:
    model = _model(item)
    return ModelInfo(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        provider=model.provider,
        default=item.values.get("default") is True,
        labels=tuple(item.texts("labels")) if "labels" in item else (),
        levels=tuple(item.texts("attention")) if "attention" in item else (),
    )
