"""The client for asyncio: the verbs of Client, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attnvgg_client import _batch, _config, _core
from attnvgg_client._door import Health, door
from attnvgg_client._errors import ItemError
from attnvgg_client._grpc import AsyncChannel
from attnvgg_client._http import Call, Effect, Flow, Send, Sleep, T
from attnvgg_client._many import Many
from attnvgg_client._pictures import PictureLike
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import AttentionFormat, Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline

if TYPE_CHECKING:
    import httpx


class AsyncClient:
    """Client for asyncio: the same arguments, verbs and errors. Files are read and pictures
    encoded in threads, so that the event loop goes on. Cancelling a call drops its connection.

    One client may be used from several event loops, one after the other (asyncio.run twice) or at
    once in several threads, and after a fork: connections belong to the loop that opened them, and
    are closed with it at the latest. `close` closes those of the loop that awaits it. Only gRPC for
    asyncio does not survive a fork: a child of a process that used it is refused at once."""

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
        self._channel = AsyncChannel(self._config)
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

    def predict_many(
        self,
        images: Iterable[PictureLike] | AsyncIterable[PictureLike],
        *,
        return_attention: bool = False,
        top_k: int = 5,
        attention_format: AttentionFormat = "f16",
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
        concurrency: int = 4,
        progress: bool | Callable[[int, int | None], None] = False,
    ) -> AsyncIterator[Prediction | ItemError]:
        """As Client.predict_many, for `async for`. A plain iterable is read in the event loop and
        must not block it; an asynchronous one may take its time."""
        options = Options(return_attention, top_k, attention_format, model, version)
        awaited = hasattr(images, "__aiter__")
        many = Many(
            self._door,
            images if awaited else _batch.checked(images),
            options,
            self._seconds(timeout),
            concurrency,
            progress,
            insistent=self._config.max_retries > 0,
        )
        from attnvgg_client import _tasks  # asyncio is slow to import

        return _tasks.results(self._run, many, _tasks.iterator(images))

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
        await self._channel.close()

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
            return await self._channel.call(effect)
        return await asyncio.to_thread(effect.function)
