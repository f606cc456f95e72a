"""Zoom resamples as Pillow does, without aliases, and puts the object where its draws say."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from attnvgg_training.data import draws
from attnvgg_training.data.zoom import _weights, reflect, zoom


def smooth(size: int) -> np.ndarray:
    """A picture with contrast at every scale but the finest."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (size // 2, size // 2, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def one(picture: np.ndarray | Tensor, factor: float, move: tuple[float, float]) -> np.ndarray:
    batch = torch.as_tensor(np.array(picture))[None]
    return zoom(batch, torch.tensor([factor]), torch.tensor([move]))[0].numpy()


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("factor", [0.5, 0.25])
@pytest.mark.parametrize("corner", [-1, 1])
def test_a_shrunk_picture_is_pillows(factor: float, corner: int) -> None:
    picture, side = smooth(64), int(64 * factor)
    small = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))
    placed = one(picture, factor, (corner, corner))
    part = slice(0, side) if corner < 0 else slice(64 - side, 64)
    # At its border Pillow has nothing to look at beyond, where the mirrored picture is here.
    assert difference(placed[part, part][2:-2, 2:-2], small[2:-2, 2:-2]) <= 1


@pytest.mark.parametrize(("move", "box"), [((0, 0), (16, 16, 48, 48)), ((1, -1), (32, 0, 64, 32))])
def test_an_enlarged_picture_is_pillows(
    move: tuple[float, float], box: tuple[int, int, int, int]
) -> None:
    """Moved down by all its room, the upper half is in the frame."""
    picture = smooth(64)
    large = Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR, box)
    assert difference(one(picture, 2, move)[3:-3, 3:-3], np.asarray(large)[3:-3, 3:-3]) <= 2


def test_a_factor_of_one_changes_nothing() -> None:
    assert np.array_equal(one(smooth(32), 1, (0.7, -0.7)), smooth(32))


def test_beyond_the_border_is_the_mirror_image() -> None:
    """Half as large and moved by 1/4 pixel, the picture's first row is the frame's row 16, and its
    last one lies between rows 47 and 48."""
    placed = one(smooth(64), 0.5, (1 / 64, 0))
    assert np.array_equal(placed[:16], placed[17:33][::-1])
    assert np.array_equal(placed[48:], placed[32:48][::-1])
    assert difference(placed[:16], placed[17:33]) > 100


def test_nothing_aliases() -> None:
    """A chessboard of single pixels becomes grey, where plain bilinear sampling makes patterns."""
    board = ((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, -1)
    for factor in (0.5, 0.4, 0.26):
        assert difference(one(board, factor, (0.3, -0.2)), np.full((64, 64, 3), 128)) <= 3


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_one_colour_stays_that_colour(level: int) -> None:
    factors = torch.linspace(0.25, 4, 40)
    images = torch.full((40, 20, 20, 3), level, dtype=torch.uint8)
    assert torch.equal(zoom(images, factors, torch.linspace(-1, 1, 80).view(40, 2)), images)


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.0, 1.4])
def test_the_object_is_where_factor_and_move_put_it(factor: float) -> None:
    picture = np.zeros((48, 48, 3), dtype=np.uint8)
    picture[20:28, 20:28] = 255
    for move in ((0.0, 0.0), (1.0, -0.5), (-0.3, 0.8)):
        placed = one(picture, factor, move)[..., 0] / 255.0
        middle = [23.5 + m * abs(1 - factor) * 24 for m in move]
        reach = 16 * factor  # nearer than its mirror images, farther than its own border
        rows, columns = np.indices((48, 48))
        near = (abs(rows - middle[0]) < reach) & (abs(columns - middle[1]) < reach)
        mass = placed * near
        assert mass.sum() == pytest.approx(64 * factor**2, rel=0.02)
        assert (mass * rows).sum() / mass.sum() == pytest.approx(middle[0], abs=0.1)
        assert (mass * columns).sum() / mass.sum() == pytest.approx(middle[1], abs=0.1)


def test_half_of_the_factors_are_one_and_the_rest_are_log_uniform() -> None:
    factors, moves = draws.zooms(torch.arange(20_000), 0, 1, 2.0)
    powers = factors[factors != 1].log2()
    assert 0.48 < len(powers) / 20_000 < 0.52
    assert powers.abs().max() <= 1
    quarters = powers.quantile(torch.tensor([0.25, 0.5, 0.75]))
    assert torch.allclose(quarters, torch.tensor([-0.5, 0.0, 0.5]), atol=0.03)
    assert moves.abs().max() <= 1
    assert torch.allclose(moves.std(0), torch.tensor(3**-0.5), atol=0.01)
    assert torch.corrcoef(torch.stack([factors, *moves.T])).triu(1).abs().max() < 0.03


def test_sums_are_exact_so_that_no_batch_and_no_device_rounds_otherwise() -> None:
    images = torch.as_tensor(np.array(smooth(32)))[None].repeat(20, 1, 1, 1)
    factors, moves = torch.linspace(0.3, 3, 20), torch.linspace(-1, 1, 40).view(20, 2)
    down, across = (_weights(factors, moves[:, axis], 32, 9).double() for axis in (0, 1))
    for weights in (down, across):
        assert torch.equal((1024 * weights).round(), 1024 * weights)
        assert torch.equal(weights.sum(-1), torch.ones(20, 32).double())
    rows = torch.einsum("bij,bjxc->bixc", down, images.double()).round()
    both = torch.einsum("bij,byjc->byic", across, rows).round()
    assert torch.equal(zoom(images, factors, moves).double(), both)


def test_pictures_are_reflected_however_far() -> None:
    index = torch.arange(-10, 14)
    expected = np.pad(np.arange(4), (10, 10), mode="reflect")
    assert reflect(index, 4).tolist() == expected.tolist()
