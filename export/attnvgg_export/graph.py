"""The graph that is exported: uint8 pictures in; probabilities, maps and descriptor out.

Normalisation and softmax are inside, so that whoever runs the graph needs neither. On the way from
the checkpoint's network to the graph nothing may change what it computes: what no output depends
on is cut, and batch norms become part of what stands before or behind them.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from attnvgg_bundle.manifest import output_names
from attnvgg_training.attention import fuse
from attnvgg_training.data import normalise
from attnvgg_training.vgg import AttentionVGG, Head


class ExportGraph(nn.Module):
    """A trained network between its input spec and the bundle's outputs.

    Args:
        model: in evaluation mode.
        mean, std: of the training pictures, per channel, from 0 to 1.
    """

    def __init__(self, model: AttentionVGG, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, list(mean), list(std)

    @property
    def output_names(self) -> list[str]:
        """The outputs in the order in which `forward` returns them."""
        return output_names([f"conv{level}" for level in self.model.levels])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 [B, H, W, 3] -> probabilities [B, K], a map [B, h, w] a level, the fused map
        where there are two levels or more, descriptor [B, D]; all float32."""
        pixels = normalise(image, self.mean, self.std)
        logits, maps, descriptor = self.model.explain(pixels.to(_precision(self.model)))
        levels = list(maps.values())
        fused = [fuse(levels)] if len(levels) >= 2 else []
        return (logits.softmax(-1), *levels, *fused, descriptor)


class Affine(nn.Module):
    """Batch norms in evaluation mode as one scale and shift, [C] each, over their concatenation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norms: Iterable[nn.Module]) -> None:
        super().__init__()
        pairs = [_scale_and_shift(norm) for norm in norms if isinstance(norm, nn.BatchNorm1d)]
        self.register_buffer("scale", torch.cat([scale for scale, _ in pairs]).detach())
        self.register_buffer("shift", torch.cat([shift for _, shift in pairs]).detach())

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] -> [B, C]."""
        return x * self.scale + self.shift


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None  # the networks' norms keep statistics
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


class FoldedHead(nn.Module):
    """A head whose batch norms are one scale and shift over all features."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.affine, self.classify = Affine(head.norms), head.classify

    def features(self, inputs: list[Tensor]) -> Tensor:
        """As Head.features."""
        features: Tensor = self.affine(torch.cat(inputs, dim=1)).relu()
        return features

    def forward(self, features: Tensor) -> Tensor:
        """[B, sum of C] -> logits [B, K]."""
        logits: Tensor = self.classify(features)
        return logits


def without_dead_weight(model: AttentionVGG) -> AttentionVGG:
    """The same function with the global branch cut away, where no output depends on it.

    Under pc with softmax, sparsemax or one-hot, g adds one constant to all scores of a map
    (attention.py); a quarter of the paper's network serves only g. Under dp and sigmoid, and in a
    network without levels, which classifies from g, everything stays.
    """
    if model.g_matters or model.global_branch is None:
        return model
    cut = AttentionVGG(
        model.trunk,
        model.levels,
        model.head.classify.out_features,
        global_feature=False,
        compatibility=model.compatibility,
        normalisation=model.normalisation,
    )
    kept = cut.state_dict().keys()
    cut.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept})
    return cut.eval()


def folded(model: AttentionVGG) -> AttentionVGG:
    """A copy without batch norms: convolutions, projections and head have taken them in."""
    model = copy.deepcopy(model)
    model.units = nn.ModuleList(map(_without_norm, model.units.children()))
    for estimator in model.attention.values():
        if isinstance(estimator.project, nn.Sequential):
            estimator.project[0] = Affine([estimator.project[0]])
    model.head = FoldedHead(model.head)  # type: ignore[assignment]
    return model.eval()


def halved(model: AttentionVGG) -> AttentionVGG:
    """A copy of a folded network whose convolutions run in float16, and nothing else does.

    Scores, softmax and the product of the maps stay in float32: exponents overflow float16.
    """
    model = copy.deepcopy(model)
    model.units.half()
    if model.global_branch is not None:
        model.global_branch.insert(0, _Float())
    return model


def run(graph: ExportGraph, images: Tensor) -> dict[str, Tensor]:
    """The graph's outputs by name, in PyTorch, in evaluation mode."""
    with torch.inference_mode():
        return dict(zip(graph.output_names, graph(images), strict=True))


def _without_norm(unit: nn.Module) -> nn.Module:
    convolution, norm, relu = unit.children()
    folded = fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm))
    return nn.Sequential(folded, relu)


class _Float(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def _precision(model: AttentionVGG) -> torch.dtype:
    """What the convolutions run in."""
    dtype: torch.dtype = next(model.units.parameters()).dtype
    return dtype
