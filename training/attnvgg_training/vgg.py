"""The VGG of "Learn to Pay Attention" (Jetley et al., ICLR 2018) and its control.

Fifteen 3x3 convolutions, each followed by batch norm and ReLU, in five groups of one width:
convolutions 1-2, 3-4, 5-7, 8-10, 11-15. A level taps the local features after a convolution's
ReLU and before the pool that may follow. What remains after convolution 15 is averaged over
positions and one linear layer (FC-1) makes the global feature g of it.

The paper pools after convolutions 7, 10, 13, 14 and 15; other plans move the pools forward and
trade the resolution of the maps for speed. The convolutions have no bias (batch norm follows),
and the average over positions replaces the last pools where a plan leaves more than one position:
at the paper's 32x32 there is exactly one, and nothing changes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnvgg_training.attention import (
    Attended,
    AttentionEstimator,
    Compatibility,
    Normalisation,
    g_matters,
)

GROUPS = (0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4)
DROPOUT_AFTER = (1, 3, 5, 6, 8, 9, 11, 12, 14, 15)


@dataclass(frozen=True)
class Trunk:
    """The trunk's plan.

    widths: channels of the five groups. pools: the convolutions (1-15) followed by a 2x2 max
    pool. dropout: after convolutions 3, 5, 6, 8, 9, 11, 12, 14, 15; three quarters of it after
    the first, as the official code has .4 and .3. head_dropout: of the head, FC-1 and projections.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    pools: tuple[int, ...] = (7, 10, 13, 14, 15)
    dropout: float = 0.4
    head_dropout: float = 0.5

    def channels(self, conv: int) -> int:
        """Channels that convolution `conv` (1-15) gives."""
        return self.widths[GROUPS[conv - 1]]

    def stride(self, conv: int) -> int:
        """Input pixels a position covers after convolution `conv`, before the pool behind it."""
        return int(2 ** sum(pool < conv for pool in self.pools))


class Explanation(NamedTuple):
    """logits: [B, K]. maps: level name -> [B, h, w]. descriptor: [B, sum of C], before the head's
    batch norm; without attention the features before the last linear layer."""

    logits: Tensor
    maps: dict[str, Tensor]
    descriptor: Tensor


class ConvUnit(nn.Sequential):
    """3x3 convolution, batch norm, ReLU; [B, in, H, W] -> [B, out, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Head(nn.Module):
    """Batch norm, ReLU and dropout for each feature, then one linear layer over all (`concat`)."""

    def __init__(self, channels: list[int], classes: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(c) for c in channels)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(sum(channels), classes)

    def features(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> [B, sum of C], what the linear layer sees."""
        normed = [norm(x).relu() for norm, x in zip(self.norms, inputs, strict=True)]
        return torch.cat(normed, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, sum of C] -> logits [B, K]."""
        logits: Tensor = self.classify(self.dropout(features))
        return logits


class AttentionVGG(nn.Module):
    """VGG-attN-concat, or with no level its control: the same trunk and head, no attention.

    Args:
        trunk: the plan.
        levels: the tapped convolutions in order of depth, such as (7, 10, 13).
        classes: K.
        global_feature: False leaves out convolutions 14 and 15, FC-1 and the projections, which
            change nothing under pc and softmax (see attention.py). The control and dp need them.
        compatibility, normalisation: of every level.
    """

    def __init__(
        self,
        trunk: Trunk,
        levels: tuple[int, ...],
        classes: int,
        global_feature: bool = True,
        compatibility: Compatibility = "pc",
        normalisation: Normalisation = "softmax",
    ) -> None:
        super().__init__()
        self.trunk, self.levels = trunk, levels
        self.compatibility: Compatibility = compatibility
        self.normalisation: Normalisation = normalisation
        depth = 15 if global_feature else max(levels)
        widths = [3] + [trunk.channels(conv) for conv in range(1, depth + 1)]
        self.units = nn.ModuleList(map(ConvUnit, widths, widths[1:]))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(trunk.dropout)
        self.first_dropout = nn.Dropout(trunk.dropout * 0.75)
        last = widths[-1] if global_feature else None
        self.global_branch = (
            nn.Sequential(nn.Dropout(trunk.head_dropout), nn.Linear(last, last)) if last else None
        )
        self.attention = nn.ModuleDict(
            {f"conv{n}": self._estimator(trunk.channels(n), last) for n in levels}
        )
        channels = [trunk.channels(n) for n in levels] or [widths[-1]]
        self.head = Head(channels, classes, trunk.head_dropout)

    @property
    def g_matters(self) -> bool:
        """Whether any output depends on the global feature."""
        return not self.levels or g_matters(self.compatibility, self.normalisation)

    @property
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for the pools taken to divide it."""
        return int(2 ** sum(map(self._pooled, range(1, len(self.units) + 1))))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> logits [B, K]."""
        return self.explain(images).logits

    def explain(self, images: Tensor) -> Explanation:
        """Normalised images [B, 3, H, W] -> logits, maps and descriptor from one pass."""
        locals_, g = self._features(images)
        if not self.levels:
            assert g is not None  # the constructor builds the branch
            features = self.head.features([g])
            return Explanation(self.head(features), {}, features)
        attended: dict[str, Attended] = {
            name: self.attention[name](local, g) for name, local in locals_.items()
        }
        vectors = [each.feature for each in attended.values()]
        logits = self.head(self.head.features(vectors))
        maps = {name: each.map for name, each in attended.items()}
        return Explanation(logits, maps, torch.cat(vectors, dim=1))

    def _estimator(self, channels: int, global_channels: int | None) -> AttentionEstimator:
        return AttentionEstimator(
            channels,
            global_channels,
            self.trunk.head_dropout,
            self.compatibility,
            self.normalisation,
        )

    def _pooled(self, conv: int) -> bool:
        """Whether a pool follows; behind the last level there is nothing to pool for."""
        needed = conv < len(self.units) or self.global_branch is not None
        return conv in self.trunk.pools and needed

    def _features(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        locals_: dict[str, Tensor] = {}
        for conv, unit in enumerate(self.units, start=1):
            x = unit(x)
            if conv in self.levels:
                locals_[f"conv{conv}"] = x
            if conv in DROPOUT_AFTER:
                x = self.first_dropout(x) if conv == 1 else self.dropout(x)
            if self._pooled(conv):
                x = self.pool(x)
        if self.global_branch is None:
            return locals_, None
        return locals_, self.global_branch(x.mean((2, 3)))
