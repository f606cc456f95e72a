"""What a user of attnvgg_client writes: mypy --strict reads this against the installed wheel.

A wrong use stands beside `type: ignore[code]`: where mypy does not complain, it complains of that.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attnvgg_client import (
    APIStatusError,
    AsyncClient,
    Client,
    Health,
    ItemError,
    ModelInfo,
    Prediction,
)


def blocking(client: Client) -> None:
    assert_type(client.predict("photo.jpg"), Prediction)
    assert_type(client.predict_batch(["a.jpg", b"..."]), list[Prediction | ItemError])
    assert_type(client.predict_many(["a.jpg"]), Iterator[Prediction | ItemError])
    client.predict_many((name for name in "ab"), progress=lambda done, total: None)
    assert_type(client.models(), list[ModelInfo])
    assert_type(client.health(), Health)
    with client as same:
        assert_type(same, Client)


async def awaiting(client: AsyncClient) -> None:
    assert_type(await client.predict(np.zeros((8, 8, 3), np.uint8)), Prediction)
    assert_type(await client.predict_batch(["a.jpg"]), list[Prediction | ItemError])
    assert_type(client.predict_many(["a.jpg"]), AsyncIterator[Prediction | ItemError])
    async for result in client.predict_many(names()):
        assert_type(result, Prediction | ItemError)
    assert_type(await client.models(), list[ModelInfo])
    assert_type(await client.health(), Health)


async def names() -> AsyncIterator[str]:
    yield "a.jpg"


def told_apart(result: Prediction | ItemError) -> str:
    if isinstance(result, ItemError):
        assert_type(result.request_id, str | None)
        return result.message
    assert_type(result.attention, dict[str, NDArray[np.float32]] | None)
    assert_type(result.overlay("conv10", scale="minmax"), Image.Image)
    return result.label


def caught(error: APIStatusError) -> float:
    assert_type(error.status, int)
    assert_type(error.code, str)
    return error.retry_after or 1.0


def wrong(client: Client, prediction: Prediction) -> None:
    client.predict("a.jpg", attention=True)  # type: ignore[call-arg]
    client.predict("a.jpg", attention_format="f64")  # type: ignore[arg-type]
    client.predict("a.jpg", True)  # type: ignore[call-arg]
    assert client.predict_batch(["a.jpg"]).label  # type: ignore[attr-defined]
    prediction.overlay(scale="log")  # type: ignore[arg-type]
    prediction.label = "cat"  # type: ignore[misc]
    Client(timeout="ten")  # type: ignore[arg-type]
