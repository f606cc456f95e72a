"""The ASGI application: every path of this service but the framework's health and metrics."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from attnvgg_serving.errors import WireError
from attnvgg_serving.gateway import Gateway
from attnvgg_serving.http import v1
from attnvgg_serving.http.body import Budget
from attnvgg_serving.http.middleware import Around, on_http_exception, on_wire_error
from attnvgg_serving.http.openapi import document

WEB = Path(__file__).parent.parent / "web"


def create() -> Starlette:
    """An application without a gateway; `connect` gives it one before the first request."""
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/openapi.json", _openapi),
            Route("/v1/predict", v1.predict, methods=["POST"]),
            Route("/v1/models", v1.models),
            Mount("/web", StaticFiles(directory=WEB)),
        ],
        middleware=[Middleware(Around)],
        exception_handlers={WireError: on_wire_error, HTTPException: on_http_exception},
    )
    # A path with a slash too many does not exist; a redirect would drop the body of a POST.
    app.router.redirect_slashes = False
    return app


def connect(app: Starlette, gateway: Gateway) -> None:
    app.state.gateway = gateway
    app.state.budget = Budget(gateway.settings.max_upload_bytes)


async def _page(request: Request) -> Response:
    return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})


async def _openapi(request: Request) -> Response:
    return JSONResponse(document())
