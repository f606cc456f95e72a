"""/v2/repository: Triton's model repository extension.

Both names of a bundle mean the same bundle: loading or unloading either does it for both.
"""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attnvgg_serving import keys
from attnvgg_serving.errors import InvalidRequest
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.http import body, deadline, oip_json
from attnvgg_serving.http.v2_models import SUFFIX, base
from attnvgg_serving.http.v2_schemas import IndexEntry
from attnvgg_serving.repository import Entry

READY = "READY"


async def index(request: Request) -> Response:
    """POST /v2/repository/index; {"ready": true} leaves out what does not serve."""
    message = await _message(request)
    ready = message.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidRequest(f"ready is {oip_json.short(ready)}; it must be true or false")
    entries = _gateway(request).repository.index()
    return JSONResponse(
        [
            IndexEntry(
                name=name, version=each.version, state=each.state, reason=each.reason
            ).model_dump()
            for name, each in _both(entries)
            if each.state == READY or not ready
        ]
    )


async def load(request: Request) -> Response:
    """POST /v2/repository/models/NAME/load."""
    keys.require_admin(request)
    message = await _message(request)
    parameters = message.get("parameters") or {}
    if parameters:
        raise InvalidRequest(
            f"parameters is {oip_json.short(parameters)}; it must be empty, as a model is loaded "
            "just as its bundle is"
        )
    await _gateway(request).repository.load(_bundle(request))
    return Response()


async def unload(request: Request) -> Response:
    """POST /v2/repository/models/NAME/unload; parameters change nothing."""
    keys.require_admin(request)
    await _message(request)
    await _gateway(request).repository.unload(_bundle(request))
    return Response()


def _both(entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Each bundle's versions under its name, then under NAME-encoded."""
    names = dict.fromkeys(each.name for each in entries)
    return [
        (name + suffix, each)
        for name in names
        for suffix in ("", SUFFIX)
        for each in entries
        if each.name == name
    ]


def _bundle(request: Request) -> str:
    """The bundle that a name means; its own name comes before another's NAME-encoded."""
    name: str = request.path_params["name"]
    own = {each.name for each in _gateway(request).repository.index()}
    return name if name in own else base(name)


async def _message(request: Request) -> dict[str, Any]:
    """The body, where none is an empty object."""
    settings, budget = _gateway(request).settings, request.app.state.budget
    body.check_headers(request, settings.max_body_bytes)
    # Only the reading has a deadline: a change that has begun goes on to its end.
    async with deadline.within(deadline.budget_ms(request, settings.timeout_ms)):
        with budget.lease() as lease:
            data = await body.read(request, settings.max_body_bytes, lease)
            return oip_json.read(data) if data else {}


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway
