"""Mean and deviation of the training pictures, and what the network makes of them."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

CHUNK = 1 << 20


def moments(parts: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, from 0 to 1, of uint8 [..., 3] in parts.

    In float64 by chunks of a million pixels: their sum does not fit a float32.
    """
    count, total, squares = 0, torch.zeros(3).double(), torch.zeros(3).double()
    for part in parts:
        for chunk in part.reshape(-1, 3).split(CHUNK):
            values = chunk.double() / 255
            count += len(values)
            total += values.sum(0)
            squares += values.square().sum(0)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-6).sqrt()
    return mean.tolist(), std.tolist()


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W], each channel of mean 0 and deviation 1."""
    deviation = torch.tensor(std, device=images.device)
    offset = torch.tensor(mean, device=images.device) / deviation
    return (images.float() * (1 / (255 * deviation)) - offset).permute(0, 3, 1, 2)
