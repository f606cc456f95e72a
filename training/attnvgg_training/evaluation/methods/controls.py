"""What looks at nothing: every figure about maps stands beside these."""

from zlib import crc32

import torch
from torch import Tensor

from attnvgg_training.evaluation.methods.method import Method

SIGMA = 0.2  # of the side; objects in photos are mostly in the middle
GRID = 16


def controls() -> list[Method]:
    """Uniform, a centred Gaussian, and noise that is a function of the picture alone."""
    return [
        Method("uniform", "control", False, "looks everywhere alike", _uniform),
        Method(
            "centre", "control", False, f"a centred Gaussian, sigma {SIGMA} of the side", _centre
        ),
        Method("random", "control", False, "smoothless noise of 16 x 16 cells", _random),
    ]


def gaussian(size: int, sigma: float = SIGMA) -> Tensor:
    """[size, size], 1 at most; sigma as a part of the side."""
    position = (torch.arange(size) + 0.5) / size - 0.5
    line = torch.exp(-(position**2) / (2 * sigma**2))
    return torch.outer(line, line)


def _uniform(pixels: Tensor, targets: Tensor) -> Tensor:
    return pixels.new_ones(len(pixels), 1, 1)


def _centre(pixels: Tensor, targets: Tensor) -> Tensor:
    return gaussian(pixels.shape[-1]).to(pixels.device).expand(len(pixels), -1, -1)


def _random(pixels: Tensor, targets: Tensor) -> Tensor:
    maps = []
    for picture in pixels:
        seed = crc32((255 * picture).round().byte().cpu().contiguous().numpy().tobytes())
        maps.append(torch.rand(GRID, GRID, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(maps).to(pixels.device)
