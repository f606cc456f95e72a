"""More callers than httpx opens connections in a pool, and than it keeps open."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from attnvgg_client import _bench_ask, _cli

CALLERS = 110


class Meeting:
    """A server that keeps connections, and answers no question until all callers have come."""

    def __init__(self, answer: Any) -> None:
        head = [f"{name}: {value}" for name, value in answer.headers.items()]
        lines = ["HTTP/1.1 200 OK", *head, "", ""]
        self.answer = "\r\n".join(lines).encode() + answer.content
        self.waiting: list[asyncio.Transport] = []
        self.connections = self.asked = 0

    def ask(self, transport: asyncio.Transport, head: bytes) -> None:
        self.asked += head.startswith(b"POST")
        if head.startswith(b"GET") or self.asked == 1:  # no caller, but the test of the waters
            transport.write(self.answer)
            return
        self.waiting.append(transport)
        if len(self.waiting) == CALLERS:
            for each in self.waiting:
                each.write(self.answer)
            self.waiting = []


class Connection(asyncio.Protocol):
    def __init__(self, meeting: Meeting) -> None:
        self.meeting, self.received = meeting, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.meeting.connections += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if end and len(body) == int(length or 0):
            self.received = b""
            self.meeting.ask(self.transport, head)


@pytest.fixture
def meeting(fake: Any) -> Iterator[tuple[Meeting, str]]:
    found = Meeting(fake.ok(None))
    loop = asyncio.new_event_loop()
    listening = loop.create_server(lambda: Connection(found), "127.0.0.1", 0, backlog=CALLERS)
    server = loop.run_until_complete(listening)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield found, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()


def test_every_caller_has_a_connection_and_keeps_it(
    meeting: tuple[Meeting, str], photo_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server, url = meeting
    given = ["--concurrency", CALLERS, "--requests", 3 * CALLERS, "--warmup", 0, "--timeout", 20]
    code = _cli.main(["bench", str(photo_path), *map(str, given), "--url", url, "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (code, row["answered"], row["failed"]) == (0, 3 * CALLERS, 0)
    clients = -(-CALLERS // _bench_ask.PER_CLIENT)
    assert server.connections <= CALLERS + clients
