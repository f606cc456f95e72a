"""From what was asked for to a trainer: data, network, start; and a run of it.

With several processes each does this for itself, and they compare notes before they go on: an
error of one ends all, with one message.
"""

import logging
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from attnvgg_training import data, initial, models
from attnvgg_training.config import Config
from attnvgg_training.data import Dataset
from attnvgg_training.distributed import World
from attnvgg_training.errors import ConfigError, OtherProcessError, TrainingError
from attnvgg_training.initial import Initial
from attnvgg_training.lock import Lock
from attnvgg_training.loop import Trainer
from attnvgg_training.resume import Origin
from attnvgg_training.run import Run
from attnvgg_training.stop import Stop

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    data: see data.load. run: the folder. init: a checkpoint whose weights are the start.
    minutes: after which to end, counted from `started`, a time.monotonic().
    """

    recipe: Config
    data: str
    run: Path
    device: torch.device
    resume: bool = False
    init: Path | None = None
    minutes: float | None = None
    started: float | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"--minutes is {self.minutes}; it must be more than 0")


@dataclass(frozen=True)
class End:
    """How a run ended; `text` says how far it came, `signal` what stopped it if one did."""

    finished: bool
    text: str
    signal: int | None


def train(request: Request, world: World) -> End:
    """Trains until the end, a signal, or the end of the minutes.

    Raises:
        TrainingError, OSError: a setting, the data or a checkpoint is wrong, the loss diverged, or
            a checkpoint cannot be written.
    """
    lock = Lock(request.run)
    try:
        # Early where there is something to lock: reading data may take minutes. A folder that is
        # not there is made when nothing can be wrong any more.
        alone(world, lambda: _started(request, world, lock if request.run.exists() else None))
        dataset = _load(request, world)
        last = alone(world, lambda: _started(request, world, None))
        start = None if last else alone(world, lambda: _initial(request, dataset))
        origin = Origin(_facts(dataset), _identity(request, start))
        with closing(make(request, dataset, world, start)) as engine:
            for line in describe(request, engine):
                log.info(line)
            last = alone(world, lambda: _started(request, world, lock))
            run = Run(request.run, engine, origin, world)
            if last:
                alone(world, lambda: run.resume(last))
            every, several = request.recipe.train.save_minutes, world.size > 1
            stop = Stop(every, request.minutes, request.started, several, world.first)
            with stop.listening():
                finished = run.go(stop)
            return _end(run, stop, request, finished)
    finally:
        lock.release()


def make(request: Request, dataset: Dataset, world: World, start: Initial | None = None) -> Trainer:
    """The network and what trains it."""
    weights = start.weights if start else None
    return alone(world, lambda: Trainer(request.recipe, dataset, request.device, world, weights))


def describe(request: Request, trainer: Trainer) -> list[str]:
    """What is to be trained, on what."""
    recipe, world, found = request.recipe, trainer.world, trainer.data
    size = models.parameters(trainer.model)
    cost = models.gmacs(recipe.model, recipe.data.image_size)
    where = f"{request.device}, {world.size} processes" if world.size > 1 else f"{request.device}"
    return [
        f"{recipe.model.name}: {size} parameters, {cost:.3f} GMAC a picture; on {where}",
        f"{request.data}: {len(found.train)} training and {len(found.test)} test pictures, "
        f"{len(found.labels)} classes",
    ]


def alone(world: World, action: Callable[[], T]) -> T:
    """Something that every process does by itself before they go on together.

    Raises:
        TrainingError, OSError: it failed here.
        OtherProcessError: it failed in another process, which is the one to say so.
    """
    error, result = None, None
    try:
        result = action()
    except (TrainingError, OSError) as caught:
        error = caught
    failed = torch.zeros(world.size)
    failed[world.rank] = error is not None
    world.sum(failed)
    if not failed.any():
        return result  # type: ignore[return-value]
    if error is not None and int(failed.argmax()) == world.rank:
        raise error
    raise OtherProcessError("another process of this run has failed; it says why")


def _load(request: Request, world: World) -> Dataset:
    """The first process reads the data, the others after it: what it downloads, unpacks and
    surveys is there for them."""

    def load() -> Dataset:
        return data.load(request.data, request.recipe.data)

    first = alone(world, load if world.first else lambda: None)
    rest = alone(world, (lambda: None) if world.first else load)
    return first or rest  # type: ignore[return-value]


def _started(request: Request, world: World, lock: Lock | None) -> Path | None:
    """The checkpoint to continue from, or None for a fresh run."""
    if lock and world.first:
        lock.take()
    last = request.run / "last"
    if last.exists() and not request.resume:
        raise ConfigError(
            f"--run {request.run} holds a run already; add --resume, or name another folder"
        )
    return last.resolve() if last.exists() else None


def _initial(request: Request, dataset: Dataset) -> Initial | None:
    if request.init is None:
        return None
    return initial.load(request.init, request.recipe.model, dataset.labels)


def _identity(request: Request, start: Initial | None) -> dict[str, object] | None:
    """Of the start; a resumed run does not need its --init any more, and compares it if it can."""
    if start:
        return start.identity
    if request.init is None or not request.init.exists():
        return None
    return initial.identity(request.init)


def _facts(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "train": len(dataset.train),
        "test": len(dataset.test),
        "fingerprint": dataset.fingerprint(),
    }


def _end(run: Run, stop: Stop, request: Request, finished: bool) -> End:
    why = f"the {request.minutes or 0:g} minutes are over"
    if stop.signal is not None:
        why = f"stopped by {signal.Signals(stop.signal).name}"
    text = f"not finished, {why} {run.where()}; saved as {run.folder / 'last'}"
    return End(finished, text, None if finished else stop.signal)
