"""A network and pictures so small that a training step takes milliseconds."""

import torch

from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data import Dataset, MemorySplit
from attnvgg_training.loop import Trainer
from attnvgg_training.models import ModelConfig

CPU = torch.device("cpu")
MODEL = ModelConfig(
    name="VGG-att2-concat-pc",
    widths=(4, 4, 6, 8, 8),
    pools=(2, 7),
    dropout=0.0,
    head_dropout=0.0,
    global_feature=False,
)


def config(model: ModelConfig = MODEL, **train: object) -> Config:
    """A recipe for pictures of 8x8: two epochs of batches of 4, unless told otherwise."""
    settings: dict[str, object] = {"epochs": 2, "batch_size": 4, "lr": 0.05, **train}
    return Config(model, DataConfig(image_size=8, shift=1), TrainConfig(**settings))  # type: ignore[arg-type]


def pictures(train: int = 24, test: int = 10) -> Dataset:
    """Noise in three classes, a little brighter in each."""
    generator = torch.Generator().manual_seed(1)

    def split(count: int) -> MemorySplit:
        targets = torch.arange(count) % 3
        noise = torch.randint(0, 180, (count, 8, 8, 3), generator=generator)
        return MemorySplit((noise + 30 * targets[:, None, None, None]).to(torch.uint8), targets)

    return Dataset(split(train), split(test), ("a", "b", "c"), "noise")


def trainer(model: ModelConfig = MODEL, **train: object) -> Trainer:
    """A trainer of both."""
    return Trainer(config(model, **train), pictures(), CPU)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
