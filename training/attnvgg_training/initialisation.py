"""How weights start: as in the official code, with maps that start uniform, or whitened (ours).

All draw convolutions from N(0, sqrt(2 / (k * k * outputs))), He et al.'s by what they give, where
they are built, and linear layers with their biases from U(+-1 / sqrt(inputs)), torch's default.
They differ in this:

|              | official       | uniform-maps                     | whitened                     |
|--------------|----------------|----------------------------------|------------------------------|
| u            | N(0, sqrt 2)   | 0, or N(0, s) with initial scale | the same                     |
| batch norms' | U(0, 1) and 0  | 1 and 0                          | the same                     |
| scale, shift |                |                                  |                              |
| first kernels| as above       | as above                         | whiten the pictures' patches |
| other kernels| as above       | as above                         | as many as there are inputs  |
|              |                |                                  | hand one of them on          |

The official u follows from the rule for convolutions: it is a 1x1 convolution with one output.
Whitened is what Jordan, "94% on CIFAR-10 in 3.29 Seconds" (2024) starts from, in 3x3 patches and
trained from there on; the principal directions of natural patches need not be found by SGD.
"""

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Initialisation = Literal["uniform-maps", "official", "whitened"]
OFFICIAL_SCALE = sqrt(2)
PART = 16  # pictures at a time: in float64 their patches take 216 bytes a pixel
NOISE = 5e-4  # added to the variances: directions that hardly occur are not blown up


def randomise_scales(model: nn.Module) -> None:
    """Gives every batch norm of `model` the official code's random scales, in place."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.zeros_(module.bias)


def hand_on(model: nn.Module) -> None:
    """Makes the first kernels of every 3x3 convolution but the first identities, in place: as many
    as it has inputs."""
    for convolution in _convolutions(model)[1:]:
        with torch.no_grad():
            nn.init.dirac_(convolution.weight[: convolution.in_channels])


def whiten(model: nn.Module, images: Tensor) -> None:
    """Makes the first kernels of the first convolution, in pairs of opposite signs, what whitens
    the 3x3 patches of pictures, in place: the directions of most variance, each scaled to 1. What
    is left over stays as it was drawn.

    images: normalised, [N, 3, H, W].
    """
    weight = _convolutions(model)[0].weight
    moments, patches = torch.zeros(27, 27, dtype=torch.float64, device=images.device), 0
    for part in images.split(PART):
        each = F.unfold(part.double(), 3)
        moments += torch.einsum("nap,nbp->ab", each, each)
        patches += len(part) * each.shape[2]
    variances, directions = torch.linalg.eigh(moments / patches)
    count = min(len(weight) // 2, len(variances))
    scaled = (directions / (variances + NOISE).sqrt()).T.flip(0)[:count]
    kernels = scaled.unflatten(1, (3, 3, 3)).to(weight)
    with torch.no_grad():
        weight[: 2 * count] = torch.cat([kernels, -kernels])


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    found = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [module for module in found if module.kernel_size == (3, 3)]
