"""What happens to connections that wait when the process ends, and to those that never read."""

from typing import Any

import pytest

from attnvgg_serving.http import connections


class Cycle:
    def __init__(self) -> None:
        self.response_complete = False
        self.keep_alive = True


class Transport:
    def __init__(self) -> None:
        self.unsent = 0
        self.closed = ""

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.closed = "closed"

    def abort(self) -> None:
        self.closed = "aborted"


class Protocol:
    """As much of uvicorn's as is used; any data is a whole request."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.cycle: Cycle | None = None
        self.loop = self
        self.later: list[Any] = []

    def call_later(self, seconds: float, call: Any) -> None:
        self.later.append(call)

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.cycle = Cycle()

    def shutdown(self) -> None:
        assert self.cycle is not None
        self.cycle.keep_alive = False


def connected() -> Any:
    connection = connections.bounded(Protocol, 10)()
    connection.connection_made(Transport())
    return connection


def test_a_request_on_its_way_is_the_last_one_of_its_connection() -> None:
    connection = connected()
    connection.shutdown()
    assert connection.transport.closed == ""
    connection.data_received(b"request")
    assert not connection.cycle.keep_alive
    (hang_up,) = connection.later
    hang_up()
    assert connection.transport.closed == ""


def test_where_nothing_comes_the_connection_is_closed() -> None:
    connection = connected()
    connection.shutdown()
    (hang_up,) = connection.later
    hang_up()
    assert connection.transport.closed == "closed"


def test_a_busy_connection_is_left_to_uvicorn() -> None:
    connection = connected()
    connection.data_received(b"request")
    connection.shutdown()
    assert connection.later == []
    assert not connection.cycle.keep_alive


def test_who_never_reads_the_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connected()
    now = connection.idle_since
    monkeypatch.setattr(connections.time, "monotonic", lambda: now)
    connection.data_received(b"request")
    connection.transport.unsent = 1000
    connections.sweep([connection])
    now += connections.READ_SECONDS - 1
    connection.transport.unsent = 900
    connections.sweep([connection])
    now += connections.READ_SECONDS - 1
    connections.sweep([connection])
    assert connection.transport.closed == ""
    now += 2
    connections.sweep([connection])
    assert connection.transport.closed == "aborted"


def test_a_busy_connection_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connected()
    connection.data_received(b"request")
    later = connection.idle_since + 1000
    monkeypatch.setattr(connections.time, "monotonic", lambda: later)
    connections.sweep([connection])
    assert connection.transport.closed == ""
    connection.cycle.response_complete = True
    connections.sweep([connection])
    assert connection.transport.closed == "closed"
