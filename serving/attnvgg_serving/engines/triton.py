"""NVIDIA Triton, over gRPC: the gateway decodes, Triton batches and runs.

The bundle is read here, too: its manifest says what an answer means, and golden.npz, sent through
Triton before anything is served, that Triton runs the same network.

Triton may go away and come back. While it is away every request fails at once, and one question a
second finds out when it is there again; nothing has to be started anew.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as blocking
import tritonclient.grpc.aio as awaited
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from attnvgg_serving.engines import triton_wire as wire
from attnvgg_serving.engines.triton_wire import Served
from attnvgg_serving.errors import EngineAway, EngineUnavailable

if TYPE_CHECKING:
    from attnvgg_serving.registry import Bundle
    from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)

LANES = 8  # calls under way; what comes while all of them are waits together for the next
WAIT_S = 30.0  # for a server that is starting, or a version that it has not found yet
ASK_S, ASK_SECONDS = 1.0, 2.0  # between two questions whether it is there, and for one of them
RUN_SECONDS = 60.0  # for a call on trial


def create(bundle: "Bundle", settings: "Settings") -> "TritonEngine":
    """Triton's model of the bundle's name and version, when it is there.

    Raises:
        EngineAway: nobody is there, or it has no such model.
        StartError: it cannot be used; says why.
    """
    url = settings.triton_url or ""
    client = blocking.InferenceServerClient(url, channel_args=wire.CHANNEL)
    try:
        name, version = bundle.manifest.name, bundle.manifest.version
        _await_model(client, url, name, version)
        try:
            config = client.get_model_config(name, version, client_timeout=ASK_SECONDS).config
        except InferenceServerException as error:
            raise EngineAway(f"Triton at {url}: {wire.line(error)}") from error
        return TritonEngine(url, bundle, wire.served(bundle, config, settings.max_batch))
    finally:
        client.close()


def _await_model(client: Any, url: str, name: str, version: str) -> None:
    end, said = time.monotonic() + WAIT_S, False
    while True:
        try:
            if client.is_model_ready(name, version, client_timeout=ASK_SECONDS):
                return
            reason = f"has no version {version} of {name} that is ready"
        except InferenceServerException as error:
            reason = f"cannot be asked: {wire.line(error)}"
        if time.monotonic() >= end:
            raise EngineAway(
                f"Triton at {url} {reason} (waited {WAIT_S:g} s); `attnvgg-export triton` writes "
                "the repository that it must serve"
            )
        if not said:
            logger.warning("Triton at %s %s; waiting up to %g s", url, reason, WAIT_S)
            said = True
        time.sleep(0.5)


class TritonEngine:
    """One model of a Triton server, as an engine that is awaited; see RemoteEngine."""

    lanes = LANES

    def __init__(self, url: str, bundle: "Bundle", served: Served) -> None:
        self.provider, self.precision, self.sha256 = (
            served.provider,
            served.precision,
            served.sha256,
        )
        self.available = True
        self._url, self._model = url, (bundle.manifest.name, bundle.manifest.version)
        self._image = bundle.manifest.input.name
        self._client: Any = None
        self._answered = 0.0  # when it last did, on the clock of time.monotonic

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3], and waits: for a bundle on trial.

        Raises:
            WireError: see triton_wire.translated.
        """
        client = blocking.InferenceServerClient(self._url, channel_args=wire.CHANNEL)
        try:
            asked = wire.request(blocking, self._image, pixels, outputs, RUN_SECONDS)
            with wire.translated():
                answer = client.infer(self._model[0], model_version=self._model[1], **asked)
            return wire.arrays(answer, outputs)
        finally:
            client.close()

    async def infer(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str], seconds: float
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] within so many seconds.

        Raises:
            WireError: see triton_wire.translated.
        """
        asked = wire.request(awaited, self._image, pixels, outputs, seconds)
        try:
            with wire.translated():
                answer = await self._there().infer(
                    self._model[0], model_version=self._model[1], **asked
                )
        except EngineUnavailable as error:
            self._seen(False, f"{error}: {error.__cause__}")
            raise
        self._answered = time.monotonic()
        return wire.arrays(answer, outputs)

    async def watch(self) -> None:
        """Follows whether Triton serves the model, until it is cancelled."""
        try:
            while True:
                self._seen(*await self._asked())
                await asyncio.sleep(ASK_S)
        finally:
            if self._client is not None:
                await self._client.close()

    def close(self) -> None:
        """Nothing of Triton's is ours to free."""

    async def _asked(self) -> tuple[bool, str]:
        began = time.monotonic()
        try:
            ready = await self._there().is_model_ready(*self._model, client_timeout=ASK_SECONDS)
        except Exception as error:  # whatever it is, the next question must be asked
            says = wire.line(error) if isinstance(error, InferenceServerException) else repr(error)
            # Who answers pictures meanwhile is there: a busy machine can be late with this.
            return self._answered > began, says
        return bool(ready), "it does not serve this version now"

    def _seen(self, available: bool, reason: str) -> None:
        if available is self.available:
            return
        self.available = available
        where = "{}/{}: Triton at {}".format(*self._model, self._url)
        if available:
            logger.warning("%s is back", where)
        else:
            logger.warning("%s does not answer, requests are refused: %s", where, reason)

    def _there(self) -> Any:
        """The channel belongs to the loop that first used it."""
        if self._client is None:
            self._client = awaited.InferenceServerClient(self._url, channel_args=wire.CHANNEL)
        return self._client
