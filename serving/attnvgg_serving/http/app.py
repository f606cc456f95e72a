"""The ASGI application: every path of this service but the framework's health."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from attnvgg_serving import metrics, tracing
from attnvgg_serving.errors import WireError
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.http import page, v1, v2
from attnvgg_serving.http.access import Access, Door
from attnvgg_serving.http.body import Budget
from attnvgg_serving.http.cors import cors
from attnvgg_serving.http.failures import on_http_exception, on_wire_error
from attnvgg_serving.http.middleware import Around
from attnvgg_serving.http.openapi import document
from attnvgg_serving.keys import KeyFile
from attnvgg_serving.settings import Settings


def create() -> Starlette:
    """An application without a gateway; `connect` gives it one before the first request."""
    app = Starlette(
        routes=[  # looked at in this order
            Route("/v1/predict", v1.predict, methods=["POST"]),
            *v2.ROUTES,
            Route("/", page.index),
            Route("/openapi.json", _openapi),
            Route("/metrics", _metrics),
            Route("/v1/models", v1.models),
            Mount("/web", routes=[Route("/{name:path}", page.file)]),
        ],
        middleware=[Middleware(Around), Middleware(Access)],  # see guard
        exception_handlers={
            WireError: on_wire_error,
            HTTPException: on_http_exception,
            ClientDisconnect: _gone,
        },
    )
    # A path with a slash too many does not exist; a redirect would drop the body of a POST.
    app.router.redirect_slashes = False
    return app


def connect(app: Starlette, gateway: Gateway) -> None:
    page.files()  # read now: see there
    app.state.gateway = gateway
    app.state.budget = Budget(gateway.settings.max_upload_bytes)
    guard(app, gateway.settings)


def guard(app: Starlette, settings: Settings) -> None:
    """Keys, origins and traces as the settings have them; before the first request.

    Raises:
        StartError: the key file is wrong.
    """
    keys = KeyFile(settings.api_keys) if settings.api_keys else None
    app.state.door = Door(keys, settings.trust_loopback)
    app.user_middleware[:] = [
        *([Middleware(tracing.around)] if tracing.on() else []),
        Middleware(Around),
        *([cors(settings.cors_origins)] if settings.cors_origins else []),
        Middleware(Access),
    ]


def _metrics(request: Request) -> Response:
    """Not async: it reads the files of all workers, in a thread."""
    content, media_type = metrics.render()
    return Response(content, media_type=media_type)


async def _gone(request: Request, error: Exception) -> Response:
    return v1.CLIENT_GONE


async def _openapi(request: Request) -> Response:
    return JSONResponse(document())
