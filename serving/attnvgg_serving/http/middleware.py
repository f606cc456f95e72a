"""Around every request: its id, the security headers, its log line, its metrics, and JSON for what
nobody expected.
"""

import logging
import os
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attnvgg_serving import logs, metrics, tracing
from attnvgg_serving.errors import Internal
from attnvgg_serving.http.failures import failure
from attnvgg_serving.http.routes import OTHER, method_of, route_of

logger = logging.getLogger(__name__)

# An id ends up in headers and logs: what could forge a line or fill a disk is replaced.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_RAW = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
# Asked for every few seconds by machines: a line each would bury the rest.
UNLOGGED = frozenset({"/metrics", "/v2/health/live", "/v2/health/ready"})
GONE = 499  # no answer: the client went away; nginx made the number known


class Around:
    """Outermost of our middleware: nothing that is raised leaves it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        record = _begin(scope)
        metrics.request_begins(record.route)
        try:
            await self._answer(scope, receive, send, record)
        finally:
            seconds = time.monotonic() - started
            record.status = record.status or GONE
            record.ms = round(1000 * seconds, 3)
            metrics.request_ends(record.route, record.status, seconds)
            if record.model and record.provider:
                metrics.stage("total", seconds, record.model, record.provider)
            if record.route not in UNLOGGED:
                logs.write(record)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, record: logs.Record
    ) -> None:
        async def counting() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                record.bytes_in += len(message.get("body", b""))
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                add_headers(message, (b"x-request-id", record.request_id.encode()))
            else:
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counting, send_with_headers)
        except Exception:
            fields = {"request_id": record.request_id, "trace_id": record.trace_id}
            logger.exception("request %s failed", record.request_id, extra={"fields": fields})
            if not record.status:
                problem = Internal("something went wrong here; the log says what")
                await failure(problem, scope)(scope, counting, send_with_headers)


class Headed:
    """The security headers for the framework's own answers too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_headers(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def add_headers(message: Message, *more: tuple[bytes, bytes]) -> None:
    """Adds the security headers that a response does not set itself, and some more."""
    headers = list(message.get("headers", ()))
    own = {name for name, _ in headers}
    message["headers"] = [*headers, *(pair for pair in _RAW if pair[0] not in own), *more]


def _begin(scope: Scope) -> logs.Record:
    """What is known before anything is done; handlers add to it."""
    headers = Headers(scope=scope)
    request_id = _request_id(headers.get("x-request-id"))
    record = logs.Record(request_id, method_of(scope), route_of(scope))
    if record.route == OTHER:
        record.path = scope["path"]
    record.trace_id = tracing.trace_id(headers)
    logs.current.set(record)
    scope.setdefault("state", {}).update(request_id=request_id, record=record)
    return record


def _request_id(given: str | None) -> str:
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(16).hex()
