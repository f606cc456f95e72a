"""Batches: shuffled by (seed, epoch), shared by ranks, begun anywhere, the same from any source.

Workers run in tests/integration/test_loader_workers.py; here files are read in this process.
"""

import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnvgg_training import data
from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data.draws import epoch_order
from attnvgg_training.data.loader import Batch, Loader
from attnvgg_training.data.split import MemorySplit, Split
from attnvgg_training.errors import ConfigError, DataError

SHAPES = Path(__file__).parents[2] / "data" / "shapes"
CPU = torch.device("cpu")
PLAIN = DataConfig(image_size=8, flip=False, shift=0)


def config(size: int, data: DataConfig = PLAIN, seed: int = 0) -> Config:
    return Config(data=replace(data, image_size=32), train=TrainConfig(batch_size=size, seed=seed))


def numbered(count: int) -> MemorySplit:
    """Pictures of one colour each, which is their number."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 8, 8, 3)
    return MemorySplit(images.contiguous(), torch.arange(count) % 5)


class Recording:
    """A split that is not in memory, and remembers what was read."""

    def __init__(self, split: MemorySplit) -> None:
        self.split, self.read = split, list[int]()
        self.targets = split.targets

    def __len__(self) -> int:
        return len(self.split)

    def pixels(self, indices: Tensor) -> Tensor:
        self.read += indices.tolist()
        return self.split.pixels(indices)


def taken(split: Split, epoch: int, *, size: int = 6, seed: int = 0) -> list[list[int]]:
    """The numbers of the pictures in an epoch's batches."""
    loader = Loader(split, config(size, seed=seed), CPU)
    return [batch.images[:, 0, 0, 0].tolist() for batch in loader.epoch(epoch)]


def equal(ones: list[Batch], others: list[Batch]) -> bool:
    return len(ones) == len(others) and all(
        torch.equal(x, y)
        for pair in zip(ones, others, strict=True)
        for x, y in zip(*pair, strict=True)
    )


def test_an_epoch_holds_every_picture_once_but_for_an_incomplete_batch() -> None:
    batches = taken(numbered(40), 1, size=6)
    assert [len(batch) for batch in batches] == [6] * 6
    numbers = list(chain(*batches))
    assert len(set(numbers)) == 36
    assert numbers == epoch_order(40, 0, 1)[:36].tolist()


def test_the_order_is_another_in_every_epoch_and_with_every_seed() -> None:
    split = numbered(42)
    orders = {str(taken(split, epoch, seed=seed)) for epoch, seed in ((0, 1), (0, 2), (1, 1))}
    assert len(orders) == 3
    assert taken(split, 1) == taken(split, 1)


def test_targets_are_those_of_the_pictures() -> None:
    for batch in Loader(numbered(40), config(8), CPU).epoch(3):
        assert batch.images.shape == (8, 8, 8, 3)
        assert batch.images.dtype == torch.uint8
        assert torch.equal(batch.targets, batch.images[:, 0, 0, 0].long() % 5)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_ranks_together_see_what_one_process_would(world: int, each: int, start: int) -> None:
    split, settings = numbered(50), config(world * max(2, each), DataConfig(cutout=3, zoom=2.0))
    alone = list(Loader(split, settings, CPU).epoch(2, start))
    ranks = [list(Loader(split, settings, CPU, r, world).epoch(2, start)) for r in range(world)]
    for step, batch in enumerate(alone):
        for rank in range(world):
            assert equal([ranks[rank][step]], [Batch(*(x[rank::world] for x in batch))])
    assert all(len(rank) == len(alone) for rank in ranks)


def test_an_epoch_begins_at_any_step_without_reading_what_came_before() -> None:
    split, settings = Recording(numbered(50)), config(8, DataConfig(zoom=2.0))
    loader = Loader(split, settings, CPU, workers=0)
    whole = list(loader.epoch(4))
    split.read.clear()
    assert equal(list(loader.epoch(4, start=4)), whole[4:])
    assert split.read == epoch_order(50, 0, 4)[32:48].tolist()
    assert list(loader.epoch(4, start=loader.steps)) == []


def test_files_give_what_memory_gives() -> None:
    settings = config(16, DataConfig(zoom=1.5, cutout=8))
    sources = [
        data.load(SHAPES, replace(settings.data, memory=memory)).train
        for memory in ("device", "workers")
    ]
    assert isinstance(sources[0], MemorySplit)
    assert not isinstance(sources[1], MemorySplit)
    memory, files = (list(Loader(each, settings, CPU, workers=0).epoch(1)) for each in sources)
    assert equal(memory, files)


def test_a_picture_damaged_during_the_run_is_named(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SHAPES, tmp_path / "shapes"))
    settings = config(8, DataConfig(memory="workers"))
    loader = Loader(data.load(root, settings.data).train, settings, CPU, workers=0)
    (root / "train" / "square" / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"square.05\.png: "):
        list(loader.epoch(1))


def test_cutout_fills_with_the_mean_colour() -> None:
    images = torch.zeros(2000, 8, 8, 3, dtype=torch.uint8)
    images[:1000, :, :, 0], images[:, :, :, 1] = 200, 30
    split = MemorySplit(images, torch.zeros(2000, dtype=torch.int64))
    batch = next(Loader(split, config(50, replace(PLAIN, cutout=4)), CPU).epoch(1))
    colours = batch.images.view(-1, 3).unique(dim=0).tolist()
    assert colours == [[0, 30, 0], [100, 30, 0], [200, 30, 0]]


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(Loader(Recording(numbered(20)), config(4, DataConfig()), CPU, workers=0).epoch(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--batch-size is 16, shared by 3 processes; .* of 3"):
        Loader(numbered(50), config(16), CPU, rank=0, world=3)
    with pytest.raises(DataError, match="--batch-size is 64, but there are only 50"):
        Loader(numbered(50), config(64), CPU)
