"""The graph that is exported: uint8 pictures in; probabilities, maps and descriptor out.

Normalisation and softmax are inside, so that whoever runs the graph needs neither. On the way from
the checkpoint's network to the graph nothing may change what it computes: what no output depends
on is cut (Network.cut), and batch norms become part of their neighbours (folding.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnvgg_bundle.manifest import output_names
from attnvgg_training.attention import fuse
from attnvgg_training.data import normalise
from attnvgg_training.network import Network


class ExportGraph(nn.Module):
    """A trained network between its input spec and the bundle's outputs.

    Args:
        model: in evaluation mode.
        mean, std: of the training pictures, per channel, from 0 to 1.
    """

    def __init__(self, model: Network, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, list(mean), list(std)

    @property
    def output_names(self) -> list[str]:
        """The outputs in the order in which `forward` returns them."""
        return output_names(self.model.level_names)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 [B, H, W, 3] -> probabilities [B, K], a map [B, h, w] a level, the fused map
        where there are two levels or more, descriptor [B, D]; all float32."""
        pixels = normalise(image, self.mean, self.std)
        logits, maps, descriptor = self.model.explain(pixels.to(_precision(self.model)))
        levels = list(maps.values())
        fused = [fuse(levels)] if len(levels) >= 2 else []
        return (logits.softmax(-1), *levels, *fused, descriptor)


def run(graph: ExportGraph, images: Tensor) -> dict[str, Tensor]:
    """The graph's outputs by name, in PyTorch, in evaluation mode."""
    with torch.inference_mode():
        return dict(zip(graph.output_names, graph(images), strict=True))


def _precision(model: nn.Module) -> torch.dtype:
    """What the convolutions run in."""
    return next(m.weight.dtype for m in model.modules() if isinstance(m, nn.Conv2d))
