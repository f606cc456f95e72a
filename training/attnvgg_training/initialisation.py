"""How weights start: as in the official code, or with maps that start uniform (ours).

Both draw convolutions from N(0, sqrt(2 / (k * k * outputs))), He et al.'s by what they give, where
they are built, and linear layers with their biases from U(+-1 / sqrt(inputs)), torch's default.
They differ in two things:

|              | official       | uniform-maps                     |
|--------------|----------------|----------------------------------|
| u            | N(0, sqrt 2)   | 0, or N(0, s) with initial scale |
| batch norms' | U(0, 1) and 0  | 1 and 0                          |
| scale, shift |                |                                  |

The official u follows from the rule for convolutions: it is a 1x1 convolution with one output.
"""

from math import sqrt
from typing import Literal

from torch import nn

Initialisation = Literal["uniform-maps", "official"]
OFFICIAL_SCALE = sqrt(2)


def randomise_scales(model: nn.Module) -> None:
    """Gives every batch norm of `model` the official code's random scales, in place."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.zeros_(module.bias)
