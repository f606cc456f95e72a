"""The blocking client."""

from __future__ import annotations

import time
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


class Client:
    """Asks an attnvgg server; blocks while it does. One client may be shared by threads, and keeps
    its connections open between calls; after a fork, make a new one.

    Args:
        url: where the server is; by default $ATTNVGG_URL, or else http://127.0.0.1:3000.
        api_key: by default $ATTNVGG_API_KEY. It travels in a header and is shown nowhere.
        timeout: seconds for one request with all its retries; the server is told, too.
        max_retries: further attempts after a broken connection, 429, 503, or a proxy's 502 or 504,
            with growing pauses or as long as Retry-After says, never beyond the timeout.
        transport: an httpx transport to use instead of the network, for tests.

    Raises:
        InvalidArgumentError: one of these cannot be right.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = _config.DEFAULT_TIMEOUT,
        max_retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._config = _config.resolve(url, api_key, timeout, max_retries)
        self._door = door(self._config)
        from attnvgg_client._transport import SyncTransport  # httpx is slow to import

        self._transport = SyncTransport(transport)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._config.url

    def predict(
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
        """What the picture shows and, if asked, where the network looked.

        Args:
            image: a path, an http(s) URL, bytes, a file object opened in binary mode, a PIL image,
                a numpy array (uint8 [h, w, 3] RGB, or [h, w]) or a torch tensor (uint8 [3, h, w]).
                JPEG, PNG and WebP files travel untouched, pixels as PNG.
            return_attention: fetch the attention maps.
            top_k: how many labels.
            attention_format: how maps travel: "f16" (sums within 1e-3), "f32" (exact) or "u8".
            model, version: another model than the server's default.
            timeout: seconds for this call instead of the client's.

        Raises:
            InvalidArgumentError, InvalidPictureError: before anything is sent.
            APIConnectionError, DeadlineError, ProtocolError, APIStatusError: see AttnVGGError.
        """
        options = Options(return_attention, top_k, attention_format, model, version)
        return self._run(_core.predict(self._door, image, options, self._seconds(timeout)))

    def predict_batch(
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
        """Predictions in the order of the pictures, with an ItemError in the place of one that
        cannot be used. Sends a few pictures a request, and none twice that was answered.

        Args:
            timeout: seconds for each request, and for each picture that must be fetched.
            The others are those of `predict`.

        Raises:
            As `predict`, except that a bad picture raises nothing; what fails a request fails all.
        """
        options = Options(return_attention, top_k, attention_format, model, version)
        return self._run(_batch.predict_batch(self._door, images, options, self._seconds(timeout)))

    def models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """The models that the server has. Raises as `predict`."""
        return self._run(self._door.models(Deadline(self._seconds(timeout))))

    def health(self, *, timeout: float | None = None) -> Health:
        """Whether the server would answer now; asked once, without retries.

        Raises:
            APIConnectionError, DeadlineError: nobody is there.
            APIStatusError: something is there that is no attnvgg server.
        """
        return self._run(self._door.health(Deadline(self._seconds(timeout))))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns as soon as the server would answer.

        Raises:
            DeadlineError: it would not within so many seconds; says why.
            APIStatusError: something is there that is no attnvgg server.
        """
        self._run(_core.wait_until_ready(self._door, timeout))

    def close(self) -> None:
        """Closes the connections; the client cannot be used any more."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _seconds(self, timeout: float | None) -> float:
        return _core.seconds_of(self._config, timeout)

    def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = self._carry_out(effect)
                except Exception as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _carry_out(self, effect: Effect) -> Any:
        if isinstance(effect, Send):
            return self._transport.send(effect)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        if isinstance(effect, Call):
            raise NotImplementedError
        return effect.function()
