"""/v2 in the OpenAPI document: the Open Inference Protocol."""

from collections.abc import Iterable

from attnvgg_serving import schemas
from attnvgg_serving.http import openapi_parts, v2_schemas
from attnvgg_serving.http.openapi_parts import (
    Part,
    answer,
    binary,
    headers,
    json,
    parameter,
    ref,
    request_id,
)

MODELS = (
    schemas.ProtocolFailure,
    v2_schemas.IndexEntry,
    v2_schemas.IndexRequest,
    v2_schemas.InferAnswer,
    v2_schemas.InferRequest,
    v2_schemas.ModelConfig,
    v2_schemas.ModelMetadata,
    v2_schemas.ServerMetadata,
)
_BODY = (
    "invalid_request",
    "body_too_large",
    "unsupported_media_type",
    "overloaded",
    "deadline_exceeded",
)
_INFER = (
    *_BODY,
    "invalid_image",
    "too_many_images",
    "model_not_found",
    "image_too_large",
    "engine_unavailable",
)
_CHANGE = (*_BODY, "forbidden", "model_not_found", "engine_unavailable")
_LENGTH = "Inference-Header-Content-Length"
_BINARY = "application/octet-stream"
_NAME = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}


def paths() -> Part:
    return {
        "/v2": {"get": _get("server_metadata", "What this server is.", "ServerMetadata")},
        "/v2/health/live": {"get": _open(_get("server_live", "The process is alive."))},
        "/v2/health/ready": {"get": _open(_ready("server_ready", "Every model is ready."))},
        **_model_paths("/v2/models/{name}", "model"),
        **_model_paths("/v2/models/{name}/versions/{version}", "version"),
        "/v2/repository/index": {"post": _index()},
        "/v2/repository/models/{name}/load": {"post": _change("load")},
        "/v2/repository/models/{name}/unload": {"post": _change("unload")},
    }


def _model_paths(path: str, prefix: str) -> Part:
    """The same five for a model's newest version and for a named one."""
    missing = ("model_not_found",)
    about = "What the model takes and gives."
    return {
        path: {"get": _get(f"{prefix}_metadata", about, "ModelMetadata", missing, path)},
        f"{path}/config": {
            "get": _get(f"{prefix}_config", "In Triton's words.", "ModelConfig", missing, path)
        },
        f"{path}/ready": {"get": _ready(f"{prefix}_ready", "It is ready.", missing, path)},
        f"{path}/infer": {"post": _infer(f"{prefix}_infer", path)},
    }


def _get(
    name: str, summary: str, schema: str = "", codes: Iterable[str] = (), path: str = ""
) -> Part:
    content = json(schema) if schema else None
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [*_placeholders(path), request_id()],
        "responses": {"200": answer("As it is.", content), **_failures(codes)},
    }


def _ready(name: str, summary: str, codes: Iterable[str] = (), path: str = "") -> Part:
    return _get(name, summary, "", (*codes, "engine_unavailable"), path)


def _infer(name: str, path: str) -> Part:
    length = {"type": "integer", "minimum": 0}
    parameters = [
        *_placeholders(path),
        *headers(),
        parameter("header", _LENGTH, length, "Bytes of JSON, where raw tensors follow it."),
    ]
    return {
        "operationId": name,
        "summary": "The outputs for one tensor: pixels or files. All outputs, or those named.",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "description": "JSON, or JSON and then raw little-endian tensors.",
            "content": {**json("InferRequest"), _BINARY: {"schema": binary()}},
        },
        "responses": {"200": _outputs(), **_failures(_INFER)},
    }


def _outputs() -> Part:
    length: Part = {
        "description": "Binary answers only: bytes of the JSON.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
    return answer(
        "JSON, or JSON and then the raw tensors of those outputs that were wanted in binary.",
        {**json("InferAnswer"), _BINARY: {"schema": binary()}},
        Inference_Header_Content_Length=length,
    )


def _index() -> Part:
    entries = {"type": "array", "items": ref("IndexEntry")}
    return {
        "operationId": "repository_index",
        "summary": "Every version of every model, NAME before NAME-encoded.",
        "parameters": headers(),
        "requestBody": {"required": False, "content": json("IndexRequest")},
        "responses": {
            "200": answer("All of them.", {"application/json": {"schema": entries}}),
            **_failures(_BODY),
        },
    }


def _change(verb: str) -> Part:
    path = "/v2/repository/models/{name}"
    body = {"type": "object", "properties": {"parameters": {"type": "object"}}}
    return {
        "operationId": f"repository_{verb}",
        "summary": f"{verb.capitalize()} NAME and NAME-encoded. Needs an admin key, always.",
        "parameters": [*_placeholders(path), *headers()],
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "security": [{"bearer": []}, {"key": []}],
        "responses": {"200": answer("Done."), **_failures(_CHANGE)},
    }


def _placeholders(path: str) -> list[Part]:
    texts = {"name": "NAME or NAME-encoded.", "version": "Its version."}
    return [
        parameter("path", name, _NAME, text)
        for name, text in texts.items()
        if f"{{{name}}}" in path
    ]


def _failures(codes: Iterable[str]) -> Part:
    return openapi_parts.failures(codes, "ProtocolFailure")


def _open(operation: Part) -> Part:
    """One that never needs a key."""
    return {**operation, "security": []}
