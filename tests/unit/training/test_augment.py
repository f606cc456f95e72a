"""Flip, shift and cutout do what they say, and draws depend on seed, epoch and index alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnvgg_training.config import DataConfig
from attnvgg_training.data import draws
from attnvgg_training.data.augment import augment, cut_out, move

OFF = DataConfig(image_size=16, flip=False, shift=0)
FLIP = replace(OFF, flip=True)
SHIFT = replace(OFF, shift=4)
ZOOM = replace(OFF, zoom=2.0)
CUTOUT = replace(OFF, cutout=6)
ALL = replace(OFF, flip=True, shift=4, zoom=2.0, cutout=6)
FILL = torch.tensor([1, 2, 3], dtype=torch.uint8)


def pictures(count: int, size: int = 16) -> Tensor:
    return torch.randint(
        10, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(count)
    ).to(torch.uint8)


def coordinates(count: int, size: int = 16) -> Tensor:
    """Pictures whose pixels say where they are: channel 0 the row, channel 1 the column."""
    rows = torch.arange(size)[:, None].expand(size, size)
    return torch.stack([rows, rows.T, rows * 0], -1).to(torch.uint8).expand(count, -1, -1, -1)


def run(images: Tensor, config: DataConfig, epoch: int = 1, seed: int = 0) -> Tensor:
    return augment(images, torch.arange(len(images)), epoch, config, seed, FILL)


def by_lookup(images: Tensor, flips: Tensor, shifts: Tensor) -> Tensor:
    """Flip and shift by the formula: each pixel is looked up."""

    def reflected(index: Tensor, size: int) -> Tensor:
        index = index.abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)

    batch, height, width, _ = images.shape
    rows = reflected(torch.arange(height) + shifts[:, :1], height)
    columns = reflected(torch.arange(width) + shifts[:, 1:], width)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    return images[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


@given(st.integers(1, 6), st.integers(8, 20), st.data())
@settings(deadline=None, max_examples=50)
def test_flip_and_shift_are_those_of_the_formula(
    count: int, size: int, data: st.DataObject
) -> None:
    most = size // 2
    each = st.tuples(st.booleans(), st.integers(-most, most), st.integers(-most, most))
    drawn = data.draw(st.lists(each, min_size=count, max_size=count))
    flips = torch.tensor([flip for flip, _, _ in drawn])
    shifts = torch.tensor([shift for _, *shift in drawn])
    images = pictures(count, size)
    assert torch.equal(move(images, flips, shifts), by_lookup(images, flips, shifts))


def test_without_zoom_and_cutout_an_epoch_is_what_it_always_was() -> None:
    """The draws and the formula of the first release, whose checkpoint can be trained again."""
    count, seed, epoch = 3000, 5, 7
    images = pictures(8).repeat(count // 8, 1, 1, 1)
    first = torch.randint(0, 2, (count,), generator=draws.seeded(seed, -1))
    generator = draws.seeded(seed, epoch + (1 << 32))
    shifts = torch.randint(-4, 5, (count, 2), generator=generator)
    expected = by_lookup(images, (first + epoch) % 2 == 1, shifts)
    assert torch.equal(run(images, replace(FLIP, shift=4), epoch, seed), expected)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12, unique=True), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_a_picture_comes_out_the_same_in_any_batch(indices: list[int], seed: int) -> None:
    images, numbers = pictures(len(indices)), torch.tensor(indices)
    together = augment(images, numbers, 2, ALL, seed, FILL)
    alone = [
        augment(images[i : i + 1], numbers[i : i + 1], 2, ALL, seed, FILL)
        for i in range(len(indices))
    ]
    assert torch.equal(together, torch.cat(alone))


def test_a_batch_larger_than_the_cache_comes_out_the_same_too() -> None:
    config = replace(ALL, image_size=128)
    images = pictures(50, 128)
    parts = [
        augment(images[i : i + 1], torch.tensor([i]), 1, config, 0, FILL) for i in (0, 21, 22, 49)
    ]
    assert torch.equal(run(images, config)[[0, 21, 22, 49]], torch.cat(parts))


@pytest.mark.parametrize("config", [FLIP, SHIFT, ZOOM, CUTOUT])
def test_seeds_and_epochs_differ(config: DataConfig) -> None:
    images = pictures(40)
    outcomes = [run(images, config, *each) for each in ((1, 0), (2, 0), (1, 1))]
    for i, one in enumerate(outcomes):
        for other in outcomes[:i]:
            assert not torch.equal(one, other)
    assert torch.equal(run(images, config), outcomes[0])


@pytest.mark.parametrize("config", [OFF, FLIP, SHIFT, ZOOM, CUTOUT, ALL])
def test_the_given_pictures_stay_as_they_are(config: DataConfig) -> None:
    images = pictures(12)
    before = images.clone()
    after = run(images, config)
    assert torch.equal(images, before)
    assert after.dtype == torch.uint8
    assert after.is_contiguous()
    assert torch.equal(after, images) == (config is OFF)


def test_every_picture_is_mirrored_in_every_other_epoch() -> None:
    images = pictures(60)
    mirrored = []
    for epoch in (1, 2, 3):
        after = run(images, FLIP, epoch)
        same = (after == images).flatten(1).all(1)
        flipped = (after == images.flip(2)).flatten(1).all(1)
        assert (same ^ flipped).all()
        mirrored.append(flipped)
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])
    assert 15 < mirrored[0].sum() < 45


def test_a_shift_moves_the_picture_and_reflects_its_border() -> None:
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1).expand(1, 4, 4, 3)
    moved = move(image, torch.tensor([False]), torch.tensor([[1, -2]]))
    expected = np.pad(image[0, :, :, 0].numpy(), 2, mode="reflect")[3:7, 0:4]
    assert np.array_equal(moved[0, :, :, 0].numpy(), expected)


def test_shifts_reach_their_limit_each_way_and_never_go_beyond() -> None:
    after = run(coordinates(2000), SHIFT).int()
    # Row and column 8 are 8 from either border, so that nothing of a shift of 4 is reflected.
    moves = after[:, 8, 8, :2] - 8
    assert moves.unique(dim=0).tolist() == [[r, c] for r in range(-4, 5) for c in range(-4, 5)]
    assert torch.equal(
        after[:, 4:12, 4:12, 0] - moves[:, :1, None], coordinates(2000)[:, 4:12, 4:12, 0]
    )


def test_the_square_of_cutout_is_cut_off_at_the_border() -> None:
    images = run(pictures(2000), CUTOUT)
    painted = (images == FILL).all(-1)
    height, width = painted.any(2).sum(1), painted.any(1).sum(1)
    assert torch.equal(painted.sum((1, 2)), height * width)  # it is a rectangle
    assert height.unique().tolist() == width.unique().tolist() == [3, 4, 5, 6]
    assert painted.any(0).all()
    assert (height == 6).float().mean() > 0.6


def test_cutout_paints_the_square_around_its_centre() -> None:
    images = cut_out(pictures(2), torch.tensor([[8, 5], [15, 0]]), 4, FILL)
    painted = (images == FILL).all(-1).nonzero().tolist()
    inside = [[0, r, c] for r in range(6, 10) for c in range(3, 7)]
    corner = [[1, r, c] for r in (13, 14, 15) for c in (0, 1)]
    assert painted == inside + corner


def test_turning_one_on_leaves_the_draws_of_the_others() -> None:
    images, indices = pictures(100), torch.arange(100)
    moved = run(images, replace(FLIP, shift=4))
    factors, _ = draws.zooms(indices, 0, 1, 2.0)
    zoomed = run(images, replace(ALL, cutout=0))
    assert torch.equal(zoomed[factors == 1], moved[factors == 1])
    both = run(images, ALL)
    painted = (both == FILL).all(-1)
    assert torch.equal(painted, (run(images, CUTOUT) == FILL).all(-1))
    assert torch.equal(both[~painted], zoomed[~painted])


def test_kinds_of_draws_have_nothing_to_do_with_each_other() -> None:
    indices = torch.arange(5000)
    factors, moves = draws.zooms(indices, 0, 1, 2.0)
    shifts, centres = draws.shifts(indices, 0, 1, 4), draws.centres(indices, 0, 1, 9)
    columns = [factors[:, None], moves, shifts, centres, draws.flips(indices, 0, 1)[:, None]]
    related = torch.corrcoef(torch.cat([column.float() for column in columns], 1).T)
    assert (related - torch.eye(len(related))).abs().max() < 0.06
