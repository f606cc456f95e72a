"""Triton over gRPC: the messages of `tritonclient`, and what gRPC's codes mean."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnvgg_client._calls import named
from attnvgg_client._config import Config
from attnvgg_client._door import Health
from attnvgg_client._errors import ProtocolError, UnavailableError, about
from attnvgg_client._fields import Fields
from attnvgg_client._grpc import as_json, check, messages
from attnvgg_client._http import Call, Flow
from attnvgg_client._retry import Deadline
from attnvgg_client._triton_values import Answer, Question, floats, microseconds

if TYPE_CHECKING:
    from attnvgg_client._triton_values import Floats


@dataclass(frozen=True)
class Grpc:
    """See Dialect."""

    config: Config

    def __post_init__(self) -> None:
        check(self.config.url)

    def infer(self, question: Question, deadline: Deadline) -> Flow[Answer]:
        """ModelInfer."""
        message = _request(question, deadline)
        reply = yield from self._call("ModelInfer", message, deadline, question.request_id)
        with about(question.request_id):
            return _answer(reply)

    def config_of(self, model: str, deadline: Deadline) -> Flow[Fields]:
        """ModelConfig, as the JSON that Triton gives over HTTP (int64 apart, which is text)."""
        message = messages().ModelConfigRequest(name=model)
        reply = yield from self._call("ModelConfig", message, deadline)
        return Fields(as_json(reply.config))

    def index(self, deadline: Deadline) -> Flow[list[tuple[str, str]]]:
        """RepositoryIndex."""
        message = messages().RepositoryIndexRequest(ready=True)
        reply = yield from self._call("RepositoryIndex", message, deadline)
        return [(each.name, each.version) for each in reply.models]

    def health(self, deadline: Deadline) -> Flow[Health]:
        """ServerReady."""
        try:
            reply = yield from self._call("ServerReady", messages().ServerReadyRequest(), deadline)
        except UnavailableError as error:
            return Health(ready=False, detail=str(error))
        return Health(reply.ready, "" if reply.ready else "Triton says that it is not ready")

    def _call(
        self, method: str, message: Any, deadline: Deadline, request_id: str = ""
    ) -> Flow[Any]:
        with named(self.config, deadline, request_id or uuid.uuid4().hex):
            return (yield Call(method, message, deadline.remaining()))


def _request(question: Question, deadline: Deadline) -> Any:
    pb = messages()
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=question.name, datatype=question.datatype, shape=question.shape
    )
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor
    request = pb.ModelInferRequest(
        model_name=question.model,
        model_version=question.version or "",
        id=question.request_id,
        inputs=[tensor],
        outputs=[wanted(name=name) for name in question.outputs],
        raw_input_contents=[question.data],
    )
    request.parameters["timeout"].int64_param = microseconds(deadline)
    return request


def _answer(reply: Any) -> Answer:
    tensors, datas = reply.outputs, reply.raw_output_contents
    if len(tensors) != len(datas):
        raise ProtocolError(f"the answer has {len(tensors)} outputs and {len(datas)} tensors")
    pairs = zip(tensors, datas, strict=True)
    return Answer(reply.model_version, {each.name: _output(each, data) for each, data in pairs})


def _output(tensor: Any, data: bytes) -> Floats:
    return floats(tensor.name, tensor.datatype, list(tensor.shape), data)
