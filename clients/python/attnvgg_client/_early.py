"""An answer that comes before the request was read whole, for asyncio.

A server that refuses a large upload answers and closes; what it did not read makes the connection
break under the client, who is still writing. A blocking client reads the answer all the same:
the system has kept it. asyncio closes the socket with the answer inside, so a second handle to the
socket is kept for as long as a large request is under way.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore

LARGE = 2**16


class Backend(httpcore.AsyncNetworkBackend):
    """Wraps what makes the connections."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        options = socket_options
        return Stream(await self._inner.connect_tcp(host, port, timeout, local_address, options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return Stream(await self._inner.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class Stream(httpcore.AsyncNetworkStream):
    """A connection without TLS; one with TLS is the inner one's own."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._second: socket.socket | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) > LARGE and self._second is None:
            with suppress(Exception):  # other event loops' sockets may not know how
                self._second = self._inner.get_extra_info("socket").dup()
        await self._inner.write(buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = await self._inner.read(max_bytes, timeout)
        except httpcore.ReadError:
            if self._second is None:
                raise
            with suppress(OSError):
                return self._second.recv(max_bytes, socket.MSG_DONTWAIT)
            raise
        self._release()
        return data

    async def aclose(self) -> None:
        self._release()
        await self._inner.aclose()

    def _release(self) -> None:
        if self._second is not None:
            self._second.close()
            self._second = None

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self._release()
        return await self._inner.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
