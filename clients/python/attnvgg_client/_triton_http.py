"""Triton over HTTP: the Open Inference Protocol with raw tensors behind the JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attnvgg_client import _requests, _responses, _triton_errors
from attnvgg_client._calls import attempt
from attnvgg_client._config import Config
from attnvgg_client._door import Health
from attnvgg_client._errors import APIStatusError, ProtocolError, about
from attnvgg_client._fields import Fields, parse
from attnvgg_client._http import Flow, Reply, Request
from attnvgg_client._retry import Deadline
from attnvgg_client._triton_values import Answer, Question, floats, microseconds

if TYPE_CHECKING:
    from attnvgg_client._triton_values import Floats

LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Http:
    """See Dialect. `config`: with the URL that is asked, http or https."""

    config: Config

    def infer(self, question: Question, deadline: Deadline) -> Flow[Answer]:
        """POST /v2/models/NAME[/versions/V]/infer."""
        head = json.dumps(_head(question, deadline)).encode()
        version = f"/versions/{quote(question.version, safe='')}" if question.version else ""
        path = f"/v2/models/{quote(question.model, safe='')}{version}/infer"
        headers = {LENGTH: str(len(head)), "X-Request-ID": question.request_id}
        headers |= {"Content-Type": "application/octet-stream"}
        request = _post(self.config, path, headers, head + question.data)
        reply = yield from self._ok(request, deadline)
        with about(request.headers["X-Request-ID"]):
            return _answer(reply)

    def config_of(self, model: str, deadline: Deadline) -> Flow[Fields]:
        """GET /v2/models/NAME/config."""
        path = f"/v2/models/{quote(model, safe='')}/config"
        request = _requests.get(self.config, path)
        reply = yield from self._ok(request, deadline)
        with about(request.headers["X-Request-ID"]):
            return parse(reply.body)

    def index(self, deadline: Deadline) -> Flow[list[tuple[str, str]]]:
        """POST /v2/repository/index."""
        headers = {"Content-Type": "application/json"}
        request = _post(self.config, "/v2/repository/index", headers, b'{"ready": true}')
        reply = yield from self._ok(request, deadline)
        with about(request.headers["X-Request-ID"]):
            found = parse(b'{"models": ' + reply.body + b"}").objects("models")
            return [(each.text("name"), each.text("version")) for each in found]

    def health(self, deadline: Deadline) -> Flow[Health]:
        """GET /v2/health/ready; Triton says 400 where it is not."""
        request = _requests.get(self.config, "/v2/health/ready")
        reply = yield from attempt(self.config, request, deadline)
        if reply.status == 200:
            return Health(ready=True)
        error = _refusal(reply, request)
        if reply.status in (400, 502, 503, 504):
            return Health(ready=False, detail=str(error))
        raise error

    def _ok(self, request: Request, deadline: Deadline) -> Flow[Reply]:
        reply = yield from attempt(self.config, request, deadline)
        if reply.status != 200:
            raise _refusal(reply, request)
        return reply


def _post(config: Config, path: str, headers: Mapping[str, str], body: bytes) -> Request:
    request = _requests.get(config, path)
    return replace(request, method="POST", headers={**request.headers, **headers}, body=body)


def _head(question: Question, deadline: Deadline) -> dict[str, Any]:
    tensor = {"name": question.name, "datatype": question.datatype, "shape": list(question.shape)}
    binary = {"binary_data": True}
    return {
        "id": question.request_id,
        "parameters": {"timeout": microseconds(deadline)},
        "inputs": [tensor | {"parameters": {"binary_data_size": len(question.data)}}],
        "outputs": [{"name": name, "parameters": binary} for name in question.outputs],
    }


def _answer(reply: Reply) -> Answer:
    said, tensors = _responses.split(reply)
    outputs = {each.text("name"): _output(each, tensors) for each in said.objects("outputs")}
    tensors.check_end()
    return Answer(said.text("model_version"), outputs)


def _output(said: Fields, tensors: _responses.Tensors) -> Floats:
    data = tensors.take(said.object("parameters").integer("binary_data_size"))
    return floats(said.text("name"), said.text("datatype"), said.integers("shape"), data)


def _refusal(reply: Reply, request: Request) -> APIStatusError:
    """Triton's {"error": text}; what has another form comes from something else."""
    request_id = request.headers["X-Request-ID"]
    try:
        text = parse(reply.body).text("error")
    except ProtocolError:
        return _responses.error(reply, request_id)
    return _triton_errors.refusal(reply.status, text, request_id)
