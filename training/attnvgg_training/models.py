"""The networks that can be built by name, and what a configuration says about one."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attnvgg_training.attention import NORMALISE, Compatibility, Normalisation
from attnvgg_training.errors import ConfigError
from attnvgg_training.vgg import AttentionVGG, Trunk

LEVELS: dict[str, tuple[int, ...]] = {
    "VGG-att3-concat-pc": (7, 10, 13),
    "VGG-att2-concat-pc": (10, 13),
    "VGG-att3-concat-dp": (7, 10, 13),
    "VGG-att2-concat-dp": (10, 13),
    "VGG-control": (),
}


@dataclass(frozen=True)
class ModelConfig:
    """The network: a registered name, and the trunk's plan (the paper's by default)."""

    name: str = "VGG-att3-concat-pc"
    """one of the registered networks"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """channels of convolutions 1-2, 3-4, 5-7, 8-10 and 11-15"""
    pools: tuple[int, ...] = (7, 10, 13, 14, 15)
    """the convolutions that a 2x2 max pool follows"""
    dropout: float = 0.4
    """dropout between convolutions"""
    head_dropout: float = 0.5
    """dropout of the head and the global branch"""
    global_feature: bool = True
    """build g, which pc with softmax ignores; False is the same function with fewer weights"""
    normalisation: Normalisation = "softmax"
    """of the scores; sigmoid's maps do not sum to 1, one-hot looks at one position"""

    def __post_init__(self) -> None:
        if self.name not in LEVELS:
            raise ConfigError(f"--name is {self.name!r}; it must be one of {', '.join(LEVELS)}")
        if len(self.widths) != 5 or min(self.widths) < 1:
            raise ConfigError(f"--widths is {self.widths}; it must be five numbers of 1 or more")
        if sorted(set(self.pools)) != list(self.pools) or not set(self.pools) <= set(range(1, 16)):
            raise ConfigError(f"--pools is {self.pools}; it must be rising numbers from 1 to 15")
        for flag, value in (("dropout", self.dropout), ("head-dropout", self.head_dropout)):
            if not 0 <= value < 1:
                raise ConfigError(f"--{flag} is {value}; it must be at least 0 and less than 1")
        if self.normalisation not in NORMALISE:
            allowed = ", ".join(NORMALISE)
            raise ConfigError(
                f"--normalisation is {self.normalisation!r}; it must be one of {allowed}"
            )
        if not self.global_feature and (not self.levels or self.compatibility == "dp"):
            use = "scores against" if self.levels else "classifies from"
            raise ConfigError(
                f"--global-feature is false, but {self.name} {use} g; it must be true"
            )

    @property
    def levels(self) -> tuple[int, ...]:
        """The tapped convolutions."""
        return LEVELS[self.name]

    @property
    def compatibility(self) -> Compatibility:
        """How positions are scored."""
        return "dp" if self.name.endswith("-dp") else "pc"

    @property
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for the pools to divide it evenly."""
        return int(2 ** len(self.pools))


def build(config: ModelConfig, classes: int) -> AttentionVGG:
    """Builds an untrained network with `classes` outputs."""
    trunk = Trunk(config.widths, config.pools, config.dropout, config.head_dropout)
    return AttentionVGG(
        trunk,
        config.levels,
        classes,
        config.global_feature,
        config.compatibility,
        config.normalisation,
    )


def parameters(model: nn.Module) -> int:
    """How many weights a network has."""
    return sum(p.numel() for p in model.parameters())


def gmacs(config: ModelConfig, size: int) -> float:
    """Billions of multiplications of one forward pass on a picture of size x size."""
    with torch.device("meta"):
        return gmacs_of(build(config, 10).eval(), size)


def gmacs_of(model: nn.Module, size: int) -> float:
    """The same for a network that is built, wherever its weights are.

    Counted by torch: convolutions, matrix products and what is made of them.
    """
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size, device=device))
    return float(counter.get_total_flops()) / 2e9
