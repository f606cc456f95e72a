"""What a network says about pictures, and how often it is right."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnvgg_training.data import Split, normalise
from attnvgg_training.distributed import World

CHUNK = 256


@dataclass(frozen=True)
class Score:
    """Mean loss and the part of the pictures classified correctly; that part is NaN where mixed
    pictures have no one class."""

    loss: float
    accuracy: float


@torch.inference_mode()
def predict(
    model: nn.Module,
    pictures: Tensor | Split,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    size: int = CHUNK,
) -> Tensor:
    """Logits float32 [N, K] of uint8 pictures [N, H, W, 3] or a split, in evaluation mode."""
    model.eval()
    chunks = torch.arange(len(pictures)).split(size)
    parts = [
        model(normalise(pixels.to(device), mean, std)).float().cpu()
        for pixels in _read(pictures, chunks)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    split: Split,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    world: World | None = None,
) -> Score:
    """Loss and accuracy on a split; each process takes every world-th picture."""
    world = world or World()
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    chunks = torch.arange(world.rank, len(split), world.size).split(CHUNK)
    for indices, pixels in zip(chunks, _read(split, chunks), strict=True):
        targets = split.targets[indices.to(split.targets.device)].to(device)
        logits = model(normalise(pixels.to(device), mean, std)).float()
        sums[0] += F.cross_entropy(logits, targets, reduction="sum")
        sums[1] += (logits.argmax(1) == targets).sum()
    loss, hits = (world.sum(sums) / len(split)).tolist()
    return Score(loss, hits)


def _read(pictures: Tensor | Split, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
    """The pictures of each chunk, [B, H, W, 3]; the next is read while one is computed."""

    def read(indices: Tensor) -> Tensor:
        if isinstance(pictures, Tensor):
            return pictures[indices.to(pictures.device)]
        return pictures.pixels(indices)

    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(read, indices) for indices in chunks[:1]]
        for indices in (*chunks[1:], None):
            ready = waiting.pop().result()
            if indices is not None:
                waiting.append(reader.submit(read, indices))
            yield ready
