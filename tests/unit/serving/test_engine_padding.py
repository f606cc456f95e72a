"""Batches of fixed sizes: what is added never shows."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine
from attnvgg_serving.engines.padding import Padded, padded, sizes
from attnvgg_serving.registry import scan


class Mirror:
    """Says of each picture what its first value was, and keeps the batches that it was given."""

    provider, precision, sha256 = "cuda", "fp16", "0"
    lanes = 1

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.closed = False

    def run(self, pixels: Any, outputs: Sequence[str]) -> dict[str, Any]:
        self.batches.append(pixels)
        return {name: pixels[:, 0, 0, 0].astype(np.float32) for name in outputs}

    def close(self) -> None:
        self.closed = True


@given(st.integers(1, 1024))
def test_the_sizes_grow_by_no_more_than_two_and_end_at_the_largest(largest: int) -> None:
    found = sizes(largest)
    assert (found[0], found[-1]) == (1, largest)
    assert all(a < b <= 2 * a for a, b in pairwise(found))


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_batch_gets_the_smallest_size_that_holds_it(size: int, largest: int) -> None:
    found = padded(size, sizes(largest))
    assert found in sizes(largest)
    assert found >= min(size, largest)
    assert found < 2 * size


@given(st.integers(1, 40), st.integers(1, 16))
def test_every_picture_gets_its_own_answer_and_nothing_more(count: int, largest: int) -> None:
    engine = Mirror()
    pixels = np.full((count, 2, 3, 3), 7, dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(1, count + 1)
    found = Padded(engine, sizes(largest)).run(pixels, ["a", "b"])
    for name in ("a", "b"):
        np.testing.assert_array_equal(found[name], np.arange(1, count + 1))
    assert {len(batch) for batch in engine.batches} <= set(sizes(largest))
    assert all(batch.shape[1:] == (2, 3, 3) for batch in engine.batches)
    added = sum(len(batch) for batch in engine.batches) - count
    assert (
        sum(not batch[row].any() for batch in engine.batches for row in range(len(batch))) == added
    )


def test_it_is_the_engine_that_it_pads() -> None:
    engine = Mirror()
    outer = Padded(engine, (1, 2))
    assert (outer.provider, outer.precision, outer.sha256) == ("cuda", "fp16", "0")
    outer.close()
    assert engine.closed


@pytest.mark.parametrize("count", [1, 3, 5, 8, 11])
def test_the_values_are_those_without_padding(tiny_models: Path, count: int) -> None:
    (bundle,) = scan(tiny_models)
    names = [output.name for output in bundle.manifest.outputs]
    engine = OnnxRuntimeEngine(bundle, "cpu", threads=1)
    pixels = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    found = Padded(engine, (4, 8)).run(pixels, names)
    expected = engine.run(pixels, names)
    for name in names:
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
