"""What is asked of Triton and what it answers, whichever protocol carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from attnvgg_client._door import Health
from attnvgg_client._errors import ProtocolError
from attnvgg_client._fields import Fields
from attnvgg_client._http import Flow
from attnvgg_client._retry import Deadline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LONGEST_TIMEOUT = 10**6


@dataclass(frozen=True)
class Question:
    """One inference: a tensor `data`, as raw bytes, and the outputs that are wanted."""

    model: str
    version: str | None
    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes
    outputs: Sequence[str]
    request_id: str


@dataclass(frozen=True)
class Answer:
    """The outputs [B, ...] that were asked for, float32, and the version that gave them."""

    version: str
    outputs: Mapping[str, Floats]


class Dialect(Protocol):
    """One protocol that Triton speaks. Each method is one attempt, which raises what `attempt` in
    _calls raises, and APIStatusError where Triton refuses."""

    def infer(self, question: Question, deadline: Deadline) -> Flow[Answer]:
        """The tensors that Triton answers with; whether they fit the question is not checked."""

    def config_of(self, model: str, deadline: Deadline) -> Flow[Fields]:
        """A model's configuration, in Triton's own words."""

    def index(self, deadline: Deadline) -> Flow[list[tuple[str, str]]]:
        """(name, version) of everything that is ready."""

    def health(self, deadline: Deadline) -> Flow[Health]:
        """Whether the server is ready."""


def microseconds(deadline: Deadline) -> int:
    """What is left, as Triton's parameter `timeout` has it: how long a request may wait there."""
    return max(1, int(min(deadline.remaining(), LONGEST_TIMEOUT) * 1e6))


def byte_strings(datas: Sequence[bytes]) -> bytes:
    """BYTES as raw bytes: each with its length before it, in 4 little-endian bytes."""
    return b"".join(part for data in datas for part in (len(data).to_bytes(4, "little"), data))


def floats(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Floats:
    """An output's raw bytes as an array of that shape.

    Raises:
        ProtocolError: it is no FP32, has another number of bytes, or a value that is no number.
    """
    import numpy as np

    if datatype != "FP32":
        raise ProtocolError(f"the output {name} has datatype {datatype!r}; FP32 is right")
    if min(shape, default=0) < 0 or len(data) != math.prod(shape) * 4:
        raise ProtocolError(f"the output {name}, FP32 {list(shape)}, came with {len(data)} bytes")
    array = np.frombuffer(data, "<f4").astype(np.float32).reshape(tuple(shape))
    if not np.isfinite(array).all():
        raise ProtocolError(f"the output {name} holds values that are no finite numbers")
    return array
