"""One client of the load generator, and what is counted: requests, answers, errors, latencies."""

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

CHUNKED = -1
END = b"\r\n\r\n"  # of the headers


@dataclass
class Tally:
    """What is seen of a span of time; `samples` are whole responses with the request's number.

    due: when the next answer is kept as a sample. step: seconds from one sample to the next.
    """

    step: float = 0.0
    due: float = math.inf
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, bytes]] = field(default_factory=list)

    def answer(self, number: int, sent: float, status: int, response: bytearray) -> None:
        now = time.perf_counter()
        self.statuses[status] += 1
        if status != 200:
            return
        self.latencies.append(now - sent)
        if now >= self.due:
            self.due += self.step
            self.samples.append((number, bytes(response)))

    def error(self, what: str) -> None:
        self.errors[what] += 1


class Crowd(Protocol):
    """What a client needs of all clients together."""

    requests: list[bytes]
    tally: Tally
    pause: float
    leaving: bool

    def reconnect(self, client: "Client") -> None: ...


class Client(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends the next."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd, self.number = crowd, number
        self.transport: Any = None
        self.received = bytearray()
        self.needed = 0
        self.sent = 0.0  # 0: nothing is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.crowd.leaving or self.transport.is_closing():
            return
        self.number += 1
        self.received.clear()
        self.needed = 0
        self.sent = time.perf_counter()
        self.transport.write(self.crowd.requests[self.number % len(self.crowd.requests)])

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.needed:
            self.needed = length(self.received)
        if self.needed > 0:
            whole = len(self.received) >= self.needed
        else:
            whole = self.needed == CHUNKED and self.received.endswith(b"0\r\n\r\n")
        if whole:
            self.finish()

    def finish(self) -> None:
        sent, self.sent = self.sent, 0.0
        status = int(self.received[9:12])
        if status == 200 and self.received.find(END) + len(END) == len(self.received):
            self.crowd.tally.error("an empty answer")
        else:
            number = self.number % len(self.crowd.requests)
            self.crowd.tally.answer(number, sent, status, self.received)
        if status == 200:
            self.send()
        else:
            asyncio.get_running_loop().call_later(self.crowd.pause, self.send)

    def connection_lost(self, error: Exception | None) -> None:
        if self.sent:
            self.sent = 0.0
            self.crowd.tally.error(type(error).__name__ if error else "closed without an answer")
        self.crowd.reconnect(self)


def length(received: bytes | bytearray) -> int:
    """Bytes of the whole response; 0: the headers are not there yet; CHUNKED: it does not say."""
    end = received.find(END)
    if end < 0:
        return 0
    head = bytes(received[:end]).lower()
    where = head.find(b"\r\ncontent-length:")
    if where < 0:
        return CHUNKED if b"\r\ntransfer-encoding: chunked" in head else end + len(END)
    return end + len(END) + int(head[where + 17 :].split(b"\r\n", 1)[0])
