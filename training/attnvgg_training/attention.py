"""The attention estimator of "Learn to Pay Attention" (Jetley et al., ICLR 2018, section 3).

Each position i of the local features l is scored against the global feature g, the scores are
normalised over all positions, and the attended feature is the weighted sum:

    c_i = <u, l_i + g>  (pc)   or   <l_i, g>  (dp)        a = softmax(c)        g_a = sum_i a_i l_i

Under pc, <u, l_i + g> = <u, l_i> + <u, g>, and the last term is the same at every position. A
normalisation that ignores a constant (softmax, sparsemax, the choice of the maximum) ignores it: g
then changes neither the map, nor the attended feature, nor the logits, and the estimator can be
built without g as the same function with fewer weights. Under dp, and under sigmoid, g matters.

Against the official code (github.com/saumya-jetley/cd_ICLR18_LearnToPayAttention): u has no bias,
which softmax ignores too, and starts at zero, so that every map starts uniform; the official u
starts at N(0, sqrt 2), where a few positions take everything before anything is learned.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Compatibility = Literal["pc", "dp"]
Normalisation = Literal["softmax", "sparsemax", "sigmoid", "one-hot"]


class Attended(NamedTuple):
    """feature: g_a, [B, C]. map: a, [B, h, w], non-negative, sums to 1 except with sigmoid."""

    feature: Tensor
    map: Tensor


def g_matters(compatibility: str, normalisation: str) -> bool:
    """Whether anything depends on the global feature; see the top of this file."""
    return compatibility == "dp" or normalisation == "sigmoid"


class AttentionEstimator(nn.Module):
    """Compatibility and normalisation over one level.

    Args:
        channels: C of the local features.
        global_channels: D of the global feature, or None to score `<u, l>` alone (pc only). Where
            D is not C, g is projected to C as in the official code: BN, ReLU, dropout, linear.
        dropout: of the projection.
        compatibility: pc or dp.
        normalisation: sigmoid averages a * l over the positions, the others sum it.
    """

    def __init__(
        self,
        channels: int,
        global_channels: int | None,
        dropout: float,
        compatibility: Compatibility = "pc",
        normalisation: Normalisation = "softmax",
    ) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.u = nn.Parameter(torch.zeros(channels)) if compatibility == "pc" else None
        self.project: nn.Module = nn.Identity()
        if global_channels is not None and global_channels != channels:
            self.project = nn.Sequential(
                nn.BatchNorm1d(global_channels),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(global_channels, channels),
            )

    def forward(self, local: Tensor, g: Tensor | None) -> Attended:
        """local: l, [B, C, h, w]. g: [B, D] or None. All of it runs in float32, under autocast too:
        in bfloat16 scores of 30 have steps of 0.125."""
        height, width = local.shape[-2:]
        features = local.flatten(2).float()  # [B, C, h*w]
        projected = None if g is None else self.project(g).float()
        with _no_autocast(local.device.type):
            a = NORMALISE[self.normalisation](self._scores(features, projected))
            attended = (features @ a.unsqueeze(-1)).squeeze(-1)
        if self.normalisation == "sigmoid":
            attended = attended / (height * width)
        return Attended(attended, a.unflatten(1, (height, width)))

    def _scores(self, features: Tensor, projected: Tensor | None) -> Tensor:
        """c, [B, h*w]; `projected` is g in the channels of this level."""
        if self.u is None:
            assert projected is not None  # dp is never built without g
            return (projected.unsqueeze(1) @ features).squeeze(1)
        scored = features if projected is None else features + projected.unsqueeze(-1)
        return self.u.float() @ scored


def _no_autocast(device: str) -> AbstractContextManager[None]:
    """Entered only where there is something to leave: an exported graph would keep a trace."""
    enabled = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if enabled else nullcontext()


def sparsemax(scores: Tensor) -> Tensor:
    """The nearest point of the simplex, [B, N] -> [B, N]; far scores get exactly 0.

    Martins and Astudillo, "From Softmax to Sparsemax", ICML 2016, algorithm 1.
    """
    ordered = scores.sort(dim=-1, descending=True).values
    rank = torch.ones_like(ordered).cumsum(-1)
    support = (1 + rank * ordered > ordered.cumsum(-1)).float()
    threshold = ((ordered * support).sum(-1) - 1) / support.sum(-1)
    return (scores - threshold.unsqueeze(-1)).clamp_min(0)


def one_hot(scores: Tensor) -> Tensor:
    """1 at the maximum, [B, N] -> [B, N]; backwards it is softmax (straight-through)."""
    positions = torch.arange(scores.shape[-1], device=scores.device)
    hard = (positions == scores.argmax(-1, keepdim=True)).float()
    if not torch.is_grad_enabled():
        return hard
    soft = scores.softmax(-1)
    return hard + (soft - soft.detach())


NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: scores.softmax(-1),
    "sparsemax": sparsemax,
    "sigmoid": torch.sigmoid,
    "one-hot": one_hot,
}


def fuse(maps: list[Tensor]) -> Tensor:
    """The one map to show by default: the product of the levels, renormalised.

    Args:
        maps: [B, h, w] each, the finest grid first, as levels in order of depth have it. The
            others are brought to it bilinearly.

    The product is taken as a sum of logarithms: three peaky maps multiplied in float32 would
    underflow to 0 / 0.

    Returns:
        [B, h, w] at the finest grid, sums to 1.
    """
    finest, *others = maps
    size = finest.shape[-2:]
    resized = [
        F.interpolate(m.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
        for m in others
    ]
    tiny = torch.finfo(torch.float32).tiny
    logs = torch.stack([m.flatten(1).clamp_min(tiny).log() for m in (finest, *resized)]).sum(0)
    product: Tensor = logs.softmax(-1).unflatten(1, size)
    return product
