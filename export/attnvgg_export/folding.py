"""Lighter copies of a trained network that compute the same.

Batch norms in evaluation mode are a scale and a shift. One that follows a convolution or a linear
layer becomes part of its weights; the others, which stand before a ReLU (of pre-activation blocks,
projections and heads), stay as a scale and a shift.
"""

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from attnvgg_training.network import Head, Network

Norm = nn.BatchNorm1d | nn.BatchNorm2d
N = TypeVar("N", bound=nn.Module)


def folded(model: Network) -> Network:
    """A copy without batch norms."""
    model = _fold(copy.deepcopy(model))
    for name in ("attention", "head"):  # a file holds weights in this order: that of their use
        last = model.get_submodule(name)
        delattr(model, name)
        setattr(model, name, last)
    return model.eval()


def halved(model: Network) -> Network:
    """A copy of a folded network whose convolutions run in float16, and nothing else does.

    Scores, softmax and the product of the maps stay in float32: exponents overflow float16.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) or (isinstance(module, Affine) and module.is_spatial):
            module.half()
    for name, child in model.named_children():
        if name not in ("attention", "head"):  # what enters those is cast by themselves
            _widen(child)
    return model


class Affine(nn.Module):
    """Batch norms in evaluation mode as one scale and shift over their concatenation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norms: Iterable[Norm]) -> None:
        super().__init__()
        norms = list(norms)
        self.is_spatial = isinstance(norms[0], nn.BatchNorm2d)
        pairs = [_scale_and_shift(norm) for norm in norms]
        axes = (-1, 1, 1) if self.is_spatial else (-1,)
        scale, shift = (torch.cat(parts).detach().view(axes) for parts in zip(*pairs, strict=True))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] or [B, C, h, w], as the batch norms take it, to the same, in its own precision."""
        return x.to(self.scale.dtype) * self.scale + self.shift


class FoldedHead(nn.Module):
    """A head whose batch norms, where it has any, are one scale and shift over all features."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        norms = head.norms
        self.affine = None if norms is None else Affine(cast(Norm, norm) for norm in norms)
        self.classify = head.classify

    def features(self, inputs: list[Tensor]) -> Tensor:
        """As Head.features."""
        features = torch.cat(inputs, dim=1).float()
        return features if self.affine is None else self.affine(features).relu()

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """As Head.forward."""
        logits: Tensor = self.classify(self.features(inputs))
        return logits


def _scale_and_shift(norm: Norm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None  # the networks' norms keep statistics
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _fold(module: N) -> N:
    """Changes all that is in `module`, in place."""
    if isinstance(module, nn.Sequential):
        _merge(module)
    for name, child in module.named_children():
        if isinstance(child, Head):
            setattr(module, name, FoldedHead(child))
        elif isinstance(child, Norm):
            setattr(module, name, Affine([child]))
        else:
            _fold(child)
    return module


def _merge(sequence: nn.Sequential) -> None:
    """Batch norms go into the convolution or linear layer right before them."""
    for index, (before, norm) in enumerate(pairwise(list(sequence))):
        merged: nn.Module | None = None
        if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            merged = fuse_conv_bn_eval(before, norm)
        if isinstance(before, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            merged = fuse_linear_bn_eval(before, norm)
        if merged is not None:
            sequence[index], sequence[index + 1] = merged, nn.Identity()


def _widen(module: nn.Module) -> None:
    """Linear layers get float32, whatever stands before them."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, nn.Sequential(_Float(), child))
        else:
            _widen(child)


class _Float(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()
