"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attnvgg_client import _batch, _config, _core
from attnvgg_client._door import Health, door
from attnvgg_client._errors import ItemError
from attnvgg_client._grpc import SyncChannel
from attnvgg_client._http import Call, Effect, Flow, Send, Sleep, T
from attnvgg_client._many import Many
from attnvgg_client._pictures import PictureLike
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import AttentionFormat, Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline

if TYPE_CHECKING:
    import httpx

    from attnvgg_client._bounded import Stop


class Client:
    """Asks an attnvgg server; blocks while it does.

    One client may be shared by any number of threads; it keeps its connections open between calls.
    A forked child may use its parent's client, too: it gets connections of its own, and the
    parent's are left alone, whatever they were doing. (Not with a `transport` of yours, which must
    see to that itself.)

    Args:
        url: where the server is; by default $ATTNVGG_URL, or else http://127.0.0.1:3000. An attnvgg
            server is http:// or https://. NVIDIA Triton, with a repository that `attnvgg-export
            triton` wrote, is triton+http://host:8000, triton+https://, grpc://host:8001 or grpcs://
            (these two need the extra `triton`).
        api_key: by default $ATTNVGG_API_KEY. It travels in a header and is shown nowhere.
        timeout: seconds for one request with all its retries, from the connection to the last byte,
            however slowly they come; only looking up a host's name may take longer. The server is
            told, too.
        max_retries: further attempts after a broken connection, 429, 503, or a proxy's 502 or 504,
            with growing pauses or as long as Retry-After says, never beyond the timeout. That a
            server closed a connection that lay idle is no failure and counts as no attempt.
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
        self._channel = SyncChannel(self._config)
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
                JPEG, PNG and WebP files travel untouched, pixels as PNG. Not a list:
                `predict_batch` and `predict_many` take those.
            return_attention: fetch the attention maps.
            top_k: how many labels.
            attention_format: how maps travel: "f16" (sums within 1e-3), "f32" (exact) or "u8".
                From Triton they always come as "f32".
            model, version: another model than the server's default. Triton has a default only
                where it has one model, and older versions only of what takes pixels.
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
        cannot be used. Sends up to 16 pictures a request, one request after the other, and no
        picture twice that was answered. For many pictures, take `predict_many`: it is faster, and
        keeps the answers that came before a failure.

        Args:
            images: an iterable of what `predict` takes.
            timeout: seconds for each request, and for each picture that must be fetched.
            The others are those of `predict`.

        Raises:
            As `predict`, except that a bad picture raises nothing. What fails a request (the server
            is gone, or refuses the key) fails all, and the answers before it are lost.
        """
        options = Options(return_attention, top_k, attention_format, model, version)
        return self._run(_batch.predict_batch(self._door, images, options, self._seconds(timeout)))

    def predict_many(
        self,
        images: Iterable[PictureLike],
        *,
        return_attention: bool = False,
        top_k: int = 5,
        attention_format: AttentionFormat = "f16",
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
        concurrency: int = 4,
        progress: bool | Callable[[int, int | None], None] = False,
    ) -> Iterator[Prediction | ItemError]:
        """The results for any number of pictures, one by one, in order, as soon as they are there;
        an ItemError, whose index is the place among all, for a picture that cannot be used.

        Several requests are under way at once, of up to 16 pictures each. The pictures are read as
        they are needed, at most (concurrency + 1) * 16 ahead of the results, in the thread that
        iterates. Nothing grows with their number. A server that is busy slows everything down: all
        requests wait as long as it asks one of them to, and each gives up only when its timeout has
        passed (at once with max_retries=0). Leaving the loop ends the requests that are under way.

        Args:
            images: an iterable of what `predict` takes; a generator will do. AsyncClient takes
                asynchronous ones, too.
            timeout: seconds for each request, and for each picture that must be fetched.
            concurrency: how many requests at once.
            progress: True draws a bar on standard error if that is a terminal. A function is called
                with the number of results so far and that of all pictures, or None.
            The others are those of `predict`.

        Raises:
            InvalidArgumentError: at once.
            As `predict_batch` while iterating, after the results that came before: their number
            says where to go on. So does an error of the iterable itself.
        """
        options = Options(return_attention, top_k, attention_format, model, version)
        many = Many(
            self._door,
            _batch.checked(images),
            options,
            self._seconds(timeout),
            concurrency,
            progress,
            insistent=self._config.max_retries > 0,
        )
        from attnvgg_client import _jobs

        return _jobs.results(self._run, many, iter(images))

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
        self._channel.close()

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

    def _run(self, flow: Flow[T], stop: Stop | None = None) -> T:
        try:
            effect = next(flow)
            while True:
                if stop is not None and stop.is_set():
                    raise InterruptedError("stopped")
                try:
                    outcome = self._carry_out(effect, stop)
                except Exception as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _carry_out(self, effect: Effect, stop: Stop | None) -> Any:
        if isinstance(effect, Send):
            return self._transport.send(effect, stop)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds) if stop is None else stop.sleep(effect.seconds)
        if isinstance(effect, Call):
            return self._channel.call(effect, stop)
        return effect.function()
