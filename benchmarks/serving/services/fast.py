"""A plain FastAPI service: no batching, the session in the framework's pool of threads."""

import io
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from graph import Graph
from PIL import Image

app = FastAPI()
graph = Graph()


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.post("/classify/pixels")
async def classify_pixels(request: Request) -> dict[str, list[float]]:
    return await run_in_threadpool(_classify, _pixels(await request.body()))


@app.post("/explain/pixels")
async def explain_pixels(request: Request) -> dict[str, list[Any]]:
    return await run_in_threadpool(_explain, _pixels(await request.body()))


@app.post("/classify/picture")
async def classify_picture(request: Request) -> dict[str, list[float]]:
    body = await request.body()
    return await run_in_threadpool(lambda: _classify(_decode(body)))


@app.post("/explain/picture")
async def explain_picture(request: Request) -> dict[str, list[Any]]:
    body = await request.body()
    return await run_in_threadpool(lambda: _explain(_decode(body)))


def _pixels(body: bytes) -> np.ndarray:
    return np.frombuffer(body, np.uint8).reshape(1, graph.height, graph.width, 3)


def _decode(body: bytes) -> np.ndarray:
    return graph.resize([Image.open(io.BytesIO(body))])


def _classify(pixels: np.ndarray) -> dict[str, list[float]]:
    return {"probabilities": graph.classify(pixels)[0].tolist()}


def _explain(pixels: np.ndarray) -> dict[str, list[Any]]:
    return graph.explain(pixels)[0]
