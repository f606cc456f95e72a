"""The verbs as flows: what is sent, checked, retried and returned, for both clients alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin, urlsplit

from attnvgg_client import _requests, _responses
from attnvgg_client._config import Config, seconds
from attnvgg_client._errors import (
    APIConnectionError,
    APIStatusError,
    DeadlineError,
    InvalidPictureError,
    ItemError,
    ProtocolError,
    status_error,
)
from attnvgg_client._http import Flow, Reply, Request, Sleep, send, work
from attnvgg_client._pictures import MAX_BYTES, Picture, PictureLike, from_bytes, load, url_of
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline, backoff, retry_after, worth_retrying

MAX_REDIRECTS = 5
LONGEST_TIMEOUT_MS = 10**8
HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class Health:
    """Whether the server would answer; `detail` says why not."""

    ready: bool
    detail: str = ""


def predict(
    config: Config, image: PictureLike, options: Options, timeout: float | None
) -> Flow[Prediction]:
    """One picture; see Client.predict."""
    deadline = deadline_of(config, timeout)
    picture = yield from picture_of(image, deadline)
    request = _requests.predict_one(config, picture, options)
    reply = yield from call(config, request, deadline)
    with_id = request.headers["X-Request-ID"]
    (item,) = checked_predictions(reply, [picture], with_id)
    if isinstance(item, ItemError):
        raise status_error(reply.status, item.code, item.message, with_id)
    return item


def models(config: Config, timeout: float | None) -> Flow[list[ModelInfo]]:
    """See Client.models."""
    request = _requests.get(config, "/v1/models")
    reply = yield from call(config, request, deadline_of(config, timeout))
    try:
        return _responses.models(reply)
    except ProtocolError as error:
        error.request_id = request.headers["X-Request-ID"]
        raise


def health(config: Config, timeout: float | None) -> Flow[Health]:
    """One question, never repeated; see Client.health."""
    request = _requests.get(config, "/readyz")
    reply = yield from _attempt(config, request, deadline_of(config, timeout))
    if reply.status == 200:
        return Health(ready=True)
    error = _responses.error(reply, request.headers["X-Request-ID"])
    if reply.status in (502, 503, 504):
        return Health(ready=False, detail=str(error))
    raise error


def wait_until_ready(config: Config, timeout: float) -> Flow[None]:
    """Asks again and again; see Client.wait_until_ready."""
    deadline, attempt, reason = Deadline(seconds("timeout", timeout)), 0, ""
    while deadline.remaining() > 0:
        try:
            found = yield from health(config, min(HEALTH_SECONDS, deadline.remaining()))
        except (APIConnectionError, DeadlineError) as error:
            found = Health(ready=False, detail=str(error))
        if found.ready:
            return
        # An attempt that the end of the wait cut short says nothing about the server.
        if not reason or deadline.remaining() > 0:
            reason = found.detail
        yield Sleep(max(0.0, min(backoff(attempt), 2.0, deadline.remaining())))
        attempt += 1
    raise DeadlineError(f"the server was not ready within {timeout:g} s: {reason}")


def deadline_of(config: Config, timeout: float | None) -> Deadline:
    """The call's own timeout, or the client's."""
    return Deadline(config.timeout if timeout is None else seconds("timeout", timeout))


def checked_predictions(
    reply: Reply, pictures: list[Picture], request_id: str
) -> list[Prediction | ItemError]:
    """Parses a 200 answer; a ProtocolError knows the request."""
    try:
        return _responses.predictions(reply, [picture.source for picture in pictures])
    except ProtocolError as error:
        error.request_id = request_id
        raise


def call(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
    """A 200 answer, after as many attempts as it takes and the deadline allows.

    Raises:
        APIConnectionError, DeadlineError, ProtocolError, APIStatusError: of the last attempt.
    """
    for attempt in range(config.max_retries + 1):
        outcome: Reply | APIConnectionError
        try:
            outcome = yield from _attempt(config, request, deadline)
        except APIConnectionError as error:
            outcome = error
        wait = _wait(outcome, attempt)
        if wait is None or attempt == config.max_retries or wait >= deadline.remaining():
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


def _attempt(config: Config, request: Request, deadline: Deadline) -> Flow[Reply]:
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


def picture_of(image: PictureLike, deadline: Deadline) -> Flow[Picture]:
    """The picture, fetched if it is a URL.

    Raises:
        InvalidPictureError
    """
    url = url_of(image)
    if url is None:
        return (yield from work(partial(load, image)))
    what = url.split("?")[0]  # a query may hold a signature, and messages end up in logs
    try:
        body = yield from _fetch(url, deadline)
    except (APIConnectionError, DeadlineError, ProtocolError) as error:
        raise InvalidPictureError(f"{what}: {error}", code="unreadable") from error
    except APIStatusError as error:
        message = f"{what}: the answer has status {error.status}"
        raise InvalidPictureError(message, code="unreadable") from error
    return from_bytes(body, what)


def _fetch(url: str, deadline: Deadline) -> Flow[bytes]:
    for _ in range(MAX_REDIRECTS + 1):
        reply = yield from send(_requests.fetch(url, MAX_BYTES), max(1e-3, deadline.remaining()))
        location = reply.headers.get("location")
        if reply.status not in (301, 302, 303, 307, 308) or location is None:
            break
        url = urljoin(url, location)
        if urlsplit(url).scheme not in ("http", "https"):
            raise ProtocolError("redirected to something else than http or https")
    if reply.status != 200:
        raise status_error(reply.status, None, "")
    return reply.body
