"""The only file that knows httpx: sends a request, reads the answer, translates the errors. What
belongs to one process or event loop is made anew in another."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpcore
import httpx

from attnvgg_client import _bounded, _early
from attnvgg_client._bounded import Stop, until
from attnvgg_client._errors import APIConnectionError, AttnVGGError, DeadlineError, ProtocolError
from attnvgg_client._http import Reply, Request, Send

CONNECT_SECONDS = 5.0
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class SyncTransport:
    """Blocking; may be shared by threads, and by a process with the children it forks."""

    def __init__(self, transport: httpx.BaseTransport | None) -> None:
        self._given, self._closed = transport, False
        # By process: a child that used its parent's connections would mix up both their answers,
        # and one that closed them would need locks that a thread of the parent may have held.
        self._clients = {os.getpid(): self._new()}

    def _new(self) -> httpx.Client:
        client = httpx.Client(transport=self._given)
        bind(client, httpcore.NetworkBackend, _bounded.Backend)
        return client

    def send(self, effect: Send, stop: Stop | None = None) -> Reply:
        """The whole answer.

        Raises:
            APIConnectionError, DeadlineError, ProtocolError
        """
        end, client = time.monotonic() + effect.seconds, self._client()
        with _translated(effect, end), until(end, stop):
            trace = _Trace()
            try:
                return self._send(client, effect, end, trace)
            except BROKEN:
                if not trace.idle:
                    raise
            return self._send(client, effect, end, trace)

    def _send(self, client: httpx.Client, effect: Send, end: float, trace: _Trace) -> Reply:
        body = bytearray()
        with client.stream(**_arguments(effect, end, trace.note)) as response:
            for block in response.iter_bytes():
                _collect(body, block, effect.request)
                if time.monotonic() > end:
                    raise _late(effect)
            return _reply(response, body)

    def _client(self) -> httpx.Client:
        _check_open(self._closed)
        process = os.getpid()
        if process not in self._clients:
            self._clients.setdefault(process, self._new())
        return self._clients[process]

    def close(self) -> None:
        self._closed = True
        client = self._clients.get(os.getpid())
        if client is not None:
            client.close()


class AsyncTransport:
    """The same for asyncio; may be used from several event loops."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._given, self._closed = transport, False
        # Connections belong to the loop that opened them, and a loop to the process.
        self._homes: dict[tuple[int, asyncio.AbstractEventLoop], _Home] = {}

    async def send(self, effect: Send) -> Reply:
        """The whole answer; errors as for SyncTransport.send."""
        end, client = time.monotonic() + effect.seconds, await self._client()
        try:
            async with asyncio.timeout(effect.seconds):
                with _translated(effect, end):
                    return await self._send_twice(client, effect, end)
        except TimeoutError as error:
            if isinstance(error, DeadlineError):
                raise
            raise _late(effect) from error

    async def _send_twice(self, client: httpx.AsyncClient, effect: Send, end: float) -> Reply:
        trace = _Trace()
        try:
            return await self._send(client, effect, end, trace)
        except BROKEN:
            if not trace.idle:
                raise
        return await self._send(client, effect, end, trace)

    async def _send(
        self, client: httpx.AsyncClient, effect: Send, end: float, trace: _Trace
    ) -> Reply:
        body = bytearray()
        async with client.stream(**_arguments(effect, end, trace.anote)) as response:
            async for block in response.aiter_bytes():
                _collect(body, block, effect.request)
            return _reply(response, body)

    async def _client(self) -> httpx.AsyncClient:
        _check_open(self._closed)
        key = os.getpid(), asyncio.get_running_loop()
        if key not in self._homes:
            for process, loop in list(self._homes):
                if process == key[0] and loop.is_closed():
                    del self._homes[process, loop]
            home = self._homes[key] = _Home(self._given)
            await home.open()
        return self._homes[key].client

    async def close(self) -> None:
        self._closed = True
        home = self._homes.pop((os.getpid(), asyncio.get_running_loop()), None)
        if home is not None:
            await home.close()


class _Home:
    """The connections of one event loop; closed with it, if nobody closes them before."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self.client = httpx.AsyncClient(transport=transport, verify=_tls())
        bind(self.client, httpcore.AsyncNetworkBackend, _early.Backend)
        # A loop that ends (asyncio.run does so properly) closes the generators begun in it.
        self._keeper = self._keep()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.client.aclose()

    async def open(self) -> None:
        await anext(self._keeper)

    async def close(self) -> None:
        await self._keeper.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes 40 ms, the rest of a client under one."""
    return httpx.create_ssl_context()


def bind(client: httpx.Client | httpx.AsyncClient, kind: type, wrap: Callable[[Any], Any]) -> bool:
    """Puts streams of ours under every pool of the client, proxies' included; False if there is a
    pool without a backend of this kind.

    Network backends are httpcore's public way to do so, but httpx has no public way to its pools.
    Should it move them, each read is still limited, and the body as a whole; a test notices.
    """
    mounted = getattr(client, "_mounts", {}).values()
    transports = [getattr(client, "_transport", None), *filter(None, mounted)]
    pools = [getattr(transport, "_pool", None) for transport in transports]
    backends = [getattr(pool, "_network_backend", None) for pool in pools]
    for pool, backend in zip(pools, backends, strict=True):
        if pool is not None and isinstance(backend, kind):
            pool._network_backend = wrap(backend)
    return all(isinstance(backend, kind) for backend in backends)


class _Trace:
    """Whether a connection that broke was one that had lain idle: then the server, as it may, had
    closed it before the request came, and asking anew is no second attempt."""

    def __init__(self) -> None:
        self._sent = self._connected = self._answered = False

    @property
    def idle(self) -> bool:
        return self._sent and not self._connected and not self._answered

    def note(self, event: str, info: dict[str, Any]) -> None:
        name = event.partition(".")[2]
        self._sent |= name == "send_request_headers.started"
        self._connected |= name.startswith("connect_")
        self._answered |= name == "receive_response_headers.complete"

    async def anote(self, event: str, info: dict[str, Any]) -> None:
        self.note(event, info)


def _check_open(closed: bool) -> None:
    if closed:
        raise RuntimeError("this client is closed; make a new one")


def _arguments(effect: Send, end: float, trace: Any) -> dict[str, Any]:
    request, seconds = effect.request, max(1e-3, end - time.monotonic())
    return {
        "method": request.method,
        "url": request.url,
        "params": request.params or None,  # {} would cut off the query of a picture's URL
        "headers": dict(request.headers),
        "content": request.body or None,
        "timeout": httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        "extensions": {"trace": trace},
    }


def _reply(response: httpx.Response, body: bytearray) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, bytes(body))


def _collect(body: bytearray, block: bytes, request: Request) -> None:
    body += block
    if len(body) > request.limit:
        raise ProtocolError(f"the answer has more than {request.limit:,} bytes")


def _late(effect: Send) -> DeadlineError:
    return DeadlineError(f"no whole answer within {effect.seconds:.3g} s")


@contextmanager
def _translated(effect: Send, end: float) -> Iterator[None]:
    """httpx's errors -> this package's."""
    try:
        yield
    except AttnVGGError:  # a DeadlineError is an OSError too, and is right already
        raise
    except httpx.ConnectTimeout as error:
        if time.monotonic() >= end:
            raise _late(effect) from error
        raise APIConnectionError(f"no connection within {CONNECT_SECONDS:g} s") from error
    except httpx.TimeoutException as error:
        raise _late(effect) from error
    except (httpx.DecodingError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ProtocolError(str(error)) from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        reason = str(error) or "the connection broke"
        raise APIConnectionError(reason) from error
