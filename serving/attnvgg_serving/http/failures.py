"""The answers for what went wrong with a whole request, in the form of its door."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from attnvgg_serving import metrics
from attnvgg_serving.errors import InvalidRequest, MethodNotAllowed, NotFound, WireError
from attnvgg_serving.schemas import Failure, ProtocolFailure, RequestProblem


def failure(error: WireError, scope: Scope) -> Response:
    """The answer; the log and the metrics hear of it here, so that no refusal is forgotten."""
    scope["state"]["record"].code = error.code
    metrics.refused(error.code)
    return Response(
        _problem(error, scope["state"]["request_id"], scope["path"]).json_bytes(),
        status_code=error.status,
        headers=dict(error.headers),
        media_type="application/json",
    )


async def on_wire_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for WireError."""
    assert isinstance(error, WireError)
    return failure(error, request.scope)


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
    return failure(translated, request.scope)


def _problem(error: WireError, request_id: str, path: str) -> Failure | ProtocolFailure:
    if path == "/v2" or path.startswith("/v2/"):
        return ProtocolFailure(error=f"{error.code}: {error.message}")
    problem = RequestProblem(code=error.code, message=error.message, request_id=request_id)
    return Failure(error=problem)
