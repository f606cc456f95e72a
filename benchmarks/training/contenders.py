"""What is raced: our engine, the engine with one thing changed at a time, and the plain loop."""

import os
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from plain import PlainLoop
from settings import (
    COMPILED,
    FILES,
    NO_BF16,
    NO_CHANNELS_LAST,
    PLAIN,
    PLAIN_ALONE,
    RECIPE,
    Case,
)

from attnvgg_training import data, models, recipes
from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data import Dataset, MemorySplit
from attnvgg_training.data.workers import AHEAD
from attnvgg_training.distributed import World
from attnvgg_training.loop import Trainer
from attnvgg_training.models import ModelConfig

# Every round may compile the forward pass anew; at the default of 8 the rest would be run
# uncompiled, with a warning only.
torch._dynamo.config.recompile_limit = 64
torch._dynamo.config.fail_on_recompile_limit_hit = True

CLASSES, SIZE = 10, 32
TINY = ModelConfig(widths=(4, 6, 8, 8, 8), pools=(2, 4, 7, 10, 13))


class Contender(Protocol):
    """slot: called with a number of steps it gives pictures a second over them."""

    def slot(self, steps: int) -> float: ...

    def close(self) -> None: ...


class Pictures(NamedTuple):
    """images: uint8 [N, 32, 32, 3], noise: it takes as long as anything else. targets: [N]."""

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]


def pictures(count: int) -> Pictures:
    """The same ones every time."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Pictures(images, draw.permutation(np.arange(count) % CLASSES))


def model_config(network: str) -> ModelConfig:
    """That of cifar10-wide.toml, the paper's, or one for trying the benchmark out."""
    if network == "wide":
        return recipes.read(RECIPE).model
    return ModelConfig() if network == "full" else TINY


def build(name: str, case: Case, device: str, folder: Path) -> Contender:
    """A contender that is ready.

    folder: where pictures can be written.
    """
    longest = _ahead() + 1 + case.steps
    found = pictures(case.batch * (longest + 1))  # an epoch's last step ends it
    config = model_config(case.network)
    if name in (PLAIN, PLAIN_ALONE):
        torch.manual_seed(0)
        model = models.build(config, CLASSES)
        workers = _cores() if name == PLAIN else 0
        targets = found.targets.tolist()
        return PlainLoop(model, found.images, targets, case.batch, workers, device)
    return EngineRun(_settings(name, config, case), found, name, device, folder)


class EngineRun:
    """The Trainer itself; every slot is the beginning of an epoch, stopped after its steps."""

    def __init__(
        self, config: Config, found: Pictures, name: str, device: str, folder: Path
    ) -> None:
        dataset = _in_memory(found)
        self.warmup = 2
        if name == FILES:
            dataset = _in_files(found, folder, config)
            self.warmup = _ahead() + 1  # what was read before the slot's first step ended
        self.trainer = Trainer(config, dataset, torch.device(device), World())
        self.batch, self.epoch = config.train.batch_size, 0

    def slot(self, steps: int) -> float:
        """Pictures a second over `steps` steps, after those of the warm-up."""
        self.epoch += 1
        marks: list[float] = []

        def stop() -> bool:
            if len(marks) + 1 in (self.warmup, self.warmup + steps):
                self._wait()
            marks.append(time.perf_counter())
            return len(marks) == self.warmup + steps

        self.trainer.train_epoch(self.epoch, 0, stop)
        return steps * self.batch / (marks[-1] - marks[self.warmup - 1])

    def close(self) -> None:
        """Ends its workers."""
        self.trainer.close()

    def _wait(self) -> None:
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()


def _settings(name: str, model: ModelConfig, case: Case) -> Config:
    """As recipes for this device have it, but for what `name` says."""
    train = TrainConfig(
        epochs=1000,
        batch_size=case.batch,
        lr=0.01,
        amp="off" if name == NO_BF16 else "bf16",
        channels_last=name != NO_CHANNELS_LAST,
        compile=name == COMPILED,
    )
    memory = DataConfig(image_size=SIZE, memory="workers" if name == FILES else "device")
    return Config(model, memory, train)


def _in_memory(found: Pictures) -> Dataset:
    split = MemorySplit(torch.from_numpy(found.images), torch.from_numpy(found.targets))
    labels = tuple(f"class {k}" for k in range(CLASSES))
    return Dataset(split, split, labels, "noise")


def _in_files(found: Pictures, folder: Path, config: Config) -> Dataset:
    """The same pictures as class folders of PNGs, as `attnvgg-train` takes them."""
    # The first picture of each class.
    tested = {int(number) for number in np.unique(found.targets, return_index=True)[1]}
    for number, (image, target) in enumerate(zip(*found, strict=True)):
        for split in ("train", "test") if number in tested else ("train",):
            place = folder / split / f"class {target}"
            place.mkdir(parents=True, exist_ok=True)
            # A picture in both splits would be warned about.
            shown = 255 - image if split == "test" else image
            Image.fromarray(shown).save(place / f"{number:05d}.png")
    return data.load(str(folder), config.data)


def _cores() -> int:
    """Workers of the plain loop: one a core, eight at most, as our engine has them."""
    return min(8, len(os.sched_getaffinity(0)))


def _ahead() -> int:
    """Batches that our engine's workers read in advance."""
    return AHEAD * _cores()
