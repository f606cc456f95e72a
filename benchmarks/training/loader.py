"""Pictures a second of the loader alone: each augmentation, all of them, and whole epochs.

    python benchmarks/training/loader.py
    python benchmarks/training/loader.py --pictures DIR   # JPEG files, through 0, 1, 2, ... workers

One thread. Of the augmentations the best of many repeats in the thread's own processor time is
given, since that does not count what else the machine does; of the workers the time on the clock.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from attnvgg_training import data
from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data.augment import augment
from attnvgg_training.data.loader import Loader

BATCH = 128
REPEATS = 30
CPU = torch.device("cpu")


def settings(size: int) -> dict[str, DataConfig]:
    """Each augmentation alone, then together; lengths grow with the pictures."""
    off = DataConfig(image_size=size, flip=False, shift=0)
    each = {"flip": True, "shift": size // 8, "zoom": 2.0, "cutout": size // 4}
    alone = {name: replace(off, **{name: value}) for name, value in each.items()}
    usual = {"flip and shift": replace(off, flip=True, shift=size // 8)}
    return {"none (a copy)": off} | alone | usual | {"all four": replace(off, **each)}


def looked_up(images: Tensor) -> Tensor:
    """The plain way to flip and shift a batch: an index for every pixel."""
    count, size = len(images), images.shape[1]
    index = (torch.arange(size) + torch.randint(-4, 5, (2, count, 1))).abs()
    rows, columns = index.where(index < size, 2 * (size - 1) - index)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    return images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def pictures_a_second(run: Callable[[], object]) -> float:
    """BATCH pictures a run, one thread."""
    run()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return BATCH / best


def augmentations(size: int) -> dict[str, float]:
    images = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8)
    indices, fill = torch.randperm(50_000)[:BATCH], torch.zeros(3, dtype=torch.uint8)
    rates = {"flip and shift, looked up": pictures_a_second(lambda: looked_up(images))}
    for name, config in settings(size).items():
        rates[name] = pictures_a_second(lambda c=config: augment(images, indices, 1, c, 0, fill))
    split = data.MemorySplit(images.repeat(8, 1, 1, 1), torch.zeros(8 * BATCH, dtype=torch.int64))
    config = Config(data=settings(size)["all four"], train=TrainConfig(batch_size=BATCH))
    epoch = iter(b for e in range(1, 1000) for b in Loader(split, config, CPU).epoch(e))
    rates["loader, in memory, all four"] = pictures_a_second(lambda: next(epoch))
    return rates


def workers(folder: Path, size: int, count: int) -> float:
    """Over an epoch, without the workers' start."""
    config = Config(
        data=replace(settings(size)["all four"], memory="workers", skip_unreadable=True),
        train=TrainConfig(batch_size=16),
    )
    with Loader(data.load(folder, config.data).train, config, CPU, workers=count) as loader:
        for _ in loader.epoch(1):
            pass
        start = time.monotonic()
        for _ in loader.epoch(2):
            pass
        return loader.steps * 16 / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="class folders")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.pictures:
        for size in arguments.sizes:
            for count in arguments.workers:
                rate = workers(arguments.pictures, size, count)
                print(f"{size} x {size}, {count} workers: {rate:.0f} pictures/s")
        return
    table = [augmentations(size) for size in arguments.sizes]
    print("| | " + " | ".join(f"{size} x {size}" for size in arguments.sizes) + " |")
    print("|---|" + "---|" * len(table))
    for name in table[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:,.0f}" for column in table) + " |")


if __name__ == "__main__":
    main()
