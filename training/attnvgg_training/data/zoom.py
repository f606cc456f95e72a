"""Pictures shrunk or enlarged, each by a factor of its own, and moved.

Both axes are resampled one after the other, as Pillow does it: a triangle filter (bilinear), as
wide as the step where the picture shrinks so that nothing aliases, and a rounding to whole grey
levels after each axis. For a whole batch that is a product with one sparse matrix a picture.
"""

import math

import torch
from torch import Tensor

PARTS = 1024


def zoom(images: Tensor, factors: Tensor, moves: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> the same shape, the borders reflected.

    factors: float32 [B], what a length in the picture is multiplied by. moves: float32 [B, 2],
    rows and columns; at -1 and 1 a shrunk picture touches the frame's border from inside, and an
    enlarged one from outside. Both are on the CPU.
    """
    _, height, width, _ = images.shape
    taps = 2 * math.ceil(1 / min(1, float(factors.min()))) + 1
    factors, moves = (each.to(images.device, non_blocking=True) for each in (factors, moves))
    down = _weights(factors, moves[:, 0], height, taps)
    across = _weights(factors, moves[:, 1], width, taps).transpose(1, 2)
    # As [B, H, 3, W] both products find their axis without another transposition.
    planes = images.permute(0, 1, 3, 2).to(torch.float32, memory_format=torch.contiguous_format)
    planes = (down @ planes.flatten(2)).round_().view(-1, 3 * height, width)
    planes = (planes @ across).round_().to(torch.uint8).view(-1, height, 3, width)
    return planes.permute(0, 1, 3, 2).contiguous()


def reflect(index: Tensor, size: int) -> Tensor:
    """Positions beyond the border, however far, as the positions inside that they mirror; the
    pixels of the border itself are not doubled."""
    period = 2 * (size - 1)
    index = index % period
    return torch.minimum(index, period - index)


def _weights(factors: Tensor, moves: Tensor, size: int, taps: int) -> Tensor:
    """float32 [B, size, size]: what each old row (last axis) adds to each new one.

    Weights are whole parts of 1024 that add up to 1024: so every sum is exact, even where matrix
    products keep 11 bits (TF32), and a picture comes out the same in any batch.
    """
    middle = (size - 1) / 2
    offset = moves * (1 - factors).abs() * size / 2
    new = torch.arange(size, device=factors.device) - middle
    centre = (new - offset[:, None]) / factors[:, None] + middle  # [B, size], in the old picture
    reach = (1 / factors).clamp_min(1)[:, None]
    first = (centre - reach).ceil()
    old = first[..., None] + torch.arange(taps, device=factors.device)  # [B, size, taps]
    triangle = (1 - (old - centre[..., None]).abs() / reach[..., None]).clamp_min(0)
    sums = triangle.cumsum(-1)
    edges = (PARTS * sums / sums[..., -1:]).round()
    weights = edges.diff(dim=-1, prepend=torch.zeros_like(edges[..., :1])) / PARTS
    empty = torch.zeros(len(factors), size, size, device=factors.device)
    return empty.scatter_add_(2, reflect(old.long(), size), weights)
