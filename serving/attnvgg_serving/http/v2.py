"""/v2: the Open Inference Protocol over REST, for the clients that Triton has."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from attnvgg_serving import stages
from attnvgg_serving.errors import EngineUnavailable, WireError, all_wire_errors
from attnvgg_serving.gateway import Gateway, Seen
from attnvgg_serving.http import body, deadline, oip, oip_answer, v2_models, v2_repository
from attnvgg_serving.http.v1 import BINARY, CLIENT_GONE, JSON_LENGTH
from attnvgg_serving.http.v2_models import Served
from attnvgg_serving.http.v2_schemas import ServerMetadata
from attnvgg_serving.schemas import Wire

VERSION = version("attnvgg")

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
]
# Less JSON than this is read and written on the event loop: to change threads costs more.
SMALL = 32_768
_LENGTH = JSON_LENGTH.lower().encode()
# One at a time: the GIL allows no more anyway, and JSON takes many times its size as objects.
_slow = ThreadPoolExecutor(1, thread_name_prefix="json")


async def server(request: Request) -> Response:
    """GET /v2."""
    return _json(ServerMetadata(name="attnvgg", version=VERSION, extensions=EXTENSIONS))


async def live(request: Request) -> Response:
    """GET /v2/health/live."""
    return Response()


async def ready(request: Request) -> Response:
    """GET /v2/health/ready."""
    if not _gateway(request).ready:
        raise EngineUnavailable("not every model is ready")
    return Response()


async def model(request: Request) -> Response:
    """GET /v2/models/NAME[/versions/VERSION]."""
    return _json(v2_models.metadata(_gateway(request), _served(request)))


async def model_ready(request: Request) -> Response:
    """GET /v2/models/NAME[/versions/VERSION]/ready."""
    served = _served(request)
    if not served.model.batcher.alive:
        raise EngineUnavailable(f"{served.name} is not ready")
    return Response()


async def config(request: Request) -> Response:
    """GET /v2/models/NAME[/versions/VERSION]/config."""
    limit = _gateway(request).settings.max_images
    return _json(v2_models.config(_served(request), limit))


async def infer(request: Request) -> Response:
    """POST /v2/models/NAME[/versions/VERSION]/infer."""
    gateway, served = _gateway(request), _served(request)
    settings, budget = gateway.settings, request.app.state.budget
    body.check_headers(request, settings.max_body_bytes)
    json_length = body.header(request, _LENGTH)
    try:
        async with deadline.within(deadline.budget_ms(request, settings.timeout_ms)) as until:
            with budget.lease() as lease:
                data = await body.read(request, settings.max_body_bytes, lease)
                work = _answer(gateway, served, data, json_length, until)
                answer = await deadline.while_connected(request, work)
    except ClientDisconnect:
        return CLIENT_GONE
    if answer.json_length is None:
        return Response(answer.content, media_type="application/json")
    headers = {JSON_LENGTH: str(answer.json_length)}
    return Response(answer.content, media_type=BINARY, headers=headers)


async def _answer(
    gateway: Gateway, served: Served, data: bytes, json_length: str | None, until: float
) -> oip_answer.Body:
    loop = asyncio.get_running_loop()
    takes = v2_models.takes(served, gateway.settings.max_images)
    if len(data) < SMALL or (json_length is not None and len(json_length) < 5):
        asked = oip.parse(data, json_length, takes)
    else:
        asked = await loop.run_in_executor(_slow, oip.parse, data, json_length, takes)
    pictures = await _outputs(gateway, served, asked, until)
    manifest = served.manifest
    model = oip_answer.Model(served.name, manifest.version, manifest.labels)
    with stages.encoding(served.model.label):
        if oip_answer.numbers(asked, pictures) < SMALL // 16:
            return oip_answer.encode(asked, model, pictures)
        return await loop.run_in_executor(_slow, oip_answer.encode, asked, model, pictures)


async def _outputs(
    gateway: Gateway, served: Served, asked: oip.Asked, until: float
) -> list[oip_answer.Outputs]:
    names = [wanted.name for wanted in asked.outputs]
    if asked.timeout is not None:
        until = min(until, time.monotonic() + asked.timeout)
    if isinstance(asked.tensor, list):
        outcomes = await gateway.predict(served.model, asked.tensor, names, until)
        return [seen.ran.outputs for seen in _all_seen(outcomes)]
    ran = await gateway.infer(served.model, asked.tensor, names, until)
    return [each.outputs for each in ran]


def _all_seen(outcomes: Sequence[Seen | WireError]) -> list[Seen]:
    """The pictures of one tensor share its fate: the protocol has one error a request.

    Raises:
        WireError: the first picture's that failed.
    """
    seen: list[Seen] = []
    for index, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, WireError):
            where = f"picture {index} of {len(outcomes)}: " if len(outcomes) > 1 else ""
            raise all_wire_errors()[outcome.code](f"{where}{outcome.message}")
        seen.append(outcome)
    return seen


def _json(message: Wire) -> Response:
    return Response(message.json_bytes(), media_type="application/json")


def _served(request: Request) -> Served:
    path = request.path_params
    return v2_models.find(_gateway(request), path["name"], path.get("version"))


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _routes() -> list[Route]:
    paths = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
    routes = [
        *(Route(f"{path}/infer", infer, methods=["POST"]) for path in paths),
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/repository/index", v2_repository.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", v2_repository.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", v2_repository.unload, methods=["POST"]),
    ]
    for path in paths:
        routes.append(Route(path, model))
        routes.append(Route(f"{path}/ready", model_ready))
        routes.append(Route(f"{path}/config", config))
    return routes


ROUTES = _routes()
