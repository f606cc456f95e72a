"""What a server is asked, whatever protocol it speaks; everything above a door is written once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from attnvgg_client._config import Config
from attnvgg_client._errors import ItemError
from attnvgg_client._http import Flow
from attnvgg_client._pictures import Picture
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline

Answers: TypeAlias = list[Prediction | ItemError]


@dataclass(frozen=True)
class Health:
    """Whether the server would answer; `detail` says why not."""

    ready: bool
    detail: str = ""


class Door(Protocol):
    """One server. Every method is a flow: it says what is to be done and does nothing itself."""

    def ask(self, pictures: list[Picture], options: Options, deadline: Deadline) -> Flow[Answers]:
        """One request with one picture or several: as many answers, in order.

        Raises:
            APIConnectionError, DeadlineError, ProtocolError, APIStatusError: of the last attempt.
        """

    def models(self, deadline: Deadline) -> Flow[list[ModelInfo]]:
        """The models that the server has; raises as `ask`."""

    def health(self, deadline: Deadline) -> Flow[Health]:
        """Whether it would answer now: one question, never repeated; raises as `ask`."""


def door(config: Config) -> Door:
    """The door that the URL names.

    Raises:
        InvalidArgumentError: it needs an extra that is not installed.
    """
    scheme = config.url.partition("://")[0]
    if scheme in ("http", "https"):
        from attnvgg_client._gateway import Gateway

        return Gateway(config)
    from attnvgg_client._triton import Triton

    if scheme in ("grpc", "grpcs"):
        from attnvgg_client._triton_grpc import Grpc

        return Triton(config, Grpc(config))
    from attnvgg_client._triton_http import Http

    return Triton(config, Http(replace(config, url=config.url.removeprefix("triton+"))))
