"""Networks of the registered names, small enough for tests, with maps that are not uniform."""

from typing import Any

import torch

from attnvgg_training.models import ModelConfig, build
from attnvgg_training.network import Network
from attnvgg_training.registry import NETWORKS

WIDTHS = (8, 12, 24, 32, 32)


def small(name: str = "VGG-att3-concat-pc", **values: Any) -> Network:
    """In evaluation mode, for 10 classes, without dropout; u and batch norms are random."""
    torch.manual_seed(0)
    plain: dict[str, Any] = {"widths": WIDTHS, "dropout": 0.0, "head_dropout": 0.0}
    lacks = NETWORKS[name].lacks
    settings = {key: value for key, value in plain.items() if key not in lacks}
    model = build(ModelConfig(name, **(settings | values)), 10)
    for key, parameter in model.named_parameters():
        if key.endswith(".u"):
            torch.nn.init.normal_(parameter)
    return model.eval()
