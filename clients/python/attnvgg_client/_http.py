"""What a call is made of, without saying how it is carried out.

A flow is a generator: it yields what is to be done (send this, sleep so long, do this work) and is
given the outcome. `Client` carries the same flows out by blocking, `AsyncClient` by awaiting, so
that requests, retries and checks are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. `limit` bounds the answer's body, in bytes."""

    method: str
    url: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes = b""
    limit: int = 2**28


@dataclass(frozen=True)
class Reply:
    """One whole HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Send:
    """Send this and read the whole answer within so many seconds. Outcome: a Reply."""

    request: Request
    seconds: float


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Read a file or encode a picture: what would hold up an event loop. Outcome: its result."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Call:
    """Make this unary gRPC call of the inference service, such as "ModelInfer", within so many
    seconds. Outcome: the response message."""

    method: str
    message: Any
    seconds: float


Effect: TypeAlias = Send | Sleep | Work | Call
Flow: TypeAlias = Generator[Effect, Any, T]


def send(request: Request, seconds: float) -> Flow[Reply]:
    """Send, with the type of its outcome."""
    reply: Reply = yield Send(request, seconds)
    return reply


def work(function: Callable[[], T]) -> Flow[T]:
    """Work, with the type of its outcome."""
    result: T = yield Work(function)
    return result
