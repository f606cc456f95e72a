"""Methods applied to many pictures, and maps brought to a common size."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.methods import Method, afterwards, methods
from attnvgg_training.evaluation.subject import Subject

Floats = NDArray[np.float64]


def looking(context: Context) -> list[tuple[Subject, Method]]:
    """All methods that fit the main network, and behind its own ones CAM on the first network of
    the role `gap`, which it needs: whose map it is, and the method, `CAM (gap)`."""
    found = [(context.main, method) for method in methods(context.main)]
    others = [
        (other, replace(method, name=f"{method.name} ({other.name})"))
        for other in context.of_role("gap")[:1]
        for method in afterwards(other)
        if method.name == "CAM"
    ]
    own = [each for each in found if each[1].kind != "control"]
    return [*own, *others, *found[len(own) :]]


def maps(method: Method, pixels: Tensor, targets: Tensor, size: int = 64) -> Tensor:
    """Pixels [N, 3, H, W] and the classes asked about, [N] -> [N, h, w] on the CPU."""
    batches = zip(pixels.split(size), targets.split(size), strict=True)
    return torch.cat([method(*each).cpu() for each in batches])


@torch.inference_mode()
def chances(subject: Subject, pixels: Tensor, size: int = 64) -> Tensor:
    """Probabilities of pixels [N, 3, H, W], float32 [N, K] on the CPU."""
    return torch.cat([subject.model(each).float().softmax(1).cpu() for each in pixels.split(size)])


def resized(found: Tensor, height: int, width: int) -> Tensor:
    """Maps [N, h, w] brought to a grid bilinearly, [N, height, width]; between the middles of
    cells, as overlays show them."""
    if found.shape[1:] == (height, width):
        return found
    grown = F.interpolate(
        found.unsqueeze(1), (height, width), mode="bilinear", align_corners=False, antialias=False
    )
    return grown.squeeze(1)


def shares(found: Tensor) -> Tensor:
    """Maps [N, h, w] of any scale -> the same with the sum of 1; a map of zeros becomes uniform,
    as it prefers nothing."""
    sums = found.sum((1, 2), keepdim=True)
    even = torch.full_like(found, 1 / found[0].numel())
    return torch.where(sums > 0, found / sums.clamp_min(torch.finfo(found.dtype).tiny), even)


def tops(found: Tensor) -> Tensor:
    """Where maps [N, h, w] point: the same share on every cell that has the largest value, the sum
    of 1; ties stay ties, and a map that is the same everywhere points everywhere."""
    return shares((found == found.amax((1, 2), keepdim=True)).float())


def partners(targets: Tensor, seed: int) -> Tensor:
    """Another picture for every picture, drawn evenly from all of other classes: indices, int64 [N]
    on the CPU, the same for the same seed. From all other pictures where there is one class only; a
    single picture has none but itself.

    targets: classes, int64 [N].
    """
    groups = targets.cpu()
    if len(groups) < 2:
        return torch.zeros(len(groups), dtype=torch.int64)
    if (groups == groups[0]).all():
        groups = torch.arange(len(groups))
    order = groups.argsort(stable=True)
    _, group, sizes = groups.unique(return_inverse=True, return_counts=True)
    size, first = sizes[group], (sizes.cumsum(0) - sizes)[group]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(2**62, group.shape, generator=generator) % (len(groups) - size)
    return order[torch.where(drawn < first, drawn, drawn + size)]
