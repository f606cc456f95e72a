"""The errors of this package; every one is an AttnVGGError.

    AttnVGGError
    ├── InvalidArgumentError (ValueError)   an argument cannot be right; nothing was sent
    │   └── InvalidPictureError             ... because it is no usable picture: .code
    ├── APIConnectionError                  no connection, or it broke: .request_id
    ├── DeadlineError (TimeoutError)        the time given was not enough: .request_id
    ├── ProtocolError                       the answer cannot be understood: .request_id
    └── APIStatusError                      the server answered with an error:
        │                                   .status, .code, .request_id, .retry_after
        ├── InvalidRequestError             400 invalid_request, too_many_images
        ├── PictureRejectedError            400, 413, 415: the server cannot use this picture
        ├── AuthenticationError             401 unauthorized: no key, or not a known one
        ├── PermissionDeniedError           403 forbidden
        ├── NotFoundError                   404: no such model, or no attnvgg server at that URL
        ├── RateLimitedError                429 rate_limited
        ├── OverloadedError                 503 overloaded: the queue is full
        ├── UnavailableError                502, 503, 504 otherwise: engine down, starting, a proxy
        ├── ServerDeadlineError             504 deadline_exceeded (also a DeadlineError)
        └── ServerError                     500 internal, and every other status

Rate limits, overload and unavailability were retried before they are raised, as far as
`max_retries` and the deadline allowed. An ItemError is not raised: it stands in the place of one
picture among the results of `predict_batch` and `predict_many`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class AttnVGGError(Exception):
    """The root: catches everything that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt as cls(*args), which knows no keywords; process pools need this.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[AttnVGGError], args: tuple[Any, ...], state: dict[str, Any]
) -> AttnVGGError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidArgumentError(AttnVGGError, ValueError):
    """An argument cannot be right; nothing was sent."""


class InvalidPictureError(InvalidArgumentError):
    """An argument is no usable picture.

    code: `invalid_argument` (not a kind of thing that can be a picture), `unreadable` (the file or
        URL cannot be read), or the server's own `invalid_image`, `unsupported_media_type`,
        `image_too_large`, found out without asking it.
    """

    def __init__(self, message: str, *, code: str = "invalid_argument") -> None:
        super().__init__(message)
        self.code = code


class _CallError(AttnVGGError):
    """What the errors of a call share: the id under which the server's log knows it."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class APIConnectionError(_CallError):
    """The server cannot be reached, or the connection broke before the answer was whole."""


class DeadlineError(_CallError, TimeoutError):
    """The call took longer than its timeout, retries included."""


class ProtocolError(_CallError):
    """The answer is not what an attnvgg server says; perhaps the URL is something else's."""


@contextmanager
def about(request_id: str) -> Iterator[None]:
    """An answer that cannot be understood inside is that of this request."""
    try:
        yield
    except ProtocolError as error:
        error.request_id = request_id
        raise


class APIStatusError(_CallError):
    """The server answered with an error.

    message: what the server says. status: the HTTP status. code: the server's machine-readable
        code, or `http_502` and the like where something else answered.
    request_id: quote it when you report the problem.
    retry_after: seconds after which the server asks to be tried again, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        tail = f", request {self.request_id}" if self.request_id else ""
        return f"{self.message} ({self.status} {self.code}{tail})"


class InvalidRequestError(APIStatusError):
    """The request as a whole is wrong."""


class PictureRejectedError(APIStatusError):
    """The server cannot use this picture: damaged, too large, or of another format."""


class AuthenticationError(APIStatusError):
    """The server wants an API key, or does not know this one."""


class PermissionDeniedError(APIStatusError):
    """The API key is known and does not allow this."""


class NotFoundError(APIStatusError):
    """There is no such model, or no attnvgg server at this URL."""


class RateLimitedError(APIStatusError):
    """Too many requests under this key."""


class OverloadedError(APIStatusError):
    """The server's queue is full."""


class UnavailableError(APIStatusError):
    """The server is there and cannot answer now."""


class ServerDeadlineError(APIStatusError, DeadlineError):
    """The server gave up because the deadline that came with the request had passed."""


class ServerError(APIStatusError):
    """The server failed, or gave an answer that has no class of its own."""


@dataclass(frozen=True)
class ItemError:
    """Why one picture of several has no prediction; a value, never raised.

    code: the server's, or that of InvalidPictureError. index: the picture's place among all given.
    request_id: quote it when you report the problem; None where nothing was sent.
    """

    code: str
    message: str
    index: int
    request_id: str | None = None


_BY_CODE: dict[str, type[APIStatusError]] = {
    "invalid_request": InvalidRequestError,
    "too_many_images": InvalidRequestError,
    "invalid_image": PictureRejectedError,
    "image_too_large": PictureRejectedError,
    "body_too_large": PictureRejectedError,
    "unsupported_media_type": PictureRejectedError,
    "unauthorized": AuthenticationError,
    "forbidden": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "not_found": NotFoundError,
    "rate_limited": RateLimitedError,
    "overloaded": OverloadedError,
    "engine_unavailable": UnavailableError,
    "deadline_exceeded": ServerDeadlineError,
    "internal": ServerError,
}
CODES = tuple(_BY_CODE)
"""The codes that an attnvgg server, or a model of ours in Triton, gives its errors."""
_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: PictureRejectedError,
    415: PictureRejectedError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def status_error(
    status: int,
    code: str | None,
    message: str,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> APIStatusError:
    """The error of the class that belongs to the server's code, or failing that to the status."""
    kind = _BY_CODE.get(code or "") or _BY_STATUS.get(status, ServerError)
    return kind(
        message,
        status=status,
        code=code or f"http_{status}",
        request_id=request_id,
        retry_after=retry_after,
    )
