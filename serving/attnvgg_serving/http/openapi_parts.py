"""What the OpenAPI document is put together from."""

from collections.abc import Iterable
from typing import Any

from attnvgg_serving.errors import all_wire_errors

Part = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
# What can happen to any request: no key, too many requests, a fault of ours.
ALWAYS = ("unauthorized", "rate_limited", "internal")
LARGEST = 999_999_999


def ref(name: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=name)}


def json(name: str) -> Part:
    """The content of a body of JSON."""
    return {"application/json": {"schema": ref(name)}}


def binary() -> Part:
    return {"type": "string", "format": "binary"}


def text() -> Part:
    return {"text/plain": {"schema": {"type": "string"}}}


def parameter(where: str, name: str, schema: Part, description: str) -> Part:
    return {
        "in": where,
        "name": name,
        "required": where == "path",
        "schema": schema,
        "description": description,
    }


def headers() -> list[Part]:
    """The request headers that every door's work takes."""
    milliseconds = {"type": "integer", "minimum": 1, "maximum": LARGEST}
    return [request_id(), parameter("header", "X-Timeout-Ms", milliseconds, "Give up then (504).")]


def request_id() -> Part:
    return parameter("header", "X-Request-ID", {"type": "string"}, "Comes back in the answer.")


def answer(description: str, content: Part | None = None, **more: Part) -> Part:
    """A 200; `more` are its headers beside X-Request-ID."""
    names = {name.replace("_", "-"): header for name, header in more.items()}
    found: Part = {"description": description, "headers": {**_returned(), **names}}
    return found | ({"content": content} if content else {})


def failures(codes: Iterable[str], schema: str = "Failure") -> Part:
    """Status -> answer, the codes of one status together."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, *ALWAYS):
        by_status.setdefault(all_wire_errors()[code].status, []).append(code)
    return {
        str(status): _failure(status, names, schema) for status, names in sorted(by_status.items())
    }


def _failure(status: int, codes: list[str], schema: str) -> Part:
    again = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return {
        "description": ", ".join(sorted(codes)),
        "headers": {**_returned(), **(again if status in (429, 503) else {})},
        "content": json(schema),
    }


def _returned() -> Part:
    return {"X-Request-ID": {"schema": {"type": "string"}}}
