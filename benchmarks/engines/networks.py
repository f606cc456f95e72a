"""The networks that are measured, as they are exported: dead weight cut, batch norms folded."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from settings import ROOT

from attnvgg_bundle.manifest import Input, Sizes
from attnvgg_export import golden
from attnvgg_export.build import LARGEST
from attnvgg_export.folding import folded
from attnvgg_export.graph import ExportGraph
from attnvgg_training import checkpoint, models, network
from attnvgg_training.data import normalise
from attnvgg_training.models import ModelConfig

UNTRAINED = {
    "full": ModelConfig(),
    "tiny": ModelConfig(widths=(4, 6, 8, 8, 8), pools=(2, 4, 7, 10, 13)),
}
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Network(NamedTuple):
    """graph: in evaluation mode. pictures: uint8 [N, H, W, 3]. trained: its labels mean something;
    those of a network that learned nothing hang on rounding."""

    graph: ExportGraph
    spec: Input
    pictures: NDArray[np.uint8]
    trained: bool

    @property
    def gmacs(self) -> float:
        """Billions of multiplications for one picture: convolutions and matrix products."""
        return models.gmacs_of(self.graph.model, self.spec.height)


def build(name: str, count: int) -> Network:
    """The network `name`, one of settings.NETWORKS, with `count` pictures.

    Raises:
        CheckpointError: the released checkpoint cannot be read.
    """
    if name in UNTRAINED:
        cut = _untrained(UNTRAINED[name]).cut()
        spec = _spec(cut, Input(32, 32, "stretch", "bicubic"))
        mean, std = list(MEAN), list(STD)
    else:
        model, record = checkpoint.load_model(ROOT / "training" / "checkpoints" / "cifar10-small")
        cut, data = model.cut(), record.config.data
        spec = _spec(cut, Input(data.image_size, data.image_size, data.geometry, data.filter))
        mean, std = record.mean, record.std
    graph = ExportGraph(folded(cut), mean, std).eval()
    return Network(graph, spec, golden.pictures(spec, count), trained=name not in UNTRAINED)


def _spec(model: network.Network, spec: Input) -> Input:
    """With free sizes, as `attnvgg-export build` declares them: they are axes of the graph."""
    sizes = Sizes(model.multiple, LARGEST * spec.height, model.multiple)
    return Input(spec.height, spec.width, spec.geometry, spec.filter, sizes=sizes)


def _untrained(config: ModelConfig) -> network.Network:
    """Random weights, with activations as moderate as a trained network's: no denormals."""
    torch.manual_seed(0)
    model = models.build(config, classes=10)
    for name, parameter in model.named_parameters():
        if name.endswith(".u"):  # zero would make every map uniform, and every check of it empty
            torch.nn.init.normal_(parameter, std=len(parameter) ** -0.5)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become the plain average of the passes
    noise = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(3):
            model.train()(normalise(noise, MEAN, STD))
    return model.eval()
