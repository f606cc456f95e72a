"""One request until it is answered: attempts, waits, the deadline; the verbs come above.

Whatever the protocol, an attempt is a flow that ends in an answer or raises what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attnvgg_client import _requests, _responses
from attnvgg_client._config import Config
from attnvgg_client._errors import (
    APIConnectionError,
    APIStatusError,
    DeadlineError,
    ProtocolError,
)
from attnvgg_client._http import Flow, Reply, Request, Sleep, T, send
from attnvgg_client._retry import Deadline, backoff, pause, worth_retrying

LONGEST_TIMEOUT_MS = 10**8


def call(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    """A 200 answer, after as many attempts as it takes and the deadline allows.

    Raises:
        APIConnectionError, DeadlineError, ProtocolError, APIStatusError: of the last attempt.
    """
    return (yield from persist(config, deadline, lambda: _ok(config, request, deadline)))


def persist(config: Config, deadline: Deadline, once: Callable[[], Flow[T]]) -> Flow[T]:
    """What an attempt `once` ends in; another is made where that may help and time is left.

    Raises:
        What the last attempt raised.
    """
    number = 0
    while True:
        try:
            return (yield from once())
        except (APIConnectionError, APIStatusError) as error:
            wait = _wait(error, number)
            last = number >= config.max_retries
            if wait is None or last or wait >= deadline.remaining():
                raise
        number += 1
        yield Sleep(wait)


def _wait(error: APIConnectionError | APIStatusError, attempt: int) -> float | None:
    """Seconds until the next attempt, None if there should be none."""
    if isinstance(error, APIConnectionError):
        return backoff(attempt)
    if not worth_retrying(error):
        return None
    return pause(attempt, error.retry_after)


def _ok(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    reply = yield from attempt(config, request, deadline)
    if reply.status != 200:
        raise _responses.error(reply, request.headers["X-Request-ID"])
    return reply


def attempt(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    """One attempt, told how long the server has; its errors name the server and the request."""
    left = deadline.remaining()
    milliseconds = max(1, min(LONGEST_TIMEOUT_MS, int(left * 1000)))
    timed = _requests.with_header(request, "X-Timeout-Ms", str(milliseconds))
    with named(config, deadline, request.headers["X-Request-ID"]):
        return (yield from send(timed, left))


@contextmanager
def named(config: Config, deadline: Deadline, request_id: str) -> Iterator[None]:
    """Around one attempt: what the transport raises says which server and request it was about.

    Raises:
        DeadlineError: no time is left for an attempt.
    """
    try:
        if deadline.remaining() <= 0:
            raise DeadlineError("no time left to send the request")
        yield
    except APIConnectionError as error:
        raise APIConnectionError(
            f"{config.url} cannot be reached: {error}", request_id=request_id
        ) from error
    except APIStatusError as error:  # a DeadlineError, too, where the server raised it
        error.request_id = error.request_id or request_id
        raise
    except DeadlineError as error:
        message = f"{config.url}: no whole answer within {deadline.seconds:g} s"
        raise DeadlineError(message, request_id=request_id) from error
    except ProtocolError as error:
        raise ProtocolError(f"{config.url}: {error}", request_id=request_id) from error
