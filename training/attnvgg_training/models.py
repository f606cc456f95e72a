"""What a configuration says about a network, and the network that it describes."""

from dataclasses import dataclass, fields
from math import prod

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attnvgg_training.attention import NORMALISE, Compatibility, Normalisation, Projection
from attnvgg_training.baselines import GapVGG, five_groups
from attnvgg_training.checks import between, one_of
from attnvgg_training.errors import ConfigError
from attnvgg_training.initialisation import (
    OFFICIAL_SCALE,
    Initialisation,
    hand_on,
    randomise_scales,
)
from attnvgg_training.network import AttentionOptions, Network
from attnvgg_training.registry import NETWORKS, Entry
from attnvgg_training.resnet import AttentionResNet
from attnvgg_training.trunk import Tap, Trunk
from attnvgg_training.vgg import AttentionVGG

STAGES = ("stage2", "stage3")


@dataclass(frozen=True)
class ModelConfig:
    """The network: a registered name, the trunk's plan (the paper's by default), its options."""

    name: str = "VGG-att3-concat-pc"
    """one of the registered networks; attnvgg-train --list-models lists them"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """channels of the five groups of convolutions; the sixth, for g, has the fifth's"""
    pools: tuple[int, ...] = ()
    """the convolutions that a max pool follows; none given: the last of groups 3, 4 and 5 and each
    of group 6 (the paper's 7, 10, 13, 14, 15), and in VGG-16-BN the last of each group"""
    dropout: float = 0.4
    """dropout between convolutions"""
    head_dropout: float = 0.5
    """dropout of the head and the global branch; a ResNet's is in proportion to it"""
    global_feature: bool = True
    """build g, which pc with softmax ignores; False is the same function with fewer weights"""
    normalisation: Normalisation = "softmax"
    """of the scores; sigmoid's maps do not sum to 1, one-hot looks at one position"""
    depths: tuple[int, ...] = (2, 2, 3, 3, 3, 2)
    """convolutions of the six groups; levels tap the last of groups 3, 4 and 5"""
    pool_sizes: tuple[int, ...] = (2,)
    """side of the pools: one for all, or one for each"""
    residual: bool = False
    """add the input of the last two convolutions of a group of three or more to their output"""
    tap: Tap = "before"
    """tap levels before the pool that follows, as in the paper, or after it"""
    projection: Projection = "g-to-l"
    """where channels differ, bring g to those of l, as in the paper, or l to those of g"""
    head_norm: bool = True
    """batch norm and ReLU before the last linear layer"""
    initialisation: Initialisation = "uniform-maps"
    """official: as in the official code, with u from N(0, sqrt 2) and random scales in batch norms;
    uniform-maps: u starts at zero; whitened: so too, the first convolution whitens the training
    pictures' patches and the others hand their input on"""
    initial_scale: float = 0.0
    """but for official: standard deviation of u at the start; 0 starts every map uniform"""

    def __post_init__(self) -> None:
        one_of("name", self.name, tuple(NETWORKS))
        for flag in ("dropout", "head_dropout"):
            if not 0 <= (value := getattr(self, flag)) < 1:
                flag = flag.replace("_", "-")
                raise ConfigError(f"--{flag} is {value}; it must be at least 0 and less than 1")
        one_of("normalisation", self.normalisation, tuple(NORMALISE))
        one_of("tap", self.tap, ("before", "after"))
        one_of("projection", self.projection, ("g-to-l", "l-to-g"))
        one_of("initialisation", self.initialisation, ("uniform-maps", "official", "whitened"))
        between("initial-scale", self.initial_scale, 0, 10)
        self._check_what_it_lacks()
        self.trunk.check_taps(self.trunk.taps(self.entry.levels))
        self._check_combinations()

    def _check_what_it_lacks(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in self.entry.lacks and value != each.default:
                flag = each.name.replace("_", "-")
                raise ConfigError(
                    f"--{flag} is {value!r}, but {self.name} has no such setting; leave it out"
                )

    def _check_combinations(self) -> None:
        if not self.global_feature and (not self.entry.levels or self.compatibility == "dp"):
            use = "scores against" if self.entry.levels else "classifies from"
            raise ConfigError(
                f"--global-feature is false, but {self.name} {use} g; it must be true"
            )
        if self.entry.kind in ("gap", "vgg-16") and self.depths[5] not in (0, 2):
            raise ConfigError(
                f"--depths is {self.depths}, but {self.name} has no sixth group; it must end in 0"
            )
        if self.initialisation == "whitened" and self.entry.kind == "resnet":
            raise ConfigError(
                f"--initialisation is whitened, but {self.name} has shortcuts that hand on their "
                "input; it must be uniform-maps or official"
            )
        if self.initialisation == "official" and self.initial_scale:
            raise ConfigError(
                f"--initial-scale is {self.initial_scale}, but --initialisation official starts "
                "u at sqrt 2; leave one of them out"
            )

    @property
    def entry(self) -> Entry:
        """What the name says."""
        return NETWORKS[self.name]

    @property
    def compatibility(self) -> Compatibility:
        """How positions are scored."""
        return self.entry.compatibility

    @property
    def trunk(self) -> Trunk:
        """The plan of a VGG's trunk."""
        trunk = Trunk(
            self.widths,
            self.pools,
            self.dropout,
            self.depths,
            self.pool_sizes,
            self.residual,
            self.tap,
        )
        return five_groups(trunk) if self.entry.kind == "vgg-16" else trunk

    @property
    def options(self) -> AttentionOptions:
        """What the levels and the head are built with."""
        official = self.initialisation == "official"
        return AttentionOptions(
            self.compatibility,
            self.normalisation,
            self.entry.aggregation,
            self.projection,
            self.head_norm,
            self.head_dropout,
            OFFICIAL_SCALE if official else self.initial_scale,
        )

    @property
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for the pools to divide it evenly."""
        if self.entry.kind == "resnet":  # two strides of 2, and the pool before g
            return 8 if self.entry.levels and self.global_feature else 4
        whole = self.global_feature and self.entry.kind != "gap"
        return prod(self.trunk.taken(whole).values())


def build(config: ModelConfig, classes: int) -> Network:
    """Builds an untrained network with `classes` outputs."""
    model = _built(config, classes)
    if config.initialisation == "official":
        randomise_scales(model)
    if config.initialisation == "whitened":
        hand_on(model)
    return model


def _built(config: ModelConfig, classes: int) -> Network:
    count, trunk = config.entry.levels, config.trunk
    if config.entry.kind == "resnet":
        stages = STAGES[len(STAGES) - count :]
        return AttentionResNet(stages, classes, config.global_feature, config.options)
    if config.entry.kind == "gap":
        return GapVGG(trunk, classes)
    return AttentionVGG(trunk, trunk.taps(count), classes, config.global_feature, config.options)


def parameters(model: nn.Module) -> int:
    """How many weights a network has."""
    return sum(p.numel() for p in model.parameters())


def gmacs(config: ModelConfig, size: int) -> float:
    """Billions of multiplications of one forward pass on a picture of size x size."""
    return gmacs_of(_without_norms(_sketch(config)), size)


def gmacs_of(model: nn.Module, size: int) -> float:
    """The same for a network that is built, wherever its weights are.

    Counted by torch: convolutions, matrix products and what is made of them.
    """
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size, device=device))
    return float(counter.get_total_flops()) / 2e9


def listing(size: int = 32) -> list[str]:
    """A heading, then a line for each registered network as its defaults have it."""
    lines = [f"{'network':26}{'parameters':>10}{'GMAC':>7}  levels (10 classes, {size}x{size})"]
    for name in NETWORKS:
        model = _sketch(ModelConfig(name))
        grids = {level: size // stride for level, stride in model.strides.items()}
        levels = ", ".join(f"{level} {grid}x{grid}" for level, grid in grids.items())
        millions = parameters(model) / 1e6
        cost = gmacs_of(_without_norms(model), size)
        lines.append(f"{name:26}{millions:8.2f} M{cost:7.2f}  {levels or '-'}")
    return lines


def _sketch(config: ModelConfig) -> Network:
    """The network for 10 classes in evaluation mode: shapes without weights."""
    with torch.device("meta"):
        return build(config, 10).eval()


def _without_norms(model: Network) -> Network:
    """Takes out, in place, what multiplies nothing that is counted: shapes are worked out faster
    without it."""
    uncounted = (nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.Dropout)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, uncounted):
                setattr(module, name, nn.Identity())
    return model
