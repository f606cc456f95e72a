"""Prints the part of the OpenAPI document that the SDK speaks, for openapi.ts; asks no server."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from attnvgg_serving.http.openapi import document

PREFIX = "#/components/schemas/"
SPOKEN = ("/v1/predict", "/v1/models", "/readyz")


def part() -> dict[str, Any]:
    """The document without the paths that the SDK never asks, and without their schemas."""
    whole = document()
    paths = {path: whole["paths"][path] for path in SPOKEN}
    schemas: dict[str, Any] = {}
    waiting = list(_references(paths))
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            schemas[name] = whole["components"]["schemas"][name]
            waiting += _references(schemas[name])
    components = {"schemas": dict(sorted(schemas.items()))}
    return {**whole, "paths": paths, "components": components, "security": []}


def _references(value: Any) -> Iterator[str]:
    """The names of the schemas that are mentioned anywhere in it."""
    if isinstance(value, dict):
        if str(value.get("$ref", "")).startswith(PREFIX):
            yield value["$ref"].removeprefix(PREFIX)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


if __name__ == "__main__":
    json.dump(part(), sys.stdout)
