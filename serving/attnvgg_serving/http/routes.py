"""The route that a request belongs to, as its template: a name out of few, whatever is sent."""

from functools import lru_cache

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Scope

OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in METHODS else OTHER


def route_of(scope: Scope) -> str:
    """The template: /v2/models/{name}/infer, for example; `other` where there is no route."""
    path: str = scope["path"]
    fixed, open_ = _templates(scope["app"])
    if path in fixed:
        return path
    return next((template for template, route in open_ if route.path_regex.match(path)), OTHER)


@lru_cache(maxsize=1)
def _templates(app: Starlette) -> tuple[frozenset[str], list[tuple[str, Route | Mount]]]:
    """Those without a parameter, which a look-up finds, and the others."""
    routes = [route for route in app.routes if isinstance(route, Route | Mount)]
    fixed = [route.path for route in routes if isinstance(route, Route) and "{" not in route.path]
    return frozenset(fixed), [(route.path, route) for route in routes if route.path not in fixed]
