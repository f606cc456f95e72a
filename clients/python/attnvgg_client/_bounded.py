"""Ends a blocking wait: at the deadline of the thread that waits, or when another thread says so.

httpx limits each read and write, so a server that drips its answer byte by byte keeps every one of
them short and a call endless. The streams here give each read, write and handshake no more than
what is left of the whole.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore

BLOCK = 2**16


class Stop:
    """Lets one thread end what another waits for."""

    def __init__(self) -> None:
        self._event, self._lock = threading.Event(), threading.Lock()
        self._waiting: Any = None
        self._process = os.getpid()

    def set(self) -> None:
        """Wakes the thread from a read, a write or a pause; it finds a broken connection."""
        if os.getpid() != self._process:
            return  # a forked child shares the parent's connections and must not end them
        self._event.set()
        with self._lock:
            if isinstance(self._waiting, socket.socket):
                with suppress(OSError):  # closed already
                    # Not SSLSocket's own method, which takes its state away under the reader.
                    socket.socket.shutdown(self._waiting, socket.SHUT_RDWR)

    def is_set(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Returns after so many seconds, or at once when it is set."""
        self._event.wait(seconds)

    @contextmanager
    def waking(self, stream: httpcore.NetworkStream) -> Iterator[None]:
        """While the thread waits for this stream. Not longer: the connection goes to others."""
        with self._lock:
            self._waiting = stream.get_extra_info("socket")
        try:
            yield
        finally:
            with self._lock:
                self._waiting = None


class _Thread(threading.local):
    """What bounds the waits of this thread."""

    end: float = math.inf
    stop: Stop | None = None


_here = _Thread()


@contextmanager
def until(end: float, stop: Stop | None) -> Iterator[None]:
    """This thread waits for no socket beyond the moment `end` (of time.monotonic)."""
    before = _here.end, _here.stop
    _here.end, _here.stop = end, stop
    try:
        yield
    finally:
        _here.end, _here.stop = before


def _left(timeout: float | None, late: type[Exception]) -> float:
    """Seconds for the next wait."""
    if _here.stop is not None and _here.stop.is_set():
        raise httpcore.ReadError("stopped")
    left = _here.end - time.monotonic()
    if left <= 0:
        raise late("the deadline has passed")
    return left if timeout is None else min(timeout, left)


class Backend(httpcore.NetworkBackend):
    """Connects within the deadline, whatever number of addresses a name has."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        end = time.monotonic() + _left(timeout, httpcore.ConnectTimeout)
        addresses = _addresses(host, port)
        while True:
            # One address that swallows everything leaves time for the next.
            share = max(1e-3, end - time.monotonic()) / len(addresses)
            try:
                stream = self._inner.connect_tcp(
                    addresses.pop(0), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return _Stream(stream)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(_left(seconds, httpcore.ConnectTimeout))


def _addresses(host: str, port: int) -> list[str]:
    """How long this takes is the system's resolver's business: nothing here can end it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Stream(httpcore.NetworkStream):
    """A connection whose waits are bounded by whoever uses it now."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if _here.stop is None:
            return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))
        with _here.stop.waking(self._inner):
            return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In blocks: below, each send has the whole timeout, however little it gets rid of.
        view = memoryview(buffer)
        for start in range(0, len(view), BLOCK):
            self._write(view[start : start + BLOCK], timeout)

    def _write(self, block: Any, timeout: float | None) -> None:
        if _here.stop is None:
            self._inner.write(block, _left(timeout, httpcore.WriteTimeout))
        else:
            with _here.stop.waking(self._inner):
                self._inner.write(block, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
