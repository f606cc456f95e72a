"""One HTTP request until it is answered: attempts, waits, the deadline; the verbs come above."""

from __future__ import annotations

from attnvgg_client import _requests, _responses
from attnvgg_client._config import Config
from attnvgg_client._errors import APIConnectionError, DeadlineError, ProtocolError
from attnvgg_client._http import Flow, Reply, Request, Sleep, send
from attnvgg_client._retry import Deadline, backoff, retry_after, worth_retrying

LONGEST_TIMEOUT_MS = 10**8


def call(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    """A 200 answer, after as many attempts as it takes and the deadline allows.

    Raises:
        APIConnectionError, DeadlineError, ProtocolError, APIStatusError: of the last attempt.
    """
    for number in range(config.max_retries + 1):
        outcome: Reply | APIConnectionError
        try:
            outcome = yield from attempt(config, request, deadline)
        except APIConnectionError as error:
            outcome = error
        wait = _wait(outcome, number)
        if wait is None or number == config.max_retries or wait >= deadline.remaining():
            break
        yield Sleep(wait)
    if isinstance(outcome, APIConnectionError):
        raise outcome
    if outcome.status != 200:
        raise _responses.error(outcome, request.headers["X-Request-ID"])
    return outcome


def _wait(outcome: Reply | APIConnectionError, attempt: int) -> float | None:
    """Seconds until the next attempt, None if there should be none."""
    if isinstance(outcome, APIConnectionError):
        return backoff(attempt)
    if not worth_retrying(outcome, _responses.error_code(outcome)):
        return None
    return max(backoff(attempt), retry_after(outcome) or 0.0)


def attempt(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    """One attempt, told how long the server has; its errors name the server and the request."""
    left = deadline.remaining()
    milliseconds = max(1, min(LONGEST_TIMEOUT_MS, int(left * 1000)))
    timed = _requests.with_header(request, "X-Timeout-Ms", str(milliseconds))
    request_id = request.headers["X-Request-ID"]
    try:
        if left <= 0:
            raise DeadlineError("no time left to send the request")
        return (yield from send(timed, left))
    except APIConnectionError as error:
        raise APIConnectionError(
            f"{config.url} cannot be reached: {error}", request_id=request_id
        ) from error
    except DeadlineError as error:
        message = f"{config.url}: no whole answer within {deadline.seconds:g} s"
        raise DeadlineError(message, request_id=request_id) from error
    except ProtocolError as error:
        raise ProtocolError(f"{config.url}: {error}", request_id=request_id) from error
