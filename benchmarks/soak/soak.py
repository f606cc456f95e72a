"""A soak: mixed traffic at a steady rate, and what the gateway's memory does meanwhile.

    python benchmarks/soak/soak.py --out benchmarks/soak

starts `bentoml serve` with the bundles in models/, sends good, bad, huge, late and cancelled
requests over /v1 and /v2 for ten minutes, samples the workers' memory each second, and writes
results.json and, made of nothing but that, RESULTS.md. It needs the extra serve, and Linux's /proc.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from fit import slope
from visits import VISITS

ROOT = Path(__file__).parents[2]
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
SEED = 4


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the server did not start or did not stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    arguments = parser.parse_args(argv)
    if arguments.seconds < 8:
        parser.error(f"--seconds is {arguments.seconds:g}; a slope needs 8 or more")
    try:
        results = asyncio.run(measure(arguments))
    except RuntimeError as error:
        print(f"soak.py: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (arguments.out / "results.json").write_text(text, encoding="utf-8")
    (arguments.out / "RESULTS.md").write_text(render(results), encoding="utf-8")
    print(render(results))
    return 0


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that goes into results.json."""
    with TemporaryDirectory() as home, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {**os.environ, "ATTNVGG_MODELS": str(arguments.models), "BENTOML_HOME": home}
        command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1"]
        with (Path(home) / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        try:
            return await soak(f"http://127.0.0.1:{port}", server, arguments)
        finally:
            server.terminate()
            server.wait(60)


async def soak(
    url: str, server: "subprocess.Popen[bytes]", arguments: argparse.Namespace
) -> dict[str, Any]:
    outcomes: Counter[tuple[str, str]] = Counter()
    limits = httpx.Limits(max_connections=256)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        client.headers["X-Model"] = await _ready(client, server)
        workers = _children(server.pid)
        sending = asyncio.create_task(_send(client, arguments, outcomes))
        started, seconds, megabytes = time.monotonic(), [], []
        while not sending.done():
            seconds.append(round(time.monotonic() - started, 2))
            megabytes.append(round(sum(map(_memory_mb, workers)), 2))
            await asyncio.wait([sending], timeout=1)
        await sending
    if _children(server.pid) != workers:
        raise RuntimeError("a worker did not stay")
    found, interval = slope(seconds, megabytes)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "seconds": arguments.seconds,
        "rate": arguments.rate,
        "seed": SEED,
        "workers": len(workers),
        "slope_mb_per_hour": round(found, 2),
        "slope_interval_mb_per_hour": round(interval, 2),
        "outcomes": {f"{visit} {outcome}": n for (visit, outcome), n in sorted(outcomes.items())},
        "samples": {"seconds": seconds, "megabytes": megabytes},
    }


async def _ready(client: httpx.AsyncClient, server: "subprocess.Popen[bytes]") -> str:
    """Waits for the server; the name of its default model."""
    for _ in range(1200):
        if server.poll() is not None:
            break
        try:
            if (await client.get("/readyz")).status_code == 200:
                models = (await client.get("/v1/models")).json()["models"]
                return str(next(model["name"] for model in models if model["default"]))
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError("the server did not become ready")


async def _send(
    client: httpx.AsyncClient, arguments: argparse.Namespace, outcomes: Counter[tuple[str, str]]
) -> None:
    """Requests at a steady rate, whether or not the earlier ones have been answered."""
    order = random.Random(SEED)
    kinds, weights = zip(*VISITS, strict=True)
    running: set[asyncio.Task[None]] = set()

    async def one(visit: Any, own: random.Random) -> None:
        try:
            outcome = await visit(client, own)
        except httpx.TransportError as error:
            outcome = type(error).__name__
        outcomes[visit.__name__, outcome] += 1

    start = time.monotonic()
    for number in range(int(arguments.seconds * arguments.rate)):
        await asyncio.sleep(max(0.0, start + number / arguments.rate - time.monotonic()))
        visit = order.choices(kinds, weights)[0]
        task = asyncio.create_task(one(visit, random.Random(order.getrandbits(64))))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


def render(results: dict[str, Any]) -> str:
    """RESULTS.md."""
    megabytes = results["samples"]["megabytes"]
    rows = "\n".join(f"| {name} | {count} |" for name, count in results["outcomes"].items())
    return f"""# Soak

{results["seconds"]:g} s at {results["rate"]:g} requests a second, seed {results["seed"]}, \
{results["workers"]} worker(s), {results["machine"]["cores"]} cores, {results["date"]}.
Made by `python benchmarks/soak/soak.py --out benchmarks/soak`; do not edit.

Memory of the workers (RSS): {megabytes[0]:.0f} MB at the start, \
{megabytes[len(megabytes) // 2]:.0f} MB half-way, {megabytes[-1]:.0f} MB at the end, \
{max(megabytes):.0f} MB at most.
**Slope over the second half: {results["slope_mb_per_hour"]:+.1f} \
± {results["slope_interval_mb_per_hour"]:.1f} MB an hour** (95 %).

| request and outcome | count |
|---|---|
{rows}
"""


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main())
