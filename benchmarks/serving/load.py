"""The load generator: N clients in a closed loop, each on one keep-alive connection.

A process of its own, as lean as Python allows, because it shares the cores with the server:

    load.py JOB.json RESULT.json

It keeps the latencies, counts what came back by status, and reads the CPU seconds and the memory
of the server's processes at both ends of the measured window.
"""

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import processes
from client import Client, Tally

try:
    import uvloop as loops
except ImportError:  # it works without, at a higher cost
    loops = asyncio

# The longest wait at the end for the answers under way, in seconds.
DRAIN = 5.0


class Crowd:
    """All clients of one measurement."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.port, self.pause, self.timeout = job["port"], job["pause"], job["timeout"]
        self.requests = [base64.b64decode(each) for each in job["requests"]]
        self.tally = Tally()
        self.clients: list[Client] = []
        self.waiting: set[asyncio.Task[None]] = set()
        self.leaving = False

    async def connect(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        while not self.leaving:
            try:
                await loop.create_connection(lambda: client, "127.0.0.1", self.port)
                return
            except OSError as error:
                self.tally.error(type(error).__name__)
                await asyncio.sleep(self.pause)

    def reconnect(self, client: Client) -> None:
        if not self.leaving:
            task = asyncio.get_running_loop().create_task(self.later(client))
            self.waiting.add(task)
            task.add_done_callback(self.waiting.discard)

    async def later(self, client: Client) -> None:
        await asyncio.sleep(self.pause)
        await self.connect(client)

    async def watch(self, seconds: float) -> None:
        """Sleeps, and gives up the requests that take too long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            await asyncio.sleep(min(left, 0.5))
            for client in self.clients:
                if client.sent and time.perf_counter() - client.sent > self.timeout:
                    client.sent = 0.0
                    self.tally.error("timeout")
                    client.transport.abort()

    async def measure(self, job: dict[str, Any]) -> dict[str, Any]:
        """Everything from the first connection to the last."""
        self.clients = [Client(self, number) for number in range(job["clients"])]
        await asyncio.gather(*map(self.connect, self.clients))
        await self.watch(job["warm_up"])
        before, own, start = processes.begin(job["pid"]), time.process_time(), time.perf_counter()
        self.tally = Tally(job["seconds"] / job["samples"], start)  # the warm-up is forgotten
        await self.watch(job["seconds"])
        seconds, own = time.perf_counter() - start, time.process_time() - own
        used = processes.end(job["pid"], before)
        found = {"seconds": seconds, "client_cpu": own, **used, **self.found()}
        await self.leave()
        return found

    async def leave(self) -> None:
        """Takes the answers under way, so that no server has them before it in the next cell."""
        self.leaving, end = True, time.perf_counter() + DRAIN
        while any(client.sent for client in self.clients) and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        for client in self.clients:
            if client.transport is not None:
                client.transport.abort()

    def found(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "latencies": sorted(tally.latencies),
            "statuses": {str(status): count for status, count in tally.statuses.items()},
            "errors": dict(tally.errors),
            "samples": [(n, base64.b64encode(data).decode()) for n, data in tally.samples],
        }


def main(source: str, target: str) -> None:
    """Reads a job, writes what was found."""
    job = json.loads(Path(source).read_text(encoding="utf-8"))

    async def work() -> dict[str, Any]:
        return await Crowd(job).measure(job)

    found = loops.run(work())
    Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
