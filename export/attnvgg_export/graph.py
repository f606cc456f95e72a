"""The graph that is exported: uint8 pictures in; probabilities, maps and descriptor out.

Normalisation and softmax are inside, so that whoever runs the graph needs neither.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnvgg_bundle.manifest import output_names
from attnvgg_training.attention import fuse
from attnvgg_training.data import normalise
from attnvgg_training.vgg import AttentionVGG


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
        logits, maps, descriptor = self.model.explain(normalise(image, self.mean, self.std))
        levels = list(maps.values())
        fused = [fuse(levels)] if len(levels) >= 2 else []
        return (logits.softmax(-1), *levels, *fused, descriptor)


def without_dead_weight(model: AttentionVGG) -> AttentionVGG:
    """The same function with the global branch cut away, where nothing depends on it.

    Under pc with softmax, g adds one constant to all scores of a map (attention.py); a quarter of
    the paper's network serves only g. A network without levels classifies from g and stays whole.
    """
    if not model.levels or model.global_branch is None:
        return model
    classes = model.head.classify.out_features
    cut = AttentionVGG(model.trunk, model.levels, classes, global_feature=False)
    kept = cut.state_dict().keys()
    cut.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept})
    return cut.eval()


def run(graph: ExportGraph, images: Tensor) -> dict[str, Tensor]:
    """The graph's outputs by name, in PyTorch, in evaluation mode and float32."""
    with torch.inference_mode():
        return dict(zip(graph.output_names, graph(images), strict=True))
