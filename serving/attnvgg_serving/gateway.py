"""The pipeline of verbs behind every door: decode, queue, run.

One per process. No HTTP in here, and no framework.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from attnvgg_bundle.manifest import Input, Manifest
from attnvgg_bundle.preprocess import Fitted, PictureError, decode, fit
from attnvgg_serving import registry
from attnvgg_serving.batcher import Batcher, Ran
from attnvgg_serving.cores import cores
from attnvgg_serving.engines import Engine
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine
from attnvgg_serving.errors import (
    EngineUnavailable,
    StartError,
    TooManyImages,
    WireError,
    all_wire_errors,
)
from attnvgg_serving.registry import Bundle, Registry
from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)

Picture = bytes | WireError  # an error where the door could not get at the picture


@dataclass(frozen=True)
class Model:
    """A bundle that is loaded, warm and ready."""

    manifest: Manifest
    engine: Engine
    batcher: Batcher


@dataclass(frozen=True)
class Seen:
    """One picture that went through; the times are in seconds."""

    fitted: Fitted
    ran: Ran
    decoded: float


class Gateway:
    """Loads every bundle, then answers until it is closed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry: Registry[Model] = Registry(default="")
        self._decoders = ThreadPoolExecutor(
            settings.decode_threads or min(4, cores()), thread_name_prefix="decode"
        )

    async def start(self) -> None:
        """Loads and warms every bundle.

        Raises:
            StartError: one line that says what is wrong.
        """
        default, engines = await asyncio.to_thread(load, self.settings)
        self.registry.default = default
        for bundle, engine in engines:
            manifest = bundle.manifest
            batcher = Batcher(engine, self.settings.max_batch, self.settings.max_queue)
            batcher.start()
            self.registry.add(manifest.name, manifest.version, Model(manifest, engine, batcher))
            logger.info("%s/%s is ready on %s", manifest.name, manifest.version, engine.provider)

    @property
    def ready(self) -> bool:
        models = self.registry.all()
        return bool(models) and all(model.batcher.alive for model in models)

    async def close(self) -> None:
        """Finishes what was accepted."""
        for model in self.registry.all():
            await model.batcher.close()
        self._decoders.shutdown()

    async def predict(
        self, model: Model, pictures: Sequence[Picture], outputs: Sequence[str], deadline: float
    ) -> list[Seen | WireError]:
        """What became of each picture, in their order; fetches only the named outputs.

        `deadline` is on the clock of time.monotonic. Cancelling this leaves every queue.

        Raises:
            TooManyImages: more pictures than one request may have.
            Overloaded: no room for them in the queue.
        """
        limit = self.settings.max_images
        if len(pictures) > limit:
            raise TooManyImages(f"the request has {len(pictures)} pictures; at most {limit} may be")
        with model.batcher.reserve(len(pictures)):
            return await asyncio.gather(
                *(self._one(model, picture, outputs, deadline) for picture in pictures)
            )

    async def _one(
        self, model: Model, picture: Picture, outputs: Sequence[str], deadline: float
    ) -> Seen | WireError:
        if isinstance(picture, WireError):
            return picture
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        limit = self.settings.max_pixels
        try:
            fitted = await loop.run_in_executor(
                self._decoders, to_input, picture, model.manifest.input, limit
            )
            decoded = time.monotonic() - started
            ran = await model.batcher.submit(fitted.pixels, outputs, deadline)
        except WireError as error:
            return error
        if not all(np.isfinite(values).all() for values in ran.outputs.values()):
            return EngineUnavailable("the engine gave values that are no numbers for this picture")
        return Seen(fitted, ran, decoded)


def to_input(picture: bytes, input: Input, max_pixels: int) -> Fitted:
    """Decodes one file and brings it to the network's input.

    Raises:
        WireError: of the class whose code the PictureError has.
    """
    try:
        image = decode(picture, max_pixels)
        return fit(image, input.height, input.width, input.geometry, input.filter)
    except PictureError as error:
        raise all_wire_errors()[error.code](str(error)) from error


def load(settings: Settings) -> tuple[str, list[tuple[Bundle, Engine]]]:
    """The default's name and every bundle with its engine, warm.

    Raises:
        StartError: one line that says what is wrong.
    """
    bundles = registry.scan(settings.models)
    names = {bundle.manifest.name for bundle in bundles}
    default = registry.default_name(settings.models, settings.default_model, names)
    return default, [(bundle, _warm(bundle, settings)) for bundle in bundles]


def _warm(bundle: Bundle, settings: Settings) -> Engine:
    """A real inference at both ends of the batch sizes: memory is taken now, not under load."""
    engine = OnnxRuntimeEngine(bundle, settings.provider, settings.engine_threads)
    input, outputs = bundle.manifest.input, [output.name for output in bundle.manifest.outputs]
    for size in {1, settings.max_batch}:
        pixels = np.zeros((size, input.height, input.width, 3), dtype=np.uint8)
        try:
            engine.run(pixels, outputs)
        except Exception as error:
            raise StartError(f"{bundle.folder} fails on its first batch: {error}") from error
    return engine
