"""The OpenAPI document of the v1 routes: paths by hand, schemas from `schemas`."""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from attnvgg_serving import schemas
from attnvgg_serving.errors import all_wire_errors
from attnvgg_serving.http.options import FORMATS, Options
from attnvgg_serving.http.pictures import RAW

_REFERENCE = "#/components/schemas/{model}"
_MODELS = (schemas.Answer, schemas.Failure, schemas.JsonBody, schemas.Models)
_FAILURES = (
    "invalid_request",
    "invalid_image",
    "too_many_images",
    "model_not_found",
    "body_too_large",
    "image_too_large",
    "unsupported_media_type",
    "internal",
    "overloaded",
    "engine_unavailable",
    "deadline_exceeded",
)


@cache
def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in _MODELS], ref_template=_REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "attnvgg",
            "version": version("attnvgg"),
            "description": "Image classifiers that show where they looked.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/predict": {"post": _predict()},
            "/v1/models": {"get": _models()},
            "/livez": {"get": _probe("live", "The process is alive.", {})},
            "/readyz": {
                "get": _probe(
                    "ready",
                    "Every model has run a real inference.",
                    {"503": {"description": "Not ready, or no more."}},
                )
            },
        },
        "components": {"schemas": definitions["$defs"]},
    }


def _predict() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    files = {"type": "object", "additionalProperties": {"type": "array", "items": binary}}
    body: dict[str, Any] = {kind: {"schema": binary} for kind in RAW}
    body["multipart/form-data"] = {"schema": files}
    body["application/json"] = {"schema": _ref("JsonBody")}
    return {
        "operationId": "predict",
        "summary": "Classify one picture or several, and say where the network looked.",
        "parameters": [*_options(), *_headers()],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _answer(binary), **_failures()},
    }


def _answer(binary: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": (
            "One prediction (or error) a picture, in their order. With `Accept: "
            "application/octet-stream` the JSON is followed by the raw little-endian maps, in the "
            "order in which it names them."
        ),
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}},
            "Inference-Header-Content-Length": {
                "description": "Binary answers only: bytes of the JSON.",
                "schema": {"type": "integer"},
            },
        },
        "content": {
            "application/json": {"schema": _ref("Answer")},
            "application/octet-stream": {"schema": binary},
        },
    }


def _options() -> list[dict[str, Any]]:
    default = Options()
    boolean = {"type": "boolean", "default": default.return_attention}
    count = {"type": "integer", "minimum": 1, "default": default.top_k}
    format = {"type": "string", "enum": list(FORMATS), "default": default.attention_format}
    name = {"type": "string", "minLength": 1}
    return [
        _parameter("query", "return_attention", boolean, "Send the attention maps."),
        _parameter("query", "top_k", count, "How many labels to list."),
        _parameter("query", "attention_format", format, "Precision of the maps."),
        _parameter("query", "model", name, "Model to use; the default model if left out."),
        _parameter("query", "version", name, "Its version; the highest if left out."),
    ]


def _headers() -> list[dict[str, Any]]:
    identifier = {"type": "string", "maxLength": 128}
    milliseconds = {"type": "integer", "minimum": 1}
    return [
        _parameter("header", "X-Request-ID", identifier, "Comes back in the answer."),
        _parameter("header", "X-Timeout-Ms", milliseconds, "Give up after so long (504)."),
    ]


def _parameter(where: str, name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"in": where, "name": name, "required": False, "schema": schema, "description": text}


def _failures() -> dict[str, Any]:
    """Status -> answer, the codes of one status together."""
    codes: dict[int, list[str]] = {}
    for code in _FAILURES:
        codes.setdefault(all_wire_errors()[code].status, []).append(code)
    content = {"application/json": {"schema": _ref("Failure")}}
    return {
        str(status): {"description": ", ".join(sorted(names)), "content": content}
        for status, names in sorted(codes.items())
    }


def _models() -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Models")}}
    return {
        "operationId": "models",
        "summary": "The models that are served.",
        "responses": {"200": {"description": "All of them.", "content": content}},
    }


def _probe(name: str, text: str, others: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": text,
        "responses": {"200": {"description": "Yes."}, **others},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}
