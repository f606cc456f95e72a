"""Connections that are too many, too slow, or not needed any more: what uvicorn leaves open.

uvicorn closes a connection that is idle after an answer, and nothing else: a head that arrives
byte by byte holds its connection for ever, and so does a client that never reads its answer; with
httptools a head may have any length. Bodies need nothing here: a request's deadline covers them.
"""

import asyncio
import json
import time
from collections.abc import Collection
from typing import Any

from attnvgg_serving.errors import InvalidRequest, Overloaded, WireError

MAX_HEAD = 65_536  # bytes; as in h11
HEAD_SECONDS = 10.0  # for a whole head, from the connection or from the last answer on
READ_SECONDS = 30.0  # without a byte of an answer being read
# How long an idle connection stays when the process ends: a request that was on its way is
# answered instead of being cut off.
LAST_CALL = 0.5


def bounded(protocol: Any, most: int) -> Any:
    """uvicorn's protocol class with limits: at most `most` connections, and heads of MAX_HEAD.

    Where one too many arrives, the connection that has been idle for longest makes room.
    """

    class Bounded(protocol):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.idle_since = time.monotonic()
            self.unsent = (0, self.idle_since)
            self.head = 0
            self.last = False
            if len(self.connections) > most:
                _make_room(self, self.connections, most)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self.head = 0
                self.cycle.keep_alive = self.cycle.keep_alive and not self.last
            elif is_idle(self) and not _unread(self):
                self.head += len(data)
                if self.head > MAX_HEAD:
                    _refuse(self, InvalidRequest(f"a head may have {MAX_HEAD} bytes"))

        def on_response_complete(self) -> None:
            self.idle_since = time.monotonic()
            super().on_response_complete()

        def shutdown(self) -> None:
            """uvicorn's call when the process ends."""
            self.last = True
            if is_idle(self):
                self.loop.call_later(LAST_CALL, self._hang_up)
            else:
                super().shutdown()

        def _hang_up(self) -> None:
            if is_idle(self):
                self.transport.close()

    return Bounded


def is_idle(connection: Any) -> bool:
    """Whether it waits for the head of a request."""
    return connection.cycle is None or connection.cycle.response_complete


def _unread(connection: Any) -> bool:
    """Whether the rest of a body still comes: its request may have been refused before its end."""
    return connection.cycle is not None and connection.cycle.more_body


def sweep(connections: Collection[Any]) -> None:
    """Closes what has been too slow; called every second or so."""
    now = time.monotonic()
    for connection in list(connections):
        unsent = connection.transport.get_write_buffer_size()
        if not unsent or unsent != connection.unsent[0]:
            connection.unsent = (unsent, now)
        if unsent and now - connection.unsent[1] > READ_SECONDS:
            connection.transport.abort()
        elif not unsent and is_idle(connection) and now - connection.idle_since > HEAD_SECONDS:
            connection.transport.close()


def _make_room(newcomer: Any, connections: Collection[Any], most: int) -> None:
    idle = [one for one in connections if one is not newcomer and is_idle(one)]
    if idle:
        min(idle, key=lambda one: float(one.idle_since)).transport.abort()
    else:
        _refuse(newcomer, Overloaded(f"there are {most} connections, which is the limit"))


def _refuse(connection: Any, error: WireError) -> None:
    """An answer without a request: nothing of one was understood yet."""
    problem = {"code": error.code, "message": error.message, "request_id": ""}
    body = json.dumps({"error": problem}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **error.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.transport.write(f"HTTP/1.1 {error.status} \r\n{head}\r\n".encode() + body)
    connection.transport.close()
