"""What the clients of the soak do: good requests over both doors, bad ones, and cancelled ones."""

import asyncio
import base64
import contextlib
import io
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
from PIL import Image

Outcome = str
Visit = Callable[[httpx.AsyncClient, random.Random], Awaitable[Outcome]]
MAPS = {"return_attention": "true"}
BINARY = {"Accept": "application/octet-stream"}


def _file(side: int, format: str, seed: int) -> bytes:
    rough = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rough).resize((side, side)).save(stream, format, quality=85)
    return stream.getvalue()


SMALL = [_file(32, "PNG", seed) for seed in range(16)]
PHOTOS = [_file(500, "JPEG", seed) for seed in range(8)]
LARGE = _file(3000, "WEBP", 0)
BAD = [b"", b"no picture", PHOTOS[0][:3000], SMALL[0][:60], b"GIF89a" + bytes(50)]


async def small(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    return await _predict(client, content=random.choice(SMALL), headers=_kind("png"))


async def photo_with_maps(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    headers = _kind("jpeg") | BINARY
    return await _predict(client, content=random.choice(PHOTOS), headers=headers, params=MAPS)


async def files(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    several = [("f", ("x", random.choice(PHOTOS + BAD))) for _ in range(random.randrange(1, 9))]
    return await _predict(client, files=several, params=MAPS)


async def as_json(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    images = [base64.b64encode(random.choice(SMALL)).decode() for _ in range(3)]
    return await _predict(client, json={"images": images})


async def tensor(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    count = random.randrange(1, 5)
    data = [random.randrange(256)] * (count * 32 * 32 * 3)
    inputs = [{"name": "image", "datatype": "UINT8", "shape": [count, 32, 32, 3], "data": data}]
    url = f"/v2/models/{client.headers['X-Model']}/infer"
    return str((await client.post(url, json={"inputs": inputs})).status_code)


async def bad(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    return await _predict(client, content=random.choice(BAD), headers=_kind("png"))


async def large(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    return await _predict(client, content=LARGE, headers=_kind("webp"))


async def huge(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    async def chunks() -> Any:
        for _ in range(200):
            yield bytes(100_000)

    with contextlib.suppress(httpx.TransportError):
        return await _predict(client, content=chunks(), headers=_kind("png"))
    return "cut off"


async def late(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    headers = _kind("webp") | {"X-Timeout-Ms": str(random.randrange(1, 30))}
    return await _predict(client, content=LARGE, headers=headers)


async def cancelled(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(random.uniform(0.001, 0.1)):
            return await _predict(client, content=LARGE, headers=_kind("webp"))
    return "cancelled"


async def unknown(client: httpx.AsyncClient, random: random.Random) -> Outcome:
    return str((await client.get(f"/{random.getrandbits(64):x}")).status_code)


VISITS: list[tuple[Visit, int]] = [  # with how often they come
    (small, 30),
    (photo_with_maps, 20),
    (files, 8),
    (as_json, 8),
    (tensor, 8),
    (bad, 10),
    (late, 5),
    (cancelled, 5),
    (unknown, 4),
    (large, 1),
    (huge, 1),
]


async def _predict(client: httpx.AsyncClient, **options: Any) -> Outcome:
    return str((await client.post("/v1/predict", **options)).status_code)


def _kind(format: str) -> dict[str, str]:
    return {"Content-Type": f"image/{format}"}
