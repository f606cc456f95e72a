"""What all networks share: estimators over tapped levels, a head over what they attended to.

"Learn to Pay Attention" (Jetley et al., ICLR 2018, section 3): the classification is made from
the attended features alone, either from all of them at once (concat) or from each by itself, the
probabilities averaged (indep). The official code adds log-probabilities (att2) or logits (att3)
for indep; here it is the mean of probabilities, as the paper writes it.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnvgg_training.attention import (
    Attended,
    AttentionEstimator,
    Compatibility,
    Normalisation,
    Projection,
    g_matters,
)

Aggregation = Literal["concat", "indep"]


class Explanation(NamedTuple):
    """logits: [B, K]; with indep the logarithms of mean probabilities. maps: level name ->
    [B, h, w]. descriptor: [B, sum of C], before the head's batch norm; without attention the
    features before the last linear layer."""

    logits: Tensor
    maps: dict[str, Tensor]
    descriptor: Tensor


class Answers(NamedTuple):
    """logits: [B, K]. levels: of every level's answer by itself, [levels, B, K]. maps: of every
    level, [B, h, w]. held: [B, K], the same as `logits`, but their gradient leaves the maps as they
    are."""

    logits: Tensor
    levels: Tensor
    maps: list[Tensor]
    held: Tensor | None


@dataclass(frozen=True)
class AttentionOptions:
    """How every level is scored and what is made of the attended features.

    projection: g to the channels of l, as in the paper, or l to those of g. head_norm: batch norm,
    ReLU and dropout before the linear layer, as in the official code; the popular port has none.
    dropout: of the head and of the projections. initial_scale: standard deviation of u at the
    start.
    """

    compatibility: Compatibility = "pc"
    normalisation: Normalisation = "softmax"
    aggregation: Aggregation = "concat"
    projection: Projection = "g-to-l"
    head_norm: bool = True
    dropout: float = 0.5
    initial_scale: float = 0.0


class Head(nn.Module):
    """Batch norm, ReLU and dropout for each feature, then one linear layer over all."""

    def __init__(
        self, channels: list[int], classes: int, dropout: float, norm: bool = True
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(c) for c in channels) if norm else None
        self.relus = nn.ModuleList(
            nn.ReLU() for _ in channels
        )  # modules, one a call, can be hooked
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(sum(channels), classes)

    def features(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> [B, sum of C], what the linear layer sees."""
        if self.norms is None:
            return torch.cat(inputs, dim=1)
        each = zip(self.norms, self.relus, inputs, strict=True)
        normed = [relu(norm(x)) for norm, relu, x in each]
        return torch.cat(normed, dim=1)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> logits [B, K]."""
        logits: Tensor = self.classify(self.dropout(self.features(inputs)))
        return logits

    def by_input(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> logits [N, B, K] of every input by itself, whose mean over N is what
        `forward` gives: the linear layer's part for it, as if the others said the same."""
        widths = [each.shape[1] for each in inputs]
        seen = self.dropout(self.features(inputs)).split(widths, dim=1)
        parts = zip(seen, self.classify.weight.split(widths, dim=1), strict=True)
        summands = torch.stack([F.linear(x, weight) for x, weight in parts])
        precision = torch.promote_types(summands.dtype, torch.float32)
        return len(inputs) * summands.to(precision) + self.classify.bias

    def together(self, each: Tensor) -> Tensor:
        """What `by_input` gives -> what `forward` gives."""
        return each.mean(0)


class IndependentHeads(nn.ModuleList):
    """A head of its own for each level; the probabilities are averaged."""

    def __init__(
        self, channels: list[int], classes: int, dropout: float, norm: bool = True
    ) -> None:
        super().__init__(Head([c], classes, dropout, norm) for c in channels)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> logarithm of the mean probabilities, [B, K]; softmax gives them back."""
        return self.together(self.by_input(inputs))

    def together(self, each: Tensor) -> Tensor:
        """What `by_input` gives -> what `forward` gives."""
        return each.logsumexp(0) - math.log(len(each))

    def by_input(self, inputs: list[Tensor]) -> Tensor:
        """[B, C] each -> logarithms of the probabilities of each, [N, B, K]."""
        logits = torch.stack([head([x]) for head, x in zip(self, inputs, strict=True)])
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


class Network(nn.Module, ABC):
    """A trunk with taps, estimators and a head; the trunk is the subclass's.

    Args:
        channels: level name -> C, in order of depth; empty for a network without attention.
        global_channels: D of the global feature g.
        classes: K.
        has_g: False where the network does not compute g; pc with softmax ignores it.
    """

    def __init__(
        self,
        channels: dict[str, int],
        global_channels: int,
        classes: int,
        options: AttentionOptions,
        has_g: bool = True,
    ) -> None:
        super().__init__()
        self.options, self.classes = options, classes
        lift = options.projection == "l-to-g"
        attended = {name: global_channels if lift else c for name, c in channels.items()}
        self.attention = nn.ModuleDict(
            {
                name: AttentionEstimator(
                    c,
                    global_channels if has_g else None,
                    options.dropout,
                    options.compatibility,
                    options.normalisation,
                    lifted=attended[name],
                    initial_scale=options.initial_scale,
                )
                for name, c in channels.items()
            }
        )
        inputs = list(attended.values()) or [global_channels]
        kind = IndependentHeads if options.aggregation == "indep" and channels else Head
        self.head: Head | IndependentHeads = kind(
            inputs, classes, options.dropout, options.head_norm
        )

    @property
    def level_names(self) -> list[str]:
        """The levels, in order of depth."""
        return list(self.attention)

    @property
    def compatibility(self) -> Compatibility:
        """How positions are scored."""
        return self.options.compatibility

    @property
    def normalisation(self) -> Normalisation:
        """Of the scores."""
        return self.options.normalisation

    @property
    def g_matters(self) -> bool:
        """Whether any output depends on the global feature (attention.py)."""
        return not self.attention or g_matters(self.compatibility, self.normalisation)

    @property
    @abstractmethod
    def layers(self) -> dict[str, nn.Module]:
        """Level name -> the module that gives the local features of that name, l [B, C, h, w]: what
        a method that needs their gradients hooks. Networks without attention have them, too."""

    @property
    @abstractmethod
    def strides(self) -> dict[str, int]:
        """Level name -> input pixels that a position of its map covers, each way."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for what is pooled to divide evenly."""

    @abstractmethod
    def tapped(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Normalised images [B, 3, H, W] -> (level name -> l [B, C, h, w], g [B, D] or None)."""

    @abstractmethod
    def cut(self) -> "Network":
        """The same function in evaluation mode without what no output depends on."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> logits [B, K]."""
        return self.explain(images).logits

    def explain(self, images: Tensor) -> Explanation:
        """Normalised images [B, 3, H, W] -> logits, maps and descriptor from one pass."""
        return self.attended(*self.tapped(images))

    def answers(self, images: Tensor, held: bool = False) -> Answers:
        """Normalised images [B, 3, H, W] -> what a step may learn from; `held` only if asked for.
        Then the head's batch norms count the same pictures twice."""
        locals_, g = self.tapped(images)
        estimators = cast(dict[str, AttentionEstimator], dict(self.attention.items()))
        kept: list[Tensor] = []
        if held:
            pairs = [e.with_held(locals_[name], g) for name, e in estimators.items()]
            found, kept = [first for first, _ in pairs], [second for _, second in pairs]
        else:
            found = [e(locals_[name], g) for name, e in estimators.items()]
        each = self.head.by_input([one.feature for one in found])
        logits, maps = self.head.together(each), [one.map for one in found]
        return Answers(logits, each, maps, self.head(kept) if held else None)

    def attended(self, locals_: dict[str, Tensor], g: Tensor | None) -> Explanation:
        """What `explain` makes of what `tapped` gives: level name -> l [B, C, h, w], g [B, D]."""
        if not self.attention:
            assert g is not None  # a network without levels classifies from g
            head = cast(Head, self.head)
            features = head.features([g])  # once: its batch norm keeps statistics
            dropped = F.dropout(features, self.options.dropout, self.training)
            return Explanation(head.classify(dropped), {}, features)
        found: dict[str, Attended] = {
            name: estimator(locals_[name], g) for name, estimator in self.attention.items()
        }
        vectors = [each.feature for each in found.values()]
        maps = {name: each.map for name, each in found.items()}
        return Explanation(self.head(vectors), maps, torch.cat(vectors, dim=1))
