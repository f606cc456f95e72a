"""Methods applied to many pictures, and maps brought to a common size."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.evaluation.methods import Method
from attnvgg_training.evaluation.subject import Subject

Floats = NDArray[np.float64]


def maps(method: Method, pixels: Tensor, targets: Tensor, size: int = 64) -> Tensor:
    """Pixels [N, 3, H, W] and the classes asked about, [N] -> [N, h, w] on the CPU."""
    batches = zip(pixels.split(size), targets.split(size), strict=True)
    return torch.cat([method(*each).cpu() for each in batches])


@torch.inference_mode()
def chances(subject: Subject, pixels: Tensor, size: int = 256) -> Tensor:
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


def peaks(found: Tensor) -> Tensor:
    """Middle of the largest cell of maps [N, h, w], as parts of the height and the width, [N, 2].
    A map that is the same everywhere has its middle there: it points at nothing else."""
    _, height, width = found.shape
    place = found.flatten(1).argmax(1)
    rows, columns = place // width, place % width
    at = torch.stack([(rows + 0.5) / height, (columns + 0.5) / width], dim=1)
    flat = found.flatten(1).amax(1) == found.flatten(1).amin(1)
    at[flat] = torch.full((2,), 0.5)
    return at


def names(methods: Iterable[Method]) -> list[str]:
    """In their order."""
    return [method.name for method in methods]
