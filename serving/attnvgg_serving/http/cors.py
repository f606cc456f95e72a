"""Pages of other origins, where the operator names them."""

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

METHODS = ("GET", "POST")
ALLOWED = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Inference-Header-Content-Length",
    "X-API-Key",
    "X-Request-ID",
    "X-Timeout-Ms",
    "traceparent",
    "tracestate",
)
EXPOSED = ("Inference-Header-Content-Length", "Retry-After", "WWW-Authenticate", "X-Request-ID")
PREFLIGHT_SECONDS = 600


def cors(origins: Sequence[str]) -> Middleware:
    """A preflight needs no key: browsers send none. Cookies are not used, so none are allowed."""
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=METHODS,
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        allow_credentials=False,
        max_age=PREFLIGHT_SECONDS,
    )
