"""The attention estimator of "Learn to Pay Attention" (Jetley et al., ICLR 2018, section 3).

Parametrised compatibility (pc) scores each position i of the local features l against the global
feature g, softmax normalises the scores over all positions, and the attended feature is the
weighted sum:

    c_i = <u, l_i + g>        a = softmax(c)        g_a = sum_i a_i l_i

<u, l_i + g> = <u, l_i> + <u, g>, and the last term is the same at every position, which softmax
ignores: with pc and softmax, g changes neither the map, nor the attended feature, nor the logits.
`PcAttention` can therefore be built without g, as the same function with fewer weights.

Against the official code (github.com/saumya-jetley/cd_ICLR18_LearnToPayAttention): u has no bias,
which softmax ignores too, and starts at zero, so that every map starts uniform; the official u
starts at N(0, sqrt 2), where a few positions take everything before anything is learned.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attended(NamedTuple):
    """feature: g_a, [B, C]. map: a, [B, h, w], non-negative, sums to 1."""

    feature: Tensor
    map: Tensor


class PcAttention(nn.Module):
    """Parametrised compatibility over one level.

    Args:
        channels: C of the local features.
        global_channels: D of the global feature, or None to score `<u, l>` alone. Where D is not
            C, g is projected to C as in the official code: BN, ReLU, dropout, linear.
        dropout: of the projection.
    """

    def __init__(self, channels: int, global_channels: int | None, dropout: float) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(channels))
        self.project: nn.Module = nn.Identity()
        if global_channels is not None and global_channels != channels:
            self.project = nn.Sequential(
                nn.BatchNorm1d(global_channels),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(global_channels, channels),
            )

    def forward(self, local: Tensor, g: Tensor | None) -> Attended:
        """local: l, [B, C, h, w]. g: [B, D] or None. Scores and softmax run in float32."""
        height, width = local.shape[-2:]
        features = local.flatten(2).float()  # [B, C, h*w]
        scored = features if g is None else features + self.project(g).float().unsqueeze(-1)
        scores = torch.einsum("c,bcn->bn", self.u.float(), scored)
        a = scores.softmax(-1)
        attended = torch.einsum("bn,bcn->bc", a, features)
        return Attended(attended, a.unflatten(1, (height, width)))


def fuse(maps: list[Tensor]) -> Tensor:
    """The one map to show by default: the product of the levels, renormalised.

    Each map [B, h, w] is brought bilinearly to the finest grid. The product is taken as a sum of
    logarithms: three peaky maps multiplied in float32 would underflow to 0 / 0.

    Returns:
        [B, h, w] at the finest grid, sums to 1.
    """
    height, width = max((tuple(m.shape[-2:]) for m in maps), key=lambda grid: grid[0] * grid[1])
    resized = [
        F.interpolate(m.unsqueeze(1), size=(height, width), mode="bilinear", align_corners=False)
        for m in maps
    ]
    tiny = torch.finfo(torch.float32).tiny
    logs = torch.stack([m.flatten(1).clamp_min(tiny).log() for m in resized]).sum(0)
    product: Tensor = logs.softmax(-1).unflatten(1, (height, width))
    return product
