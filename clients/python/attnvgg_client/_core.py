"""The verbs as flows: what is sent, checked, retried and returned, for both clients alike."""

from __future__ import annotations

from functools import partial
from urllib.parse import urljoin, urlsplit

from attnvgg_client import _requests
from attnvgg_client._config import Config, seconds
from attnvgg_client._door import Door, Health
from attnvgg_client._errors import (
    APIConnectionError,
    APIStatusError,
    DeadlineError,
    InvalidPictureError,
    ItemError,
    ProtocolError,
    status_error,
)
from attnvgg_client._http import Flow, Sleep, send, work
from attnvgg_client._pictures import MAX_BYTES, Picture, PictureLike, from_bytes, load, url_of
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import Options
from attnvgg_client._retry import Deadline, backoff

MAX_REDIRECTS = 5
HEALTH_SECONDS = 5.0


def predict(door: Door, image: PictureLike, options: Options, timeout: float) -> Flow[Prediction]:
    """One picture; see Client.predict."""
    deadline = Deadline(timeout)
    picture = yield from picture_of(image, deadline)
    (item,) = yield from door.ask([picture], options, deadline)
    if isinstance(item, ItemError):
        raise status_error(200, item.code, item.message, item.request_id)
    return item


def wait_until_ready(door: Door, timeout: float) -> Flow[None]:
    """Asks again and again; see Client.wait_until_ready."""
    deadline, attempt, reason = Deadline(seconds("timeout", timeout)), 0, ""
    while deadline.remaining() > 0:
        try:
            found = yield from door.health(Deadline(min(HEALTH_SECONDS, deadline.remaining())))
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


def seconds_of(config: Config, timeout: float | None) -> float:
    """The call's own timeout, or the client's."""
    return config.timeout if timeout is None else seconds("timeout", timeout)


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
