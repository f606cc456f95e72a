"""The door to an attnvgg server: /v1 over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from attnvgg_client import _requests, _responses
from attnvgg_client._calls import attempt, call
from attnvgg_client._config import Config
from attnvgg_client._door import Answers, Health
from attnvgg_client._errors import about
from attnvgg_client._http import Flow
from attnvgg_client._pictures import Picture
from attnvgg_client._requests import Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline


@dataclass(frozen=True)
class Gateway:
    """See Door."""

    config: Config

    def ask(self, pictures: list[Picture], options: Options, deadline: Deadline) -> Flow[Answers]:
        """A lone picture is the body as it is, several are parts of one."""
        if len(pictures) == 1:
            request = _requests.predict_one(self.config, pictures[0], options)
        else:
            request = _requests.predict_several(self.config, pictures, options)
        reply = yield from call(self.config, request, deadline)
        with about(request.headers["X-Request-ID"]):
            return _responses.predictions(reply, [picture.source for picture in pictures])

    def models(self, deadline: Deadline) -> Flow[list[ModelInfo]]:
        """GET /v1/models."""
        request = _requests.get(self.config, "/v1/models")
        reply = yield from call(self.config, request, deadline)
        with about(request.headers["X-Request-ID"]):
            return _responses.models(reply)

    def health(self, deadline: Deadline) -> Flow[Health]:
        """GET /readyz, once."""
        request = _requests.get(self.config, "/readyz")
        reply = yield from attempt(self.config, request, deadline)
        if reply.status == 200:
            return Health(ready=True)
        error = _responses.error(reply, request.headers["X-Request-ID"])
        if reply.status in (502, 503, 504):
            return Health(ready=False, detail=str(error))
        raise error
