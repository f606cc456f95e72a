"""The Open Inference Protocol: an answer, from outputs to JSON and raw tensors. No HTTP."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnvgg_serving.errors import EngineUnavailable
from attnvgg_serving.http import oip_tensors
from attnvgg_serving.http.oip import Asked, Wanted

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """The model that answers, under the name by which it was asked."""

    name: str
    version: str
    labels: Sequence[str]


class Body(NamedTuple):
    """An answer's bytes; `json_length` of them are JSON if raw tensors follow it."""

    content: bytes
    json_length: int | None


class _Tensor(NamedTuple):
    """One output: what the JSON says, and what follows it."""

    described: dict[str, Any]
    raw: bytes | None


def encode(asked: Asked, model: Model, pictures: Sequence[Outputs]) -> Body:
    """The answer with the wanted outputs of each picture (without the batch axis).

    Raises:
        EngineUnavailable: a value is no number, which JSON cannot say.
    """
    tensors = [_tensor(wanted, model, pictures) for wanted in asked.outputs]
    message: dict[str, Any] = {} if asked.id is None else {"id": asked.id}
    message |= {"model_name": model.name, "model_version": model.version}
    message["outputs"] = [tensor.described for tensor in tensors]
    try:
        head = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise EngineUnavailable("the engine gave values that are no numbers") from None
    raw = [tensor.raw for tensor in tensors if tensor.raw is not None]
    return Body(b"".join([head, *raw]), len(head)) if raw else Body(head, None)


def numbers(asked: Asked, pictures: Sequence[Outputs]) -> int:
    """How many numbers the JSON will have: what its making costs."""
    names = [each.name for each in asked.outputs if not (each.binary or each.classes)]
    return sum(picture[name].size for picture in pictures for name in names)


def _tensor(wanted: Wanted, model: Model, pictures: Sequence[Outputs]) -> _Tensor:
    values = [picture[wanted.name] for picture in pictures]
    if wanted.classes:
        return _classes(wanted, model, values)
    shape = [len(values), *values[0].shape]
    described: dict[str, Any] = {"name": wanted.name, "datatype": "FP32", "shape": shape}
    if not wanted.binary:
        described["data"] = [number for each in values for number in each.ravel().tolist()]
        return _Tensor(described, None)
    return _binary(
        described, b"".join([each.astype("<f4", copy=False).tobytes() for each in values])
    )


def _classes(wanted: Wanted, model: Model, values: Sequence[NDArray[np.float32]]) -> _Tensor:
    """Only the probabilities have labels."""
    labels = model.labels if wanted.name == "probabilities" else ()
    count = min(wanted.classes, values[0].size)
    texts = [text for each in values for text in oip_tensors.classes(each, count, labels)]
    shape = [len(values), count]
    described: dict[str, Any] = {"name": wanted.name, "datatype": "BYTES", "shape": shape}
    if not wanted.binary:
        return _Tensor({**described, "data": texts}, None)
    return _binary(described, oip_tensors.packed(texts))


def _binary(described: dict[str, Any], raw: bytes) -> _Tensor:
    return _Tensor({**described, "parameters": {"binary_data_size": len(raw)}}, raw)
