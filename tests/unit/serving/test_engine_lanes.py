"""Two passes side by side on a CPU: which session runs, and that both say the same."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attnvgg_serving import engines
from attnvgg_serving.batcher import Batcher
from attnvgg_serving.engines.lanes import Lanes
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine
from attnvgg_serving.registry import scan
from attnvgg_serving.settings import Settings

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


class Named:
    """Answers with its name, once as many passes run as `together` waits for."""

    provider, precision, sha256 = "cpu", "fp32", "0"
    lanes = 1

    def __init__(self, name: float, together: threading.Barrier | None = None) -> None:
        self.name = name
        self.together = together
        self.closed = False

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        if self.together:
            self.together.wait(10)
        if (pixels == 255).all():
            raise RuntimeError("white")
        return {name: np.full(len(pixels), self.name, np.float32) for name in outputs}

    def close(self) -> None:
        self.closed = True


def named(engine: Lanes) -> float:
    return float(engine.run(PIXELS, ["name"])["name"][0])


def test_a_pass_that_is_alone_has_all_threads() -> None:
    engine = Lanes(Named(1), Named(2))
    assert [named(engine), named(engine)] == [1, 1]


def test_of_two_passes_the_second_is_narrow() -> None:
    together = threading.Barrier(2)
    engine = Lanes(Named(1, together), Named(2, together))
    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(lambda _: named(engine), range(2))) == [1, 2]


def test_a_pass_that_failed_is_over() -> None:
    engine = Lanes(Named(1), Named(2))
    with pytest.raises(RuntimeError):
        engine.run(np.full_like(PIXELS, 255), ["name"])
    assert named(engine) == 1


def test_both_are_closed() -> None:
    wide, narrow = Named(1), Named(2)
    Lanes(wide, narrow).close()
    assert (wide.closed, narrow.closed) == (True, True)


def test_the_batcher_keeps_both_lanes_busy() -> None:
    together = threading.Barrier(2)
    engine = Lanes(Named(1, together), Named(2, together))

    async def two() -> list[float]:
        batcher = Batcher(engine, max_batch=1, max_queue=8)
        batcher.start()
        ran = await asyncio.gather(*(batcher.submit(p, ["name"], np.inf) for p in PIXELS[:2]))
        await batcher.close()
        return sorted(float(each.outputs["name"]) for each in ran)

    assert asyncio.run(two()) == [1, 2]


@pytest.mark.parametrize(("threads", "kind"), [(1, OnnxRuntimeEngine), (2, Lanes), (5, Lanes)])
def test_one_thread_makes_one_lane(tiny_models: Path, threads: int, kind: type) -> None:
    engine = engines.create(scan(tiny_models)[0], Settings(engine_threads=threads, max_batch=4))
    assert type(engine) is kind
    engine.close()


def test_both_lanes_say_the_same(tiny_models: Path) -> None:
    bundle = scan(tiny_models)[0]
    engine = engines.create(bundle, Settings(engine_threads=2, max_batch=4))
    assert isinstance(engine, Lanes)
    names = [output.name for output in bundle.manifest.outputs]
    with engine._lane() as wide, engine._lane() as narrow:
        assert wide is not narrow
        expected, found = wide.run(PIXELS, names), narrow.run(PIXELS, names)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    engine.close()
