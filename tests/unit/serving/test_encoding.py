"""Maps and labels on the wire."""

import numpy as np
import pytest

from attnvgg_serving.encoding import Map, encode, top


def a_map(h: int = 8, w: int = 6, sharp: float = 3.0) -> Map:
    scores = sharp * np.random.default_rng(1).normal(size=(h, w))
    weights = np.exp(scores)
    return (weights / weights.sum()).astype(np.float32)


def test_f32_is_exact() -> None:
    tensor = encode(a_map(), "f32")
    assert (tensor.shape, tensor.datatype, tensor.scale) == ((8, 6), "FP32", None)
    np.testing.assert_array_equal(np.frombuffer(tensor.data, "<f4").reshape(8, 6), a_map())


@pytest.mark.parametrize(("h", "w", "sharp"), [(4, 4, 0.0), (16, 16, 1.0), (56, 56, 8.0)])
def test_f16_keeps_the_sum_within_a_thousandth(h: int, w: int, sharp: float) -> None:
    tensor = encode(a_map(h, w, sharp), "f16")
    assert (tensor.datatype, len(tensor.data)) == ("FP16", 2 * h * w)
    values = np.frombuffer(tensor.data, "<f2").astype(np.float64)
    assert abs(values.sum() - 1) < 1e-3


def test_u8_comes_with_its_scale() -> None:
    original = a_map()
    tensor = encode(original, "u8")
    assert tensor.datatype == "UINT8"
    assert tensor.scale is not None
    values = np.frombuffer(tensor.data, np.uint8).reshape(8, 6) * tensor.scale
    assert np.abs(values - original).max() <= tensor.scale / 2 * 1.001
    assert values.max() == pytest.approx(original.max())


def test_u8_of_nothing_but_zeros_is_zeros() -> None:
    tensor = encode(np.zeros((2, 2), np.float32), "u8")
    assert tensor.data == bytes(4)
    assert tensor.scale == 1.0


def test_big_endian_input_leaves_as_little_endian() -> None:
    swapped = a_map().astype(">f4")
    assert encode(swapped, "f32").data == encode(a_map(), "f32").data


def test_top_is_sorted_and_no_longer_than_the_labels() -> None:
    probabilities = np.array([0.25, 0.5, 0.25], np.float32)
    assert top(probabilities, 10) == [(1, 0.5), (0, 0.25), (2, 0.25)]
    assert len(top(probabilities, 2)) == 2


def test_a_probability_that_rounds_to_more_than_one_is_one() -> None:
    assert top(np.array([np.nextafter(np.float32(1), np.float32(2))]), 1) == [(0, 1.0)]
