"""The answer of /v1/predict: JSON, with the maps in it or as bytes behind it.

It is built from plain dictionaries: pydantic's objects took as long as the rest of a small
request. `schemas.Answer` describes it to clients, and a test holds the two together.
"""

import base64
import json
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from attnvgg_serving import encoding
from attnvgg_serving.encoding import Tensor
from attnvgg_serving.errors import WireError
from attnvgg_serving.gateway import Model, Seen
from attnvgg_serving.http.options import Options

BINARY = "application/octet-stream"
JSON_LENGTH = "Inference-Header-Content-Length"

Outcomes = list[Seen | WireError]
Json = dict[str, Any]


def answer(
    request: Request, model: Model, outcomes: Outcomes, options: Options, started: float
) -> Response:
    """What became of each picture; at least one must have gone through."""
    # Where maps were not asked for the JSON is the whole answer, in either form.
    binary = _accepts_binary(request)
    tensors: list[Tensor] = []
    predictions = []
    for outcome in outcomes:
        if isinstance(outcome, WireError):
            problem = {"code": outcome.code, "message": outcome.message}
            predictions.append({"error": problem})
        else:
            maps = _maps(outcome, model, options) if options.return_attention else None
            tensors += maps.values() if maps else ()
            predictions.append(_prediction(outcome, model, options, maps, binary))
    content = _dump(
        {
            "model": info(model),
            "request_id": request.state.request_id,
            "timings_ms": _timings(outcomes, time.monotonic() - started),
            "predictions": predictions,
        }
    )
    if not binary:
        return Response(content, media_type="application/json")
    headers = {JSON_LENGTH: str(len(content))}
    content = b"".join([content, *(tensor.data for tensor in tensors)])
    return Response(content, media_type=BINARY, headers=headers)


def info(model: Model) -> dict[str, str]:
    """What an answer says about the model that gave it."""
    manifest, engine = model.manifest, model.engine
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": engine.sha256,
        "provider": engine.provider,
    }


def _maps(seen: Seen, model: Model, options: Options) -> dict[str, Tensor]:
    return {
        level: encoding.encode(seen.ran.outputs[output], options.attention_format)
        for level, output in model.manifest.attention.items()
    }


def _prediction(
    seen: Seen, model: Model, options: Options, maps: dict[str, Tensor] | None, binary: bool
) -> Json:
    ranked = encoding.top(seen.ran.outputs["probabilities"], options.top_k)
    labels = model.manifest.labels
    top = [{"label": labels[i], "index": i, "probability": value} for i, value in ranked]
    fitted = seen.fitted
    prediction: Json = {
        **top[0],
        "top_k": top,
        "input": {"width": fitted.width, "height": fitted.height, "box": fitted.box},
    }
    if maps is not None:
        prediction["attention"] = {name: _map(map, binary) for name, map in maps.items()}
    return prediction


def _map(map: Tensor, binary: bool) -> Json:
    found: Json = {"shape": map.shape, "datatype": map.datatype}
    if map.scale is not None:
        found["scale"] = map.scale
    if binary:
        found["parameters"] = {"binary_data_size": len(map.data)}
    else:
        found["data"] = base64.b64encode(map.data).decode("ascii")
    return found


def _timings(outcomes: Outcomes, total: float) -> dict[str, float]:
    """Where the time went. With several pictures, that of the slowest."""
    seen = [outcome for outcome in outcomes if isinstance(outcome, Seen)]
    slowest = {
        "decode": max(one.decoded for one in seen),
        "queue": max(one.ran.queued for one in seen),
        "inference": max(one.ran.ran for one in seen),
        "total": total,
    }
    return {stage: round(1000 * seconds, 3) for stage, seconds in slowest.items()}


def _dump(content: Json) -> bytes:
    # Strict JSON has no NaN: one here is a mistake of ours, and must not reach a client.
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _accepts_binary(request: Request) -> bool:
    """JSON is the default; only who names the binary form gets it."""
    accept = [value for name, value in request.scope["headers"] if name == b"accept"]
    kinds = (part.split(b";")[0].strip() for value in accept for part in value.lower().split(b","))
    return BINARY.encode() in kinds
