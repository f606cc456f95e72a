"""The training loop: a network, its average, and the steps that change them.

Everything random is a function of (seed, epoch, step, rank) or of (seed, epoch, picture), and the
learning rate of the step alone, so that a run stopped anywhere and resumed gives the same weights.

With several processes, each computes its part of every step's pictures, and the gradients are
averaged (DistributedDataParallel). Batch norm takes its statistics from a process's own part; the
running ones are the first process's, as is everything that is written.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from attnvgg_training.compiling import compiler_errors
from attnvgg_training.config import Config
from attnvgg_training.data import Dataset, normalise
from attnvgg_training.data.loader import Batch, Loader, sample
from attnvgg_training.distributed import World
from attnvgg_training.ema import Average
from attnvgg_training.errors import CheckpointError, ConfigError, DataError
from attnvgg_training.initialisation import whiten
from attnvgg_training.losses import answering, loss_of
from attnvgg_training.mixing import mixing
from attnvgg_training.models import build
from attnvgg_training.optim import optimizer
from attnvgg_training.precision import Precision
from attnvgg_training.schedules import rate_at
from attnvgg_training.scoring import Score, evaluate, predict
from attnvgg_training.tally import Tally
from attnvgg_training.teacher import Teacher

__all__ = ["Progress", "Score", "Trainer", "evaluate", "normalise", "predict"]
log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60.0


@dataclass(frozen=True)
class Progress:
    """Where an epoch was stopped: `step` steps of it are done."""

    epoch: int
    step: int


class Trainer:
    """Everything that training changes, and the steps that change it.

    `weights()` is what to save and use; `state()` and `load_state()` carry a run over an
    interruption exactly, between any two steps.

    Args:
        config, data: what to train, on what.
        device: of this process.
        world: the processes that train together; `World.joined` is around them.
        initial: weights to start from, by name; those that are not there start at random.

    Raises:
        ConfigError, DataError: the settings do not fit the data, or the number of processes.
        CheckpointError: `initial` does not fit the network.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        device: torch.device,
        world: World | None = None,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.world = world or World()
        train = config.train
        _check_batch(config, len(data.train), self.world)
        self.loader = Loader(data.train, config, device, self.world.rank, self.world.size)
        self.steps = self.loader.steps
        self.mean, self.std = data.statistics()
        torch.manual_seed(train.seed)
        memory = torch.channels_last if train.channels_last else torch.contiguous_format
        self.model = build(config.model, len(data.labels)).to(device)
        self.model = self.model.to(memory_format=memory)  # type: ignore[call-overload]
        if config.model.initialisation == "whitened" and not initial:
            whiten(self.model, normalise(sample(data.train), self.mean, self.std).to(device))
        _load(self.model, initial or {})
        if not train.learn_maps:
            for estimator in self.model.attention.values():
                nn.init.zeros_(estimator.get_parameter("u")).requires_grad_(False)
        self.average = Average(self.model, train.ema) if train.ema else None
        self.teacher = Teacher(self.model, train) if train.keep_maps else None
        self.optimizer = optimizer(self.model, train)
        self.precision = Precision(train.amp, train.clip, device)
        self.mix = mixing(train, len(data.labels))
        alone_on_cpu = self.world.size == 1 and device.type == "cpu"
        self.tally = Tally(self.steps, self.world, eager=alone_on_cpu)
        self.shared: DistributedDataParallel | None = None

    def train_epoch(
        self, epoch: int, start: int = 0, stop: Callable[[], bool] = lambda: False
    ) -> Score | Progress:
        """Trains on every picture once.

        Args:
            epoch: from 1.
            start: steps of the epoch that are done; the state must be of then.
            stop: asked after every step. Where it says so in any process, all of them stop there.

        Returns:
            The score, or how far it came if it was stopped before the end.

        Raises:
            DivergedError: the loss or a weight is no longer a number.
            ConfigError: the network cannot be compiled.
        """
        if start == 0:
            self.tally.start(epoch)
        model = self.average.module if self.average else self.model
        if self.teacher and (teacher := self.teacher.begin(epoch, model)):
            self.world.broadcast(teacher.buffers())  # as in test
        self.model.train()
        step = start
        for step, batch in enumerate(self._batches(epoch, start), start=start + 1):
            rate = self._set_rate(epoch, step)
            torch.manual_seed(self._seed(epoch, step))
            self.tally.note(step, rate, *self._step(batch.images, batch.targets))
            if step < self.steps and self.world.any(stop()):
                break
        self.tally.look()
        self.tally.check(list(self.model.state_dict().values()), step, self.rate)
        return self._score() if step == self.steps else Progress(epoch, step)

    def test(self) -> Score:
        """Tests the averaged weights, in the precision of training; a part in each process."""
        model = self.average.module if self.average else self.model
        self.world.broadcast(model.buffers())  # each process has seen other statistics
        with self.precision.autocast():
            return evaluate(model, self.data.test, self.mean, self.std, self.device, self.world)

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where averaging is on."""
        return (self.average.module if self.average else self.model).state_dict()

    def state(self) -> dict[str, Any]:
        """What resume needs beside the configuration and the epoch and step."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues from what `state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def close(self) -> None:
        """Ends what reads the pictures."""
        self.loader.close()

    def _parts(self) -> dict[str, Any]:
        names = ("model", "average", "teacher", "optimizer", "precision", "tally")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @cached_property
    def _step_model(self) -> nn.Module:
        """The network as steps call it. Made at the first one: the processes meet here, and none
        must miss it for an error in the constructor."""
        model = answering(self.model, self.config.train)
        if self.world.size > 1:
            self.shared = DistributedDataParallel(model, gradient_as_bucket_view=True)
        model = self.shared or model
        return torch.compile(model) if self.config.train.compile else model  # type: ignore[return-value]

    def _step(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One step; gives its mean loss and how many pictures were classified correctly."""
        images = normalise(pixels, self.mean, self.std)
        if not self.config.train.channels_last:
            images = images.contiguous()
        wanted = targets
        if self.mix is not None:
            images, wanted = self.mix(images, targets)
        with compiler_errors() if self.config.train.compile else nullcontext():
            loss, logits = self._gradients(images, wanted)
        if self.precision.step(self.optimizer) and self.average:
            self.average.update()
        return loss, (logits.argmax(1) == targets).sum()

    def _gradients(self, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and logits of a step, computed in parts; the gradients are those of the
        whole, up to batch norm, which sees a part."""
        parts = self.config.train.accumulate
        size = len(images) // parts
        losses, logits = [], []
        model = self._step_model
        for part in range(parts):
            here = slice(part * size, (part + 1) * size)
            with self._together(last=part == parts - 1):
                with self.precision.autocast():
                    answered = model(images[here])
                    kept = self.teacher.maps(images[here]) if self.teacher else None
                found, loss = loss_of(answered, wanted[here], self.config.train, kept)
                logits.append(found)
                losses.append(loss / parts if parts > 1 else loss)
                self.precision.backward(losses[-1])
        with torch.no_grad():
            return torch.stack(losses).sum(), torch.cat(logits)

    def _together(self, last: bool) -> AbstractContextManager[None]:
        """The processes average their gradients with the last part's."""
        if self.shared is None or last:
            return nullcontext()
        waits: AbstractContextManager[None] = self.shared.no_sync()
        return waits

    def _seed(self, epoch: int, step: int) -> int:
        """Of dropout and mixing; hashing keeps neighbouring steps independent."""
        text = f"{self.config.train.seed}/{epoch}/{step}/{self.world.rank}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def _set_rate(self, epoch: int, step: int) -> float:
        rate = rate_at(self.config.train, self.steps, (epoch - 1) * self.steps + step - 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        return rate

    def _score(self) -> Score:
        pictures = self.steps * self.config.train.batch_size
        accuracy = float("nan") if self.mix else self.tally.hits / pictures
        return Score(self.tally.loss / self.steps, accuracy)

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        source = self.loader.epoch(epoch, start)
        if not self.world.first:
            return iter(source)
        title = f"epoch {epoch}/{self.config.train.epochs}"
        return _reported(source, title, start, self.steps)


def _reported(source: Iterable[Batch], title: str, start: int, steps: int) -> Iterator[Batch]:
    """A bar on a terminal; a log gets a line a minute instead."""
    last = time.monotonic()
    with tqdm(  # disable=None: on a terminal only
        source, title, steps, initial=start, leave=False, unit="batch", disable=None
    ) as bar:
        for step, batch in enumerate(bar, start=start + 1):
            yield batch
            if bar.disable and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                log.info("%s: step %d of %d", title, step, steps)


def _check_batch(config: Config, pictures: int, world: World) -> None:
    size, parts = config.train.batch_size, config.train.accumulate * world.size
    if size > pictures:
        raise DataError(
            f"--batch-size is {size}, but there are only {pictures} training pictures; it must "
            "not be larger"
        )
    if size % parts or size < 2 * parts:
        raise ConfigError(
            f"--batch-size is {size}; with {world.size} processes and --accumulate "
            f"{config.train.accumulate} it must be a multiple of {parts} and at least {2 * parts}"
        )


def _load(model: nn.Module, initial: dict[str, Tensor]) -> None:
    try:
        unexpected = model.load_state_dict(initial, strict=False).unexpected_keys
    except RuntimeError as error:
        raise CheckpointError(
            f"the initial weights do not fit: {str(error).splitlines()[-1].strip()}"
        ) from error
    if unexpected:
        raise CheckpointError(f"the network has no weights named {', '.join(unexpected[:3])}")
