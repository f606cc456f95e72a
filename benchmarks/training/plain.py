"""The loop that our engine is compared with, as it is written everywhere.

Pictures in an array, torchvision's transforms one picture at a time in the workers of a DataLoader,
float32, contiguous memory, eager; SGD with Nesterov's momentum, cross-entropy, the loss fetched
after every step. Nothing is slower than it need be: workers persist, memory is pinned for a GPU.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from attnvgg_training import torchvision_shim  # noqa: F401, before torchvision itself

from torchvision import transforms  # isort: skip

PREFETCH = 2  # DataLoader's own


class Pictures(Dataset[tuple[Tensor, int]]):
    """images: uint8 [N, H, W, 3]. targets: N class numbers."""

    def __init__(self, images: NDArray[np.uint8], targets: list[int], transform: Any) -> None:
        self.images, self.targets, self.transform = images, targets, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.targets[index]


class PlainLoop:
    """A network and what trains it; `slot` gives a rate."""

    def __init__(
        self,
        model: nn.Module,
        images: NDArray[np.uint8],
        targets: list[int],
        batch: int,
        workers: int,
        device: str,
    ) -> None:
        size = images.shape[1]
        transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )
        self.loader = DataLoader(
            Pictures(images, targets, transform),
            batch_size=batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device == "cuda",
        )
        self.device, self.batch = device, batch
        self.warmup = PREFETCH * workers + 1  # what was read before the slot began
        self.model = model.to(device)
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def slot(self, steps: int) -> float:
        """Pictures a second over `steps` steps, after those of the warm-up."""
        self.model.train()
        batches = self._batches()
        for _ in range(self.warmup):
            self._step(*next(batches))
        start = time.perf_counter()
        for _ in range(steps):
            self._step(*next(batches))
        return steps * self.batch / (time.perf_counter() - start)

    def close(self) -> None:
        """Its workers end with it."""

    def _step(self, images: Tensor, targets: Tensor) -> float:
        images = images.to(self.device, non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()  # waits for a GPU

    def _batches(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader
