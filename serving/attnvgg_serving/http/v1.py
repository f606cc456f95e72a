"""/v1: a picture in, a label and maps out."""

import time

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from attnvgg_serving import schemas, stages
from attnvgg_serving.errors import WireError, all_wire_errors
from attnvgg_serving.gateway import Gateway, Model
from attnvgg_serving.http import body, deadline, pictures
from attnvgg_serving.http.options import Options, parse
from attnvgg_serving.http.v1_answer import BINARY, JSON_LENGTH, Outcomes, answer, info

__all__ = ["BINARY", "CLIENT_GONE", "JSON_LENGTH", "models", "predict"]

# Nobody reads this answer; nginx made the number known for a client that went away.
CLIENT_GONE = Response(status_code=499)


async def predict(request: Request) -> Response:
    """POST /v1/predict."""
    started = time.monotonic()
    gateway: Gateway = request.app.state.gateway
    settings = gateway.settings
    options = parse(request.query_params)
    model = gateway.registry.find(options.model, options.version)
    content_type = body.header(request, b"content-type") or ""
    pictures.media_type(content_type)
    body.check_headers(request, settings.max_body_bytes)
    budget: body.Budget = request.app.state.budget
    try:
        async with deadline.within(deadline.budget_ms(request, settings.timeout_ms)) as until:
            with budget.lease() as lease:
                data = await body.read(request, settings.max_body_bytes, lease)
                work = _run(gateway, model, data, content_type, options, until)
                del data
                outcomes = await deadline.while_connected(request, work)
    except ClientDisconnect:
        return CLIENT_GONE
    _check_any(outcomes)
    with stages.encoding(model.label):
        return answer(request, model, outcomes, options, started)


async def models(request: Request) -> Response:
    """GET /v1/models."""
    gateway: Gateway = request.app.state.gateway
    registry = gateway.registry
    described = [_describe(model, registry.is_default(model)) for model in registry.all()]
    return Response(schemas.Models(models=described).json_bytes(), media_type="application/json")


async def _run(
    gateway: Gateway, model: Model, data: bytes, content_type: str, options: Options, until: float
) -> Outcomes:
    found = await pictures.unpack_aside(data, content_type, gateway.settings.max_images)
    del data
    outputs = ["probabilities"]
    if options.return_attention:
        outputs += model.manifest.attention.values()
    return await gateway.predict(model, found, outputs, until)


def _check_any(outcomes: Outcomes) -> None:
    """One that succeeded makes the request a success.

    Raises:
        WireError: the lone picture's error, or the first one if all of several failed.
    """
    failed = [outcome for outcome in outcomes if isinstance(outcome, WireError)]
    if len(failed) < len(outcomes):
        return
    if len(failed) == 1:
        raise failed[0]
    first = failed[0]
    raise all_wire_errors()[first.code](
        f"none of the {len(failed)} pictures could be used; the first: {first.message}"
    )


def _describe(model: Model, default: bool) -> schemas.ModelDescription:
    manifest = model.manifest
    input = manifest.input
    return schemas.ModelDescription(
        **info(model),
        default=default,
        labels=list(manifest.labels),
        input=schemas.ModelInput(
            width=input.width, height=input.height, geometry=input.geometry, filter=input.filter
        ),
        levels=[
            schemas.ModelLevel(name=level.name, grid=level.grid, normalisation=level.normalisation)
            for level in manifest.levels
        ],
        attention=list(manifest.attention),
    )
