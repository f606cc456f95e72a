"""The client for asyncio: the verbs of Client, awaited."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attnvgg_client import _batch, _config, _core
from attnvgg_client._door import Health, door
from attnvgg_client._errors import ItemError
from attnvgg_client._http import Call, Effect, Flow, Send, Sleep, T
from attnvgg_client._pictures import PictureLike
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import AttentionFormat, Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline

if TYPE_CHECKING:
    import httpx


class AsyncClient:
    """Client for asyncio: the same arguments, verbs and errors. Files are read and pictures
    encoded in a thread, so that the event loop goes on. Cancelling a call drops its connection.
    One client belongs to one event loop."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = _config.DEFAULT_TIMEOUT,
        max_retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = _config.resolve(url, api_key, timeout, max_retries)
        self._door = door(self._config)
        from attnvgg_client._transport import AsyncTransport  # httpx is slow to import

        self._transport = AsyncTransport(transport)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._config.url

    async def predict(
        self,
        image: PictureLike,
        *,
        return_attention: bool = False,
        top_k: int = 5,
        attention_format: AttentionFormat = "f16",
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """As Client.predict."""
        options = Options(return_attention, top_k, attention_format, model, version)
        return await self._run(_core.predict(self._door, image, options, self._seconds(timeout)))

    async def predict_batch(
        self,
        images: Iterable[PictureLike],
        *,
        return_attention: bool = False,
        top_k: int = 5,
        attention_format: AttentionFormat = "f16",
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> list[Prediction | ItemError]:
        """As Client.predict_batch."""
        options = Options(return_attention, top_k, attention_format, model, version)
        return await self._run(
            _batch.predict_batch(self._door, images, options, self._seconds(timeout))
        )

    async def models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """As Client.models."""
        return await self._run(self._door.models(Deadline(self._seconds(timeout))))

    async def health(self, *, timeout: float | None = None) -> Health:
        """As Client.health."""
        return await self._run(self._door.health(Deadline(self._seconds(timeout))))

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """As Client.wait_until_ready."""
        await self._run(_core.wait_until_ready(self._door, timeout))

    async def close(self) -> None:
        """As Client.close."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _seconds(self, timeout: float | None) -> float:
        return _core.seconds_of(self._config, timeout)

    async def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = await self._carry_out(effect)
                except Exception as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _carry_out(self, effect: Effect) -> Any:
        if isinstance(effect, Send):
            return await self._transport.send(effect)
        import asyncio  # slow to import, and whoever awaits has done it

        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Call):
            raise NotImplementedError
        return await asyncio.to_thread(effect.function)
