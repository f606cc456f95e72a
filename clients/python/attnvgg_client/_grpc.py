"""The only file that knows gRPC: makes one call, translates its errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnvgg_client._config import Config
from attnvgg_client._errors import (
    APIConnectionError,
    AttnVGGError,
    DeadlineError,
    InvalidArgumentError,
    ProtocolError,
    UnavailableError,
)
from attnvgg_client._http import Call, Request
from attnvgg_client._requests import USER_AGENT
from attnvgg_client._triton_errors import refusal

if TYPE_CHECKING:
    from attnvgg_client._bounded import Stop

NO_MESSAGE = "the answer is no message of the inference protocol"
STOP_SECONDS = 0.1
"""How long it may take until a call notices that it is to stop."""
# What is nearest to a code of gRPC, so that both protocols raise the same errors.
STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}
# gRPC gives the same code whether a server says that it is unavailable or there is none.
_NOBODY = re.compile(
    r"connect|resolv|dns|socket|reset|goaway|keepalive|\bping\b|pipe|transport|stream|endpoint|"
    r"handshake|\btls\b|\bssl",
    re.IGNORECASE,
)
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", Request.limit),
    ("grpc.primary_user_agent", USER_AGENT),
    # A server that comes back is found within a second, not in gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name: the time for connecting
    # Connections of its own: one shared below the channels would be shared with a fork's parent.
    ("grpc.use_local_subchannel_pool", 1),
]


def messages() -> Any:
    """The module of the protocol's messages."""
    return import_module("tritonclient.grpc.service_pb2")


def as_json(message: Any) -> dict[str, Any]:
    """A message as plain data, under the names that it has in the protocol."""
    module = import_module("google.protobuf.json_format")
    values: dict[str, Any] = module.MessageToDict(message, preserving_proto_field_name=True)
    return values


def check(url: str) -> None:
    """Imports what gRPC needs.

    Raises:
        InvalidArgumentError: the extra is missing, and how to get it.
    """
    try:
        import_module("tritonclient.grpc.service_pb2_grpc")
        import_module("grpc.aio")
    except (ImportError, RuntimeError) as error:  # tritonclient raises RuntimeError
        raise InvalidArgumentError(
            f"url is {url!r}, which needs tritonclient: pip install 'attnvgg-client[triton]' "
            f"({' '.join(str(error).split())})"
        ) from error


class _Channels:
    """A channel for each home: a process, for gRPC's connections must not be used on both sides of
    a fork, or an event loop in it. Nothing is opened before it is used."""

    def __init__(self, config: Config, api: str) -> None:
        scheme, _, self._target = config.url.partition("://")
        self._api, self._secure = api, scheme == "grpcs"
        key = config.api_key
        self.metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._open: dict[Any, tuple[Any, Any]] = {}
        self._closed = False

    def method(self, name: str, home: Any) -> Callable[..., Any]:
        """A method of the service."""
        if self._closed:
            raise RuntimeError("this client is closed; make a new one")
        # setdefault needs no lock, which a fork could leave locked; a channel too many is dropped.
        _, stub = self._open.get(home) or self._open.setdefault(home, self._new())
        bound: Callable[..., Any] = getattr(stub, name)
        return bound

    def drop(self, dead: Callable[[Any], bool]) -> None:
        """Forgets the channels of homes that are no more."""
        for home in list(self._open):
            if dead(home):
                self._open.pop(home, None)

    def close(self, home: Any) -> Any:
        """The channel of this home, for closing, or None; no other is opened any more."""
        self._closed = True
        return self._open.pop(home, (None, None))[0]

    def _new(self) -> tuple[Any, Any]:
        api = import_module(self._api)
        if self._secure:
            channel = api.secure_channel(self._target, _credentials(), options=_OPTIONS)
        else:
            channel = api.insecure_channel(self._target, options=_OPTIONS)
        service = import_module("tritonclient.grpc.service_pb2_grpc")
        return channel, service.GRPCInferenceServiceStub(channel)


class SyncChannel:
    """Blocking; may be shared by threads, and by a process with the children it forks."""

    def __init__(self, config: Config) -> None:
        self._channels = _Channels(config, "grpc")

    def call(self, effect: Call, stop: Stop | None = None) -> Any:
        """The response message.

        Raises:
            APIConnectionError, DeadlineError, ProtocolError, APIStatusError
        """
        grpc = import_module("grpc")
        method = self._channels.method(effect.method, os.getpid())
        arguments = {"timeout": effect.seconds, "metadata": self._channels.metadata}
        try:
            if stop is None:
                return method(effect.message, **arguments)
            return _stoppable(method.future(effect.message, **arguments), stop)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            raise _translated(error, effect) from error
        except grpc.FutureCancelledError as error:
            raise APIConnectionError("stopped") from error

    def close(self) -> None:
        channel = self._channels.close(os.getpid())
        if channel is not None:
            channel.close()


def _stoppable(future: Any, stop: Stop) -> Any:
    """The future's result; cancels it when another thread says so."""
    late = import_module("grpc").FutureTimeoutError
    while True:
        try:
            return future.result(timeout=STOP_SECONDS)
        except late:
            if stop.is_set():
                future.cancel()


class AsyncChannel:
    """The same for asyncio; a task that is cancelled cancels its call. Not in a process forked from
    one that has used it: there gRPC's part for asyncio hangs or crashes."""

    # Of all channels, for the part that breaks is shared by all.
    _process: int | None = None

    def __init__(self, config: Config) -> None:
        self._config = config
        self._channels = _Channels(config, "grpc.aio")

    async def call(self, effect: Call) -> Any:
        """The response message; errors as for SyncChannel.call."""
        self._check_process()
        self._channels.drop(lambda home: home[1].is_closed())
        method = self._channels.method(effect.method, _loop())
        metadata = self._channels.metadata
        try:
            reply = await method(effect.message, timeout=effect.seconds, metadata=metadata)
        except import_module("grpc").RpcError as error:
            raise _translated(error, effect) from error
        if reply is None:  # gRPC's blocking half raises an error for this
            raise ProtocolError(NO_MESSAGE)
        return reply

    async def close(self) -> None:
        channel = self._channels.close(_loop())
        if channel is not None:
            await channel.close()

    def _check_process(self) -> None:
        here = os.getpid()
        if AsyncChannel._process not in (None, here):
            raise InvalidArgumentError(
                f"url is {self._config.url!r}, and this process was forked from one in which gRPC "
                "for asyncio was in use; gRPC cannot go on here: use Client, triton+http://, or a "
                "process that is started with spawn"
            )
        AsyncChannel._process = here


def _loop() -> Any:
    import asyncio  # slow to import, and whoever awaits has done it

    return os.getpid(), asyncio.get_running_loop()


def _credentials() -> Any:
    """The roots that httpx trusts, too, where the environment names some; gRPC's own otherwise."""
    grpc, path = import_module("grpc"), os.environ.get("SSL_CERT_FILE")
    if not path:
        return grpc.ssl_channel_credentials()
    try:
        with open(path, "rb") as file:
            return grpc.ssl_channel_credentials(file.read())
    except OSError as error:
        raise InvalidArgumentError(
            f"SSL_CERT_FILE is {path!r}, which cannot be read: {error.strerror}"
        ) from error


def _translated(error: Any, effect: Call) -> AttnVGGError:
    """gRPC's errors -> this package's."""
    code, text = error.code().name, error.details() or ""
    if code == "DEADLINE_EXCEEDED":
        return DeadlineError(f"no whole answer within {effect.seconds:.3g} s")
    if code == "CANCELLED":  # this client was closed
        return APIConnectionError(text or code)
    if "CLIENT: Received message larger than max" in text:
        return ProtocolError(f"the answer has more than {Request.limit:,} bytes")
    if "SERVER: Received message larger than max" in text:
        return refusal(413, f"body_too_large: {text}")
    if text.startswith("Exception deserializing response"):
        return ProtocolError(NO_MESSAGE)
    refused = refusal(STATUS.get(code, 500), text or code)
    if isinstance(refused, UnavailableError) and _NOBODY.search(text):
        return APIConnectionError(text)
    return refused
