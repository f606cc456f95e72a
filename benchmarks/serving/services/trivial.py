"""Answers every request with the same bytes: what is left is what the load generator costs."""

import asyncio
import sys
from typing import Any

try:
    import uvloop as loops
except ImportError:
    loops = asyncio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"." * 300


class Responder(asyncio.Protocol):
    """Knows the length of the first request, and takes all others to be as long."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.needed, self.received = 0, b""
        self.count = 0

    def data_received(self, data: bytes) -> None:
        if not self.needed:
            self.received += data
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self.received[:end].lower().rpartition(b"content-length:")[2]
            self.needed = end + 4 + int(length.split(b"\r\n")[0])
            self.count = len(self.received)
        else:
            self.count += len(data)
        if self.count >= self.needed:
            self.count = 0
            self.transport.write(ANSWER)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Responder, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    loops.run(main(int(sys.argv[1])))
