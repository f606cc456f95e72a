"""infer: pictures as a tensor. What decodes files is tested over the wire."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attnvgg_bundle.manifest import Manifest, Sizes
from attnvgg_serving.batcher import Batcher
from attnvgg_serving.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    TooManyImages,
)
from attnvgg_serving.gateway import Gateway, Model, check_pixels
from attnvgg_serving.settings import Settings
from plain_bundle import plain_bundle

FAR = float("inf")
POISON, NAN = 255, 254


class Echo:
    """`mean` is the mean of a picture; POISON fails its batch, NAN is answered with one."""

    provider, precision, sha256 = "cpu", "fp32", "0"
    lanes = 1

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.go = threading.Event()
        self.go.set()

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        assert self.go.wait(10)
        self.batches.append(pixels.shape)
        first = pixels[:, 0, 0, 0]
        if (first == POISON).any():
            raise RuntimeError("poison")
        mean = pixels.mean(axis=(1, 2, 3)).astype(np.float32)
        mean[first == NAN] = np.nan
        return dict.fromkeys(outputs, mean)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Takes pictures of 24 x 32 (height x width)."""
    return plain_bundle(tmp_path_factory.mktemp("models") / "plain" / "1")


def run(
    manifest: Manifest,
    story: Callable[[Gateway, Model, Echo], Awaitable[None]],
    sizes: bool = False,
) -> Echo:
    engine = Echo()
    if sizes:
        manifest = replace(manifest, input=replace(manifest.input, sizes=Sizes(8, 64, 8)))

    async def tell() -> None:
        settings = Settings(models=Path("unused"), max_batch=4, max_queue=8, max_images=4)
        gateway = Gateway(settings)
        batcher = Batcher(engine, settings.max_batch, settings.max_queue)
        batcher.start()
        try:
            await asyncio.wait_for(story(gateway, Model(manifest, engine, batcher), engine), 20)
        finally:
            engine.go.set()
            await batcher.close()
            await gateway.close()

    asyncio.run(tell())
    return engine


def pixels(*values: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    found = np.zeros((len(values), height, width, 3), np.uint8)
    found[:] = np.array(values, np.uint8)[:, None, None, None]
    return found


def test_every_picture_has_its_answer_in_its_place(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        ran = await gateway.infer(model, pixels(5, 6, 7), ["mean"], FAR)
        assert [float(one.outputs["mean"]) for one in ran] == [5, 6, 7]

    run(manifest, story)


def test_pictures_of_several_requests_merge(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        engine.go.clear()
        first = asyncio.create_task(gateway.infer(model, pixels(0), ["mean"], FAR))
        await asyncio.sleep(0.02)
        tensors = (pixels(1, 2), pixels(3, 4, 5))
        rest = [asyncio.create_task(gateway.infer(model, t, ["mean"], FAR)) for t in tensors]
        await asyncio.sleep(0.02)
        engine.go.set()
        requests = await asyncio.gather(first, *rest)
        answers = [float(one.outputs["mean"]) for ran in requests for one in ran]
        assert answers == [0, 1, 2, 3, 4, 5]

    assert [shape[0] for shape in run(manifest, story).batches] == [1, 4, 1]


def test_sizes_that_the_manifest_allows_are_taken_and_never_merged(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        engine.go.clear()
        tensors = [pixels(0), pixels(1), pixels(2, height=16, width=64), pixels(3)]
        tasks = []
        for tensor in tensors:
            tasks.append(asyncio.create_task(gateway.infer(model, tensor, ["mean"], FAR)))
            await asyncio.sleep(0.02)
        engine.go.set()
        ran = await asyncio.gather(*tasks)
        assert [float(one.outputs["mean"]) for (one,) in ran] == [0, 1, 2, 3]

    engine = run(manifest, story, sizes=True)
    assert engine.batches == [(1, 24, 32, 3), (2, 24, 32, 3), (1, 16, 64, 3)]


@pytest.mark.parametrize(
    ("tensor", "sizes", "says"),
    [
        (pixels(1, height=32, width=24), None, "of 32 x 24 .* takes 24 x 32 only"),
        (pixels(1, height=20), Sizes(8, 64, 8), "of 20 x 32 .* from 8 to 64 .* multiples of 8"),
        (pixels(1, width=72), Sizes(8, 64, 8), "of 24 x 72"),
        (pixels(1, height=0), Sizes(8, 64, 8), "of 0 x 32"),
        (pixels(), None, r"is uint8 \[0, 24, 32, 3\]; it must be uint8 \[B, H, W, 3\]"),
        (pixels(1)[0], None, r"is uint8 \[24, 32, 3\]"),
        (pixels(1)[..., :1], None, r"is uint8 \[1, 24, 32, 1\]"),
        (pixels(1).astype(np.float32), None, "is float32"),
    ],
)
def test_other_shapes_are_refused(
    manifest: Manifest, tensor: NDArray[np.uint8], sizes: Sizes | None, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        check_pixels(tensor, replace(manifest.input, sizes=sizes))


def test_a_refused_shape_never_reaches_the_engine(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        with pytest.raises(InvalidRequest):
            await gateway.infer(model, pixels(1, height=32), ["mean"], FAR)

    assert run(manifest, story).batches == []


def test_pictures_are_counted_and_not_requests(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        with pytest.raises(TooManyImages, match="has 5 pictures; at most 4"):
            await gateway.infer(model, pixels(1, 2, 3, 4, 5), ["mean"], FAR)
        engine.go.clear()
        held = [
            asyncio.create_task(gateway.infer(model, pixels(1, 2, 3), ["mean"], FAR))
            for _ in range(2)
        ]
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded, match="6 pictures are waiting and at most 8"):
            await gateway.infer(model, pixels(1, 2, 3), ["mean"], FAR)
        more = asyncio.create_task(gateway.infer(model, pixels(1, 2), ["mean"], FAR))
        engine.go.set()
        await asyncio.gather(*held, more)
        await gateway.infer(model, pixels(1, 2, 3, 4), ["mean"], FAR)

    run(manifest, story)


def test_one_failure_fails_its_request_only_and_frees_the_rest(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        engine.go.clear()
        first = asyncio.create_task(gateway.infer(model, pixels(0), ["mean"], FAR))
        await asyncio.sleep(0.02)
        tensors = (pixels(1, POISON), pixels(3))
        bad, good = (asyncio.create_task(gateway.infer(model, t, ["mean"], FAR)) for t in tensors)
        await asyncio.sleep(0.02)
        engine.go.set()
        with pytest.raises(EngineUnavailable, match="the engine failed on this picture"):
            await bad
        assert float((await good)[0].outputs["mean"]) == 3
        await first
        with model.batcher.reserve(8):
            pass

    run(manifest, story)


def test_what_is_no_number_is_an_error(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        with pytest.raises(EngineUnavailable, match="no numbers"):
            await gateway.infer(model, pixels(1, NAN), ["mean"], FAR)

    run(manifest, story)


def test_a_cancelled_request_leaves_the_queue(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        engine.go.clear()
        first = asyncio.create_task(gateway.infer(model, pixels(0), ["mean"], FAR))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(gateway.infer(model, pixels(1, 2), ["mean"], FAR))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0)
        engine.go.set()
        await first
        with model.batcher.reserve(8):
            pass

    assert [shape[0] for shape in run(manifest, story).batches] == [1]


def test_an_expired_request_costs_nothing(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        with pytest.raises(DeadlineExceeded):
            await gateway.infer(model, pixels(1, 2), ["mean"], 0.0)

    assert run(manifest, story).batches == []


def test_the_rest_of_a_request_that_failed_costs_no_more(manifest: Manifest) -> None:
    async def story(gateway: Gateway, model: Model, engine: Echo) -> None:
        with pytest.raises(EngineUnavailable):
            await gateway.infer(model, pixels(POISON, 1, 2, 3), ["mean"], FAR)

    # Together, then POISON alone, and what had begun before the request heard of it.
    assert len(run(manifest, story).batches) <= 3
