"""Every committed recipe builds its network, and the paper's say what was published."""

from pathlib import Path

import pytest
import torch

from attnvgg_training import models, recipes
from attnvgg_training.config import Config
from attnvgg_training.schedules import rate_at

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
PAPERS = {path.stem for path in CONFIGS.glob("*-paper.toml")}
GPU = ("cifar10-full", "cifar100-full")


def recipe(name: str) -> Config:
    return recipes.read(CONFIGS / f"{name}.toml")


def rate(config: Config, epoch: int) -> float:
    """The learning rate in the middle of an epoch, from 1, without what dampening takes."""
    steps = 100
    found = rate_at(config.train, steps, (epoch - 1) * steps + 50)
    return found * (1 - config.train.dampening)


def built(config: Config, classes: int) -> torch.nn.Module:
    with torch.device("meta"):
        return models.build(config.model, classes)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_says_what_it_is_and_builds_its_network(path: Path) -> None:
    assert path.read_text().startswith("# ")
    config = recipes.read(path)
    model = built(config, 10)
    size = config.data.image_size
    with torch.device("meta"):
        assert model.eval()(torch.zeros(2, 3, size, size)).shape == (2, 10)


def test_these_are_the_papers_recipes() -> None:
    names = {"cifar10", "cifar100", "svhn", "cub", "resnet164"}
    assert {f"{name}-paper" for name in names} == PAPERS


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_what_all_published_recipes_share(name: str) -> None:
    config = recipe(name)
    train, data = config.train, config.data
    assert (train.optimizer, train.momentum, train.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (train.schedule, train.warmup, train.decay_all) == ("step", 0, True)
    assert (train.label_smoothing, train.ema, train.mixup, train.cutmix) == (0, 0, 0, 0)
    assert (data.flip, data.cutout, data.zoom) == (True, 0, 1)
    assert config.model.initialisation == "official"
    assert (train.clip, train.accumulate, train.amp) == (0, 1, "off")


@pytest.mark.parametrize(("name", "top"), [("cifar10", 0.1), ("cifar100", 0.1), ("svhn", 0.01)])
def test_the_rate_of_the_vgg_halves_every_25_epochs(name: str, top: float) -> None:
    config = recipe(f"{name}-paper")
    train = config.train
    assert (train.epochs, train.batch_size, train.nesterov) == (300, 128, False)
    assert (train.lr, train.dampening) == (10 * top, 0.9)  # as published: the trap
    for epoch, halvings in ((1, 0), (25, 0), (26, 1), (51, 2), (150, 5), (276, 11), (300, 11)):
        assert rate(config, epoch) == pytest.approx(top * 0.5**halvings)
    assert config.data.shift == 0


def test_the_rate_for_birds_rises_twice_before_it_falls() -> None:
    config = recipe("cub-paper")
    assert (config.train.epochs, config.train.batch_size) == (320, 128)
    assert (config.train.lr, config.train.dampening, config.data.shift) == (0.1, 0.9, 0)
    rates = {1: 0.01, 31: 0.02, 61: 0.04, 91: 0.02, 121: 0.01, 320: 0.04 * 0.5**8}
    for epoch, expected in rates.items():
        assert rate(config, epoch) == pytest.approx(expected)


def test_the_resnet_has_the_recipe_of_wide_residual_networks() -> None:
    config = recipe("resnet164-paper")
    train = config.train
    assert (train.epochs, train.batch_size, train.nesterov, train.dampening) == (200, 64, True, 0)
    for epoch, expected in ((1, 0.1), (61, 0.02), (121, 0.004), (161, 0.0008), (200, 0.0008)):
        assert rate(config, epoch) == pytest.approx(expected)
    assert config.data.shift == 4
    model = built(config, 100)
    assert model.strides == {"stage2": 2, "stage3": 4}  # 16x16 and 8x8


@pytest.mark.parametrize(
    ("name", "classes", "millions", "strides"),
    [
        ("cifar10-paper", 10, 19.86, {"conv7": 1, "conv10": 2, "conv13": 4}),
        ("cifar100-paper", 100, 19.97, {"conv7": 1, "conv10": 2, "conv13": 4}),
        ("svhn-paper", 10, 19.72, {"conv10": 2, "conv13": 4}),
        ("cub-paper", 200, 19.91, {"conv10": 5, "conv13": 10}),
    ],
)
def test_the_networks_have_the_published_sizes(
    name: str, classes: int, millions: float, strides: dict[str, int]
) -> None:
    config = recipe(name)
    model = built(config, classes)
    assert models.parameters(model) / 1e6 == pytest.approx(millions, abs=0.012)
    assert model.strides == strides
    if name == "cub-paper":
        assert (config.data.image_size, config.data.crop_to_box) == (80, True)
        assert {80 // stride for stride in strides.values()} == {16, 8}


@pytest.mark.parametrize("name", GPU)
def test_the_recipes_for_gpus_fit_three_commands(name: str) -> None:
    """50,000 pictures an epoch at 10,000 a second, a test of 10,000 pictures at three times that,
    a minute for compiling and reading in each: in three times eight minutes."""
    config = recipe(name)
    seconds = config.train.epochs * (50_000 / 10_000 + 10_000 / 30_000) + 3 * 60
    assert seconds < 3 * 8 * 60
    train = config.train
    assert (train.amp, train.channels_last, train.compile) == ("bf16", True, True)
    assert (train.schedule, train.ema > 0, train.label_smoothing > 0) == ("one-cycle", True, True)
    assert config.model.widths == (64, 128, 256, 512, 512)  # the paper's


def test_the_control_of_a_gpu_recipe_is_one_flag_away() -> None:
    for name in GPU:
        control = recipes.read(
            CONFIGS / f"{name}.toml", {"name": "VGG-control", "global_feature": "true"}
        )
        assert control.model.entry.levels == 0
