"""The attention estimator of "Learn to Pay Attention" (Jetley et al., ICLR 2018, section 3).

Each position i of the local features l is scored against the global feature g, the scores are
normalised over all positions, and the attended feature is the weighted sum:

    c_i = <u, l_i + g>  (pc)   or   <l_i, g>  (dp)        a = softmax(c)        g_a = sum_i a_i l_i

Under pc, <u, l_i + g> = <u, l_i> + <u, g>, and the last term is the same at every position. A
normalisation that ignores a constant (softmax, sparsemax, the choice of the maximum) ignores it: g
then changes neither the map, nor the attended feature, nor the logits, and the estimator can be
built without g as the same function with fewer weights. Under dp, and under sigmoid, g matters.

Where l and g differ in channels, the paper projects g to those of l; the popular port (SaoYan's)
projects l to those of g, and what is attended to is the projected l.

Against the official code (github.com/saumya-jetley/cd_ICLR18_LearnToPayAttention): u has no bias,
which softmax ignores too, and starts at zero, so that every map starts uniform; the official u
starts at N(0, sqrt 2), where a few positions take everything before anything is learned
(initialisation.py has both). The official code averages gradients where branches merge, l and g;
here they add up, as the derivative has it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Compatibility = Literal["pc", "dp"]
Normalisation = Literal["softmax", "sparsemax", "sigmoid", "one-hot"]
Projection = Literal["g-to-l", "l-to-g"]
Normalise = Callable[[Tensor], Tensor]


class Attended(NamedTuple):
    """feature: g_a, [B, C]. map: a, [B, h, w], non-negative, sums to 1 except with sigmoid."""

    feature: Tensor
    map: Tensor


Attend = Callable[[Tensor, Tensor, Normalise], Attended]


def g_matters(compatibility: str, normalisation: str) -> bool:
    """Whether anything depends on the global feature; see the top of this file."""
    return compatibility == "dp" or normalisation == "sigmoid"


class AttentionEstimator(nn.Module):
    """Compatibility and normalisation over one level.

    Args:
        channels: C of the local features.
        global_channels: D of the global feature, or None to score `<u, l>` alone (pc only). Where
            D is not `lifted`, g is projected to it as in the official code: BN, ReLU, dropout,
            linear.
        dropout: of the projection.
        compatibility: pc or dp.
        normalisation: sigmoid averages a * l over the positions, the others sum it.
        lifted: channels to which l is projected first, by a 1x1 convolution without bias; C itself
            for none.
        initial_scale: standard deviation of u at the start.
    """

    def __init__(
        self,
        channels: int,
        global_channels: int | None,
        dropout: float,
        compatibility: Compatibility = "pc",
        normalisation: Normalisation = "softmax",
        lifted: int | None = None,
        initial_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.lifted = lifted or channels
        self.lift: nn.Module = nn.Identity()
        if self.lifted != channels:
            self.lift = nn.Conv2d(channels, self.lifted, 1, bias=False)
            nn.init.kaiming_normal_(self.lift.weight, mode="fan_out")
        start = (
            initial_scale * torch.randn(self.lifted) if initial_scale else torch.zeros(self.lifted)
        )
        self.u = nn.Parameter(start) if compatibility == "pc" else None
        self.project: nn.Module = nn.Identity()
        if global_channels is not None and global_channels != self.lifted:
            self.project = nn.Sequential(
                nn.BatchNorm1d(global_channels),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(global_channels, self.lifted),
            )

    def forward(self, local: Tensor, g: Tensor | None) -> Attended:
        """local: l, [B, C, h, w]. g: [B, D] or None. All of it runs in float32, under autocast too:
        in bfloat16 scores of 30 have steps of 0.125. In float64 it stays in float64."""
        return self._attended(local, g, attend_by_position if self.training else attend_by_channel)

    def with_held(self, local: Tensor, g: Tensor | None) -> tuple[Attended, Tensor]:
        """What `forward` gives, and g_a once more, held, [B, C]: it has the same value, but its
        gradient leaves the map as it is and reaches the local features alone."""
        features, a = self._attended(local, g, attend_with_held)
        feature, held = features.unbind(1)
        return Attended(feature, a), held

    def _attended(self, local: Tensor, g: Tensor | None, attend: Attend) -> Attended:
        lifted = self.lift(local)
        precision = torch.promote_types(lifted.dtype, torch.float32)
        projected = None if g is None else self.project(g).to(precision)
        with _no_autocast(local.device.type):
            feature, a = self._attend(lifted, projected, precision, attend)
        if self.normalisation == "sigmoid":
            feature = feature / (local.shape[-2] * local.shape[-1])
        return Attended(feature, a.unflatten(1, local.shape[-2:]))

    def _attend(
        self, local: Tensor, g: Tensor | None, precision: torch.dtype, attend: Attend
    ) -> Attended:
        """-> g_a, [B, C], and a flat, [B, h*w]; `g` is in the channels of `local`."""
        normalise = NORMALISE[self.normalisation]
        if self.u is None:
            assert g is not None  # dp is never built without g
            return attend(local.to(precision), g, normalise)
        u = self.u.to(precision)
        if g is None:
            return attend(local.to(precision), u, normalise)
        constant = (g @ u).unsqueeze(-1)  # <u, l + g> is <u, l> + <u, g>
        return attend(local.to(precision), u, lambda scores: normalise(scores + constant))


def attend_by_channel(local: Tensor, w: Tensor, normalise: Normalise) -> Attended:
    """Scores, map and attended feature, as they are exported: matrix products over [B, C, h*w].

    ONNX Runtime runs them on all threads, as it does not run einsum or sums of products.

    Args:
        local: [B, C, h, w], float32 or more.
        w: what positions are scored against, [C], or [B, C] where each picture has its own.
        normalise: scores [B, h*w] -> map.

    Returns:
        g_a, [B, C], and a flat, [B, h*w].
    """
    features = local.flatten(2)
    scores = w @ features if w.ndim == 1 else (w.unsqueeze(1) @ features).squeeze(1)
    a = normalise(scores)
    return Attended((features @ a.unsqueeze(-1)).squeeze(-1), a)


def attend_by_position(local: Tensor, w: Tensor, normalise: Normalise) -> Attended:
    """The same function in the form that trains fast, over [B, h*w, C].

    In channels_last that is how the features lie in memory already. Eager, matrix products are
    faster; compiled, sums of products are, as they fuse with the conversion to float32 and with
    each other, so that no float32 copy of the features is made.
    """
    features, a = _scored(local, w, normalise)
    return Attended(_summed(features, a.unsqueeze(1)).squeeze(1), a)


def attend_with_held(local: Tensor, w: Tensor, normalise: Normalise) -> Attended:
    """As `attend_by_position`, but g_a is [B, 2, C]: the second has the same value, and no gradient
    by the map. One product gives both."""
    features, a = _scored(local, w, normalise)
    return Attended(_summed(features, torch.stack([a, a.detach()], dim=1)), a)


def _scored(local: Tensor, w: Tensor, normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Features by position, [B, h*w, C], and their map, [B, h*w]."""
    features = local.permute(0, 2, 3, 1).flatten(1, 2)
    if torch.compiler.is_compiling():
        return features, normalise((features * w.unsqueeze(-2)).sum(-1))
    scores = features @ w if w.ndim == 1 else (features @ w.unsqueeze(-1)).squeeze(-1)
    return features, normalise(scores)


def _summed(features: Tensor, weights: Tensor) -> Tensor:
    """[B, h*w, C] and [B, N, h*w] -> [B, N, C]."""
    if torch.compiler.is_compiling():
        return (features.unsqueeze(1) * weights.unsqueeze(-1)).sum(2)
    return weights @ features


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
    support = (1 + rank * ordered > ordered.cumsum(-1)).to(scores.dtype)
    threshold = ((ordered * support).sum(-1) - 1) / support.sum(-1)
    return (scores - threshold.unsqueeze(-1)).clamp_min(0)


def one_hot(scores: Tensor) -> Tensor:
    """1 at the maximum, [B, N] -> [B, N]; backwards it is softmax (straight-through)."""
    positions = torch.arange(scores.shape[-1], device=scores.device)
    hard = (positions == scores.argmax(-1, keepdim=True)).to(scores.dtype)
    if not torch.is_grad_enabled():
        return hard
    soft = scores.softmax(-1)
    return hard + (soft - soft.detach())


NORMALISE: dict[str, Normalise] = {
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
