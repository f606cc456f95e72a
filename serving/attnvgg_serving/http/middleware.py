"""Around every request: its id, the security headers, and JSON for what nobody expected."""

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attnvgg_serving.errors import Internal, InvalidRequest, MethodNotAllowed, NotFound, WireError
from attnvgg_serving.schemas import Failure, RequestProblem

logger = logging.getLogger(__name__)

# An id ends up in headers and logs: what could forge a line or fill a disk is replaced.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Around:
    """Outermost of our middleware: nothing that is raised leaves it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            logger.exception("request %s failed", request_id)
            if not begun:
                answer = failure(
                    Internal("something went wrong here; the log says what"), request_id
                )
                await answer(scope, receive, send_with_headers)


def failure(error: WireError, request_id: str) -> Response:
    """The answer that says what went wrong with the whole request."""
    problem = RequestProblem(code=error.code, message=error.message, request_id=request_id)
    return Response(
        Failure(error=problem).json_bytes(),
        status_code=error.status,
        headers=dict(error.headers),
        media_type="application/json",
    )


async def on_wire_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for WireError."""
    assert isinstance(error, WireError)
    return failure(error, request.state.request_id)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's handler for what its router raises: no such path, no such method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    translated: WireError
    if error.status_code == 404:
        translated = NotFound(f"there is nothing at {path}; /openapi.json lists what there is")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        translated = MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allowed)
    else:
        translated = InvalidRequest(error.detail)
    return failure(translated, request.state.request_id)


def _request_id(given: str | None) -> str:
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return uuid.uuid4().hex
