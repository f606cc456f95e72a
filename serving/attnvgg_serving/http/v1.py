"""/v1: a picture in, a label and maps out."""

import asyncio
import time
from collections.abc import Iterable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from attnvgg_serving import encoding, schemas
from attnvgg_serving.encoding import Tensor
from attnvgg_serving.errors import WireError, all_wire_errors
from attnvgg_serving.gateway import Gateway, Model, Seen
from attnvgg_serving.http import body, deadline, pictures
from attnvgg_serving.http.options import Options, parse

BINARY = "application/octet-stream"
JSON_LENGTH = "Inference-Header-Content-Length"
# Nobody reads this answer; nginx made the number known for a client that went away.
CLIENT_GONE = Response(status_code=499)

Outcomes = list[Seen | WireError]


async def predict(request: Request) -> Response:
    """POST /v1/predict."""
    started = time.monotonic()
    gateway: Gateway = request.app.state.gateway
    settings = gateway.settings
    options = parse(request.query_params)
    model = gateway.registry.find(options.model, options.version)
    pictures.media_type(request.headers.get("content-type"))
    body.check_headers(request, settings.max_body_bytes)
    budget: body.Budget = request.app.state.budget
    try:
        async with deadline.within(deadline.budget_ms(request, settings.timeout_ms)) as until:
            with budget.lease() as lease:
                data = await body.read(request, settings.max_body_bytes, lease)
                work = _run(gateway, model, data, request.headers["content-type"], options, until)
                outcomes = await deadline.while_connected(request, work)
    except ClientDisconnect:
        return CLIENT_GONE
    _check_any(outcomes)
    return _answer(request, model, outcomes, options, started)


async def models(request: Request) -> Response:
    """GET /v1/models."""
    gateway: Gateway = request.app.state.gateway
    default = gateway.registry.find(None, None)
    described = [_describe(model, model is default) for model in gateway.registry.all()]
    return Response(schemas.Models(models=described).json_bytes(), media_type="application/json")


async def _run(
    gateway: Gateway, model: Model, data: bytes, content_type: str, options: Options, until: float
) -> Outcomes:
    limit = gateway.settings.max_images
    # Unpacking megabytes of base64 or of multipart would hold up everybody else on the loop.
    found = await asyncio.to_thread(pictures.unpack, data, content_type, limit)
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


def _answer(
    request: Request, model: Model, outcomes: Outcomes, options: Options, started: float
) -> Response:
    tensors: list[Tensor] = []
    # Where maps were not asked for the JSON is the whole answer, in either form.
    binary = _accepts_binary(request.headers.getlist("accept"))
    predictions: list[schemas.Prediction | schemas.FailedPrediction] = []
    for outcome in outcomes:
        if isinstance(outcome, WireError):
            problem = schemas.Problem(code=outcome.code, message=outcome.message)
            predictions.append(schemas.FailedPrediction(error=problem))
        else:
            maps = _maps(outcome, model, options) if options.return_attention else None
            tensors += maps.values() if maps else ()
            predictions.append(_prediction(outcome, model, options, maps, binary))
    answer = schemas.Answer(
        model=_info(model),
        request_id=request.state.request_id,
        timings_ms=_timings(outcomes, time.monotonic() - started),
        predictions=predictions,
    ).json_bytes()
    if not binary:
        return Response(answer, media_type="application/json")
    content = b"".join([answer, *(tensor.data for tensor in tensors)])
    return Response(content, media_type=BINARY, headers={JSON_LENGTH: str(len(answer))})


def _maps(seen: Seen, model: Model, options: Options) -> dict[str, Tensor]:
    return {
        level: encoding.encode(seen.ran.outputs[output], options.attention_format)
        for level, output in model.manifest.attention.items()
    }


def _prediction(
    seen: Seen, model: Model, options: Options, maps: dict[str, Tensor] | None, binary: bool
) -> schemas.Prediction:
    top = encoding.top(seen.ran.outputs["probabilities"], model.manifest.labels, options.top_k)
    fitted = seen.fitted
    return schemas.Prediction(
        **top[0].model_dump(),
        top_k=top,
        input=schemas.Input(width=fitted.width, height=fitted.height, box=fitted.box),
        attention=None if maps is None else _attention(maps, binary),
    )


def _attention(maps: dict[str, Tensor], binary: bool) -> dict[str, schemas.AttentionMap]:
    return {level: map.beside() if binary else map.inline() for level, map in maps.items()}


def _timings(outcomes: Outcomes, total: float) -> schemas.Timings:
    seen = [outcome for outcome in outcomes if isinstance(outcome, Seen)]

    def slowest(seconds: Iterable[float]) -> float:
        return round(1000 * max(seconds), 3)

    return schemas.Timings(
        decode=slowest(one.decoded for one in seen),
        queue=slowest(one.ran.queued for one in seen),
        inference=slowest(one.ran.ran for one in seen),
        total=slowest([total]),
    )


def _info(model: Model) -> schemas.ModelInfo:
    manifest, engine = model.manifest, model.engine
    return schemas.ModelInfo(
        name=manifest.name,
        version=manifest.version,
        sha256=engine.sha256,
        provider=engine.provider,
    )


def _describe(model: Model, default: bool) -> schemas.ModelDescription:
    manifest = model.manifest
    input = manifest.input
    return schemas.ModelDescription(
        **_info(model).model_dump(),
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


def _accepts_binary(accept: list[str]) -> bool:
    """JSON is the default; only who names the binary form gets it."""
    kinds = (part.split(";")[0].strip().lower() for value in accept for part in value.split(","))
    return BINARY in kinds
