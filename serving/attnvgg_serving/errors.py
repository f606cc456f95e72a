"""Everything that this package raises on purpose.

ServingError
├── StartError                  the process cannot start: settings, bundles, provider
│   └── EngineAway              what should run it is not there; it may be later
└── WireError                   an answer to a client; has a status and a code
    ├── InvalidRequest          400 invalid_request
    ├── InvalidImage            400 invalid_image
    ├── TooManyImages           400 too_many_images
    ├── Unauthorized            401 unauthorized
    ├── Forbidden               403 forbidden
    ├── NotFound                404 not_found (no such path)
    ├── ModelNotFound           404 model_not_found
    ├── MethodNotAllowed        405 method_not_allowed
    ├── BodyTooLarge            413 body_too_large
    ├── ImageTooLarge           413 image_too_large
    ├── UnsupportedMediaType    415 unsupported_media_type
    ├── RateLimited             429 rate_limited, with Retry-After
    ├── Internal                500 internal
    ├── Overloaded              503 overloaded, with Retry-After
    ├── EngineUnavailable       503 engine_unavailable, with Retry-After
    └── DeadlineExceeded        504 deadline_exceeded
"""

from collections.abc import Mapping
from math import ceil
from typing import ClassVar

RETRY_AFTER = {"Retry-After": "1"}


class ServingError(Exception):
    """The root."""


class StartError(ServingError):
    """The process cannot start; the message is one line for the operator."""


class EngineAway(StartError):
    """What should run a bundle is not there. That says nothing about the bundle."""


class WireError(ServingError):
    """An answer to a client: `status` and `code` by class, the message by instance."""

    status: ClassVar[int]
    code: ClassVar[str]
    headers: Mapping[str, str] = {}

    @property
    def message(self) -> str:
        return str(self)


class InvalidRequest(WireError):
    status, code = 400, "invalid_request"


class InvalidImage(WireError):
    status, code = 400, "invalid_image"


class TooManyImages(WireError):
    status, code = 400, "too_many_images"


class Unauthorized(WireError):
    status, code, headers = 401, "unauthorized", {"WWW-Authenticate": "Bearer"}


class Forbidden(WireError):
    status, code = 403, "forbidden"


class NotFound(WireError):
    status, code = 404, "not_found"


class ModelNotFound(WireError):
    status, code = 404, "model_not_found"


class MethodNotAllowed(WireError):
    """`allowed` goes into the Allow header, as the protocol demands."""

    status, code = 405, "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allowed}


class BodyTooLarge(WireError):
    status, code = 413, "body_too_large"


class ImageTooLarge(WireError):
    status, code = 413, "image_too_large"


class UnsupportedMediaType(WireError):
    status, code = 415, "unsupported_media_type"


class RateLimited(WireError):
    status, code, headers = 429, "rate_limited", RETRY_AFTER


class Internal(WireError):
    status, code = 500, "internal"


class Overloaded(WireError):
    """`retry_after`: seconds after which there may be room again."""

    status, code, headers = 503, "overloaded", RETRY_AFTER

    def __init__(self, message: str, retry_after: float = 1) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(min(30, max(1, ceil(retry_after))))}


class EngineUnavailable(WireError):
    status, code, headers = 503, "engine_unavailable", RETRY_AFTER


class DeadlineExceeded(WireError):
    status, code = 504, "deadline_exceeded"


def all_wire_errors() -> dict[str, type[WireError]]:
    """Code -> class, in the order of the tree above."""
    return {kind.code: kind for kind in WireError.__subclasses__()}
