"""How a worker ends: it stops accepting, finishes what it accepted, and exits in time.

On SIGTERM or SIGINT, in this order:

1. /readyz is 503 and no connection is accepted any more. The supervisor keeps the listening socket
   open until its last worker is gone, and new connections would hang in its backlog: the last
   worker to leave shuts the socket down for all, so that clients are refused and move on.
2. Every request that has begun is answered; the answer says `Connection: close`. Idle connections
   stay open for half a second, for requests that are on their way.
3. Requests that outlive their own deadline by some seconds are cut off; a process that is still
   there after that is killed, with the stacks of its threads in the log.

uvicorn does the second; the rest is here. BentoML gives no access to uvicorn's server, but its
handler for SIGTERM is a method of it.
"""

import asyncio
import contextlib
import faulthandler
import fcntl
import logging
import os
import resource
import signal
import socket
from types import FrameType
from typing import Any

from attnvgg_serving.http import connections

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CUT_OFF = 3.0  # seconds after the longest deadline
KILL = 10.0  # seconds after that
# Descriptors for all that is no connection.
OTHER_FILES = 256


class Drain:
    """Installed once in each worker, on its event loop, before it listens."""

    def __init__(self, timeout: float, most: int) -> None:
        self.draining = False
        self._timeout = timeout
        self._most = most
        self._server: Any = None
        self._sweeping: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Takes the signals over from uvicorn and bounds its connections."""
        self._server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if not hasattr(self._server, "server_state"):
            logger.warning("not under uvicorn: connections and the end are not ours to bound")
            return
        _raise_file_limit(self._most + OTHER_FILES)
        config = self._server.config
        config.http_protocol_class = connections.bounded(config.http_protocol_class, self._most)
        if config.timeout_graceful_shutdown is None:  # --timeout-graceful-shutdown wins
            config.timeout_graceful_shutdown = self._timeout + CUT_OFF
        self._loop = asyncio.get_running_loop()
        for number in SIGNALS:
            signal.signal(number, self._told)
        self._sweeping = asyncio.create_task(self._sweep(), name="connections")

    def _told(self, number: int, frame: FrameType | None) -> None:
        if not self.draining:
            self.draining = True
            limit = self._server.config.timeout_graceful_shutdown + KILL
            faulthandler.dump_traceback_later(limit, exit=True)
            self._loop.call_soon_threadsafe(self._stop_listening)
        self._server.handle_exit(number, frame)

    def _stop_listening(self) -> None:
        """Accepts what is in the backlog, and then nothing more."""
        for server in getattr(self._server, "servers", []):
            for listening in server.sockets:
                own = socket.socket(fileno=os.dup(listening.fileno()))
                server.close()  # closing any copy of it gives our lock up
                self._take_rest(own)
                if _lock(own, fcntl.LOCK_EX):
                    own.shutdown(socket.SHUT_RDWR)
                own.close()

    def _take_rest(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        with contextlib.suppress(OSError):  # at its end there is none to accept
            while True:
                accepted, _ = listening.accept()
                accepted.setblocking(False)
                adopting = self._loop.connect_accepted_socket(self._protocol, accepted)
                self._loop.create_task(adopting)

    def _protocol(self) -> asyncio.Protocol:
        server = self._server
        protocol: asyncio.Protocol = server.config.http_protocol_class(
            config=server.config,
            server_state=server.server_state,
            app_state=server.lifespan.state,
        )
        return protocol

    async def _sweep(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.01)
        for server in self._server.servers:
            for listening in server.sockets:
                _lock(listening, fcntl.LOCK_SH)
        while True:
            await asyncio.sleep(1)
            connections.sweep(self._server.server_state.connections)


def _lock(listening: Any, kind: int) -> bool:
    """A lock on the listening socket, which all workers of one supervisor share.

    Each holds it shared while it listens; who gets it exclusively is the last.
    """
    try:
        fcntl.lockf(listening.fileno(), kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
