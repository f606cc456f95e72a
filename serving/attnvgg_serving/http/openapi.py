"""The OpenAPI document of every door: paths by hand, schemas from the models of the wire."""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from attnvgg_serving.http import openapi_v1, openapi_v2
from attnvgg_serving.http.openapi_parts import REFERENCE, Part, failures, text
from attnvgg_serving.schemas import Wire

_KEY = "Only where the operator set ATTNVGG_API_KEYS; not needed on loopback by default."


@cache
def document() -> Part:
    """The document, OpenAPI 3.1."""
    models: list[type[Wire]] = [*openapi_v1.MODELS, *openapi_v2.MODELS]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "attnvgg",
            "version": version("attnvgg"),
            "description": "Image classifiers that show where they looked.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # A key is asked for only where there is a key file, so each operation may go without.
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": {**openapi_v1.paths(), **openapi_v2.paths(), **_probes()},
        "components": {"schemas": definitions["$defs"], "securitySchemes": _keys()},
    }


def _keys() -> Part:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": _KEY},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": _KEY},
    }


def _probes() -> Part:
    unready: Part = {"503": {"description": "Not ready, or no more.", "content": text()}}
    metrics = _probe("metrics", "What Prometheus collects.", failures(()))
    return {
        "/livez": {"get": _open(_probe("livez", "The process is alive.", {}))},
        "/readyz": {
            "get": _open(_probe("readyz", "Every model has run a real inference.", unready))
        },
        "/healthz": {"get": _open(_probe("healthz", "The same as /livez.", {}))},
        "/metrics": {"get": metrics},
    }


def _probe(name: str, summary: str, others: Part) -> dict[str, Any]:
    yes = {"description": "Yes.", "content": text()}
    return {"operationId": name, "summary": summary, "responses": {"200": yes, **others}}


def _open(operation: Part) -> Part:
    """One that never needs a key."""
    return {**operation, "security": []}
