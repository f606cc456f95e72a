"""What attention networks are compared with, beside their control (vgg.py).

VGG-16-BN is the network that the paper's VGG was made from (the official code's `vgg_bn_drop`):
thirteen convolutions, a pool behind each group, dropout, a linear layer, batch norm, ReLU, dropout,
a linear layer. That is the control of a trunk of five groups, so `five_groups` is all it needs.

VGG-GAP ends in an average over positions and one linear layer, so that a map for each class can be
read off it afterwards: "Learning Deep Features for Discriminative Localization" (Zhou et al., CVPR
2016). Its trunk is that of the attention networks up to convolution 13, whose features it keeps at
8x8; the official code's own GAP network has other groups (2, 2, 4, 4, 4) and no dropout.
"""

from dataclasses import replace
from typing import cast

from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.network import AttentionOptions, Head
from attnvgg_training.trunk import Trunk
from attnvgg_training.vgg import VGG


def five_groups(trunk: Trunk) -> Trunk:
    """Without the sixth group; where no pools were given, one behind each of the five."""
    depths = (*trunk.depths[:5], 0)
    return replace(trunk, depths=depths, pools=trunk.pools or trunk.ends[:5])


class GapVGG(VGG):
    """Five groups, average over positions, one linear layer; it has no levels."""

    def __init__(self, trunk: Trunk, classes: int) -> None:
        plain = AttentionOptions(head_norm=False, dropout=0.0)
        super().__init__(trunk, (), classes, plain, whole=False)

    def tapped(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Normalised images [B, 3, H, W] -> (no levels, the averaged features [B, C])."""
        return {}, self.convolved(images)[1].mean((2, 3))

    def class_activation_maps(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> how much each position speaks for each class,
        [B, K, h, w]; its mean over the positions, plus the bias, is the logit."""
        weight = cast(Head, self.head).classify.weight  # [K, C]
        return F.conv2d(self.convolved(images)[1], weight[:, :, None, None])

    def cut(self) -> "GapVGG":
        """Itself: everything is needed."""
        return self
