"""The VGG of "Learn to Pay Attention" (Jetley et al., ICLR 2018) and its control.

Fifteen 3x3 convolutions, each followed by batch norm and ReLU, in six groups: 1-2, 3-4, 5-7, 8-10,
11-13 and, for the global feature alone, 14-15. A level taps the local features after the last
convolution of a group, after its ReLU and before the pool that may follow: conv7, conv10, conv13.
What remains behind the last convolution is averaged over positions, and one linear layer (FC-1)
makes the global feature g of it.

The paper pools after convolutions 7, 10, 13, 14 and 15; other plans move the pools forward and
trade the resolution of the maps for speed. The average over positions replaces the last pools
where a plan leaves more than one position: at the paper's 32x32 there is exactly one, and nothing
changes. Against the official code (github.com/saumya-jetley/cd_ICLR18_LearnToPayAttention), the
convolutions have no bias, which batch norm takes away again, and batch norm adds 1e-5 to the
variance instead of 1e-3.
"""

from math import prod

from torch import Tensor, nn

from attnvgg_training.network import AttentionOptions, Network
from attnvgg_training.trunk import Trunk


class ConvUnit(nn.Sequential):
    """3x3 convolution, batch norm, ReLU; [B, in, H, W] -> [B, out, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class VGG(Network):
    """The trunk with its taps; subclasses make something of what it ends in.

    Args:
        trunk: the plan.
        levels: the tapped convolutions in order of depth, such as (7, 10, 13).
        classes: K.
        whole: False ends the trunk with the fifth group: no sixth, and so no g.
    """

    def __init__(
        self,
        trunk: Trunk,
        levels: tuple[int, ...],
        classes: int,
        options: AttentionOptions,
        whole: bool,
    ) -> None:
        channels = {f"conv{n}": trunk.channels(n) for n in levels}
        super().__init__(channels, trunk.widths[-1], classes, options, whole)
        self.trunk, self.levels = trunk, levels
        self.global_branch: nn.Sequential | None = None
        depth = trunk.ends[5 if whole else 4]
        widths = [3] + [trunk.channels(conv) for conv in range(1, depth + 1)]
        self.units = nn.ModuleList(map(ConvUnit, widths, widths[1:]))
        self.taken = trunk.taken(whole)
        self.pools = nn.ModuleDict({str(n): nn.MaxPool2d(side) for n, side in self.taken.items()})
        rates = trunk.dropout_after
        self.dropouts = nn.ModuleDict({str(n): nn.Dropout(rate) for n, rate in rates.items()})
        self.features = nn.ModuleDict({f"conv{n}": nn.Identity() for n in trunk.ends[2:5]})

    @property
    def layers(self) -> dict[str, nn.Module]:
        """See Network; the last convolutions of groups 3, 4 and 5."""
        return dict(self.features)

    @property
    def strides(self) -> dict[str, int]:
        """Level name -> input pixels that a position of its map covers, each way."""
        return {f"conv{n}": self.trunk.tap_stride(n) for n in self.levels}

    @property
    def multiple(self) -> int:
        """What a side of the input must be a multiple of, for the pools taken to divide it."""
        return prod(self.taken.values())

    def convolved(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Normalised images [B, 3, H, W] -> (level name -> l [B, C, h, w], what is behind the last
        convolution and its pool [B, D, h, w])."""
        x, kept, locals_ = images, images, {}
        for conv, unit in enumerate(self.units, start=1):
            if conv in self.trunk.shortcuts:
                kept = x
            x = unit(x)
            if conv - 1 in self.trunk.shortcuts:
                x = x + kept
            name, level = str(conv), f"conv{conv}"
            if level in self.features and self.trunk.tap == "before":
                x = locals_[level] = self.features[level](x)
            if name in self.dropouts:
                x = self.dropouts[name](x)
            if name in self.pools:
                x = self.pools[name](x)
            if level in self.features and self.trunk.tap == "after":
                x = locals_[level] = self.features[level](x)
        return {f"conv{n}": locals_[f"conv{n}"] for n in self.levels}, x


class AttentionVGG(VGG):
    """VGG-attN, or with no level its control: the same trunk and head, no attention.

    Args:
        trunk: the plan.
        levels: the tapped convolutions in order of depth, such as (7, 10, 13).
        classes: K.
        global_feature: False leaves out the sixth group, FC-1 and the projections, which change
            nothing under pc and softmax (attention.py) and would get no gradient. The control and
            dp need them.
    """

    def __init__(
        self,
        trunk: Trunk,
        levels: tuple[int, ...],
        classes: int,
        global_feature: bool = True,
        options: AttentionOptions = AttentionOptions(),  # noqa: B008, it is frozen
    ) -> None:
        super().__init__(trunk, levels, classes, options, whole=global_feature)
        last = trunk.widths[-1]
        if global_feature:
            self.global_branch = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(last, last))

    def tapped(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Normalised images [B, 3, H, W] -> (level name -> l [B, C, h, w], g [B, D] or None)."""
        locals_, x = self.convolved(images)
        if self.global_branch is None:
            return locals_, None
        return locals_, self.global_branch(x.mean((2, 3)))

    def cut(self) -> "AttentionVGG":
        """Without the global branch, where no output depends on it: under pc with softmax,
        sparsemax or one-hot a quarter of the paper's network serves only g."""
        if self.g_matters or self.global_branch is None:
            return self
        cut = AttentionVGG(self.trunk, self.levels, self.classes, False, self.options)
        kept = cut.state_dict().keys()
        cut.load_state_dict({k: v for k, v in self.state_dict().items() if k in kept})
        return cut.eval()
