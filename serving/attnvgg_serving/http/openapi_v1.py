"""/v1 in the OpenAPI document."""

from attnvgg_serving import schemas
from attnvgg_serving.http.openapi_parts import (
    LARGEST,
    Part,
    answer,
    binary,
    failures,
    headers,
    json,
    parameter,
    ref,
    request_id,
)
from attnvgg_serving.http.options import FORMATS, Options
from attnvgg_serving.http.pictures import RAW

MODELS = (schemas.Answer, schemas.Failure, schemas.JsonBody, schemas.Models)
_FAILURES = (
    "invalid_request",
    "invalid_image",
    "too_many_images",
    "model_not_found",
    "body_too_large",
    "image_too_large",
    "unsupported_media_type",
    "overloaded",
    "engine_unavailable",
    "deadline_exceeded",
)


def paths() -> Part:
    return {"/v1/predict": {"post": _predict()}, "/v1/models": {"get": _models()}}


def _predict() -> Part:
    files = {"type": "object", "additionalProperties": {"type": "array", "items": binary()}}
    body: Part = {kind: {"schema": binary()} for kind in RAW}
    body["multipart/form-data"] = {"schema": files}
    body["application/json"] = {"schema": ref("JsonBody")}
    return {
        "operationId": "predict",
        "summary": "Classify one picture or several, and say where the network looked.",
        "parameters": [*_options(), *headers()],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _answer(), **failures(_FAILURES)},
    }


def _answer() -> Part:
    length: Part = {
        "description": "Binary answers only: bytes of the JSON.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
    return answer(
        "One prediction (or error) a picture, in their order. With `Accept: "
        "application/octet-stream` the JSON is followed by the raw little-endian maps, in the "
        "order in which it names them.",
        {**json("Answer"), "application/octet-stream": {"schema": binary()}},
        Inference_Header_Content_Length=length,
    )


def _options() -> list[Part]:
    default = Options()
    boolean = {"type": "boolean", "default": default.return_attention}
    count = {"type": "integer", "minimum": 1, "maximum": LARGEST, "default": default.top_k}
    format = {"type": "string", "enum": list(FORMATS), "default": default.attention_format}
    name = {"type": "string", "minLength": 1}
    return [
        parameter("query", "return_attention", boolean, "Send the attention maps."),
        parameter("query", "top_k", count, "How many labels to list."),
        parameter("query", "attention_format", format, "Precision of the maps."),
        parameter("query", "model", name, "Model to use; the default model if left out."),
        parameter("query", "version", name, "Its version; the highest if left out."),
    ]


def _models() -> Part:
    return {
        "operationId": "models",
        "summary": "The models that are served.",
        "parameters": [request_id()],
        "responses": {"200": answer("All of them.", json("Models")), **failures(())},
    }
