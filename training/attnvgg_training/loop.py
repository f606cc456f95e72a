"""The training loop: one network, its averaged twin, SGD on a one-cycle schedule."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from attnvgg_training.config import Config, TrainConfig
from attnvgg_training.data import Dataset, Split, batches, normalise
from attnvgg_training.errors import DataError, DivergedError
from attnvgg_training.models import build

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60.0

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Score:
    """Mean loss and the part of the pictures classified correctly."""

    loss: float
    accuracy: float


class Trainer:
    """Everything that training changes, and the steps that change it.

    `weights()` is what to save and use; `state()` and `load_state()` carry a run over an
    interruption exactly.
    """

    def __init__(self, config: Config, data: Dataset, device: torch.device) -> None:
        self.config, self.data, self.device = config, data, device
        train = config.train
        self.steps = len(data.train) // train.batch_size
        if self.steps == 0:
            raise DataError(
                f"--batch-size is {train.batch_size}, but there are only {len(data.train)} "
                "training pictures; it must not be larger"
            )
        self.mean, self.std = data.statistics()
        torch.manual_seed(train.seed)
        memory = torch.channels_last if train.channels_last else torch.contiguous_format
        self.model = build(config.model, len(data.labels)).to(device)
        self.model = self.model.to(memory_format=memory)  # type: ignore[call-overload]
        self.step_model = torch.compile(self.model) if train.compile else self.model
        self.averaged = AveragedModel(self.model, multi_avg_fn=_ema(train.ema), use_buffers=True)
        self.optimizer = _sgd(self.model, train)
        self.schedule = OneCycleLR(
            self.optimizer,
            max_lr=train.lr,
            total_steps=max(2, self.steps * train.epochs),
            pct_start=train.warmup,
            cycle_momentum=False,
        )

    def train_epoch(self, epoch: int) -> Score:
        """Trains on every picture once.

        Raises:
            DivergedError: the loss is no longer a number.
        """
        # Dropout draws from the global generator: a function of (seed, epoch), like all else.
        torch.manual_seed(self.config.train.seed * 1_000_003 + epoch)
        self.model.train()
        total = correct = 0.0
        for step, (images, targets) in enumerate(self._batches(epoch), start=1):
            loss, hits = self._step(images.to(self.device), targets.to(self.device))
            if not math.isfinite(loss):
                rate = self.schedule.get_last_lr()[0]
                raise DivergedError(
                    f"the loss is {loss} in epoch {epoch}, step {step} of {self.steps}, at "
                    f"learning rate {rate:.3g}; a lower --lr or a longer --warmup may hold it"
                )
            total, correct = total + loss, correct + hits
        return Score(total / self.steps, correct / (self.steps * self.config.train.batch_size))

    def test(self) -> Score:
        """Tests the averaged weights, in the precision of training."""
        model = self.averaged if self.config.train.ema else self.model
        with self._autocast():
            return evaluate(model, self.data.test, self.mean, self.std, self.device)

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where averaging is on."""
        model = self.averaged.module if self.config.train.ema else self.model
        return model.state_dict()

    def state(self) -> dict[str, Any]:
        """What resume needs beside the configuration."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues from what `state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        names = ("model", "averaged", "optimizer", "schedule")
        return {name: getattr(self, name) for name in names}

    def _step(self, images: Tensor, targets: Tensor) -> tuple[float, int]:
        train = self.config.train
        with self._autocast():
            logits = self.step_model(normalise(images, self.mean, self.std)).float()
        loss = F.cross_entropy(logits, targets, label_smoothing=train.label_smoothing)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        if train.ema:
            self.averaged.update_parameters(self.model)
        return loss.item(), int((logits.argmax(1) == targets).sum())

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        source = batches(
            self.data.train, config.train.batch_size, config.data, config.train.seed, epoch
        )
        title = f"epoch {epoch}/{config.train.epochs}"
        last = time.monotonic()
        # disable=None shows the bar on a terminal only; a log gets a line a minute instead.
        bar = tqdm(source, title, self.steps, leave=False, unit="batch", disable=None)
        for step, batch in enumerate(bar, start=1):
            yield batch
            if bar.disable and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                log.info("%s: step %d of %d", title, step, self.steps)

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.config.train.amp == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Tensor,
    mean: list[float],
    std: list[float],
    device: torch.device,
    size: int = 256,
) -> Tensor:
    """Logits float32 [N, K] of uint8 pictures [N, H, W, 3], in evaluation mode."""
    model.eval()
    parts = [model(normalise(x.to(device), mean, std)).float().cpu() for x in images.split(size)]
    return torch.cat(parts)


def evaluate(
    model: nn.Module, split: Split, mean: list[float], std: list[float], device: torch.device
) -> Score:
    """Loss and accuracy on a split."""
    logits = predict(model, split.images, mean, std, device)
    loss = F.cross_entropy(logits, split.targets).item()
    return Score(loss, (logits.argmax(1) == split.targets).double().mean().item())


def _ema(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An average whose memory grows from 10 steps to 1 / (1 - decay): with the full decay from the
    start, a short run would test little but its untrained weights."""

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(now)(averaged, current, count)

    return update


def _sgd(model: nn.Module, train: TrainConfig) -> torch.optim.SGD:
    """Weight decay on matrices only: batch norm, biases and u decide scale, not capacity."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": train.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=True)
