"""attnvgg-train --dry-run: what a run would take, from a few real steps; nothing is written."""

import resource
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from attnvgg_training import data
from attnvgg_training.begin import Request, alone, describe, make
from attnvgg_training.data import normalise
from attnvgg_training.distributed import World
from attnvgg_training.loop import Score, Trainer, predict

WARM, MEASURED, SECONDS = 2, 20, 60.0
SAMPLE = 256  # test pictures


@dataclass
class Watch:
    """Given to the trainer as its `stop`: notes when each step ended, and stops after enough.

    The first steps are not measured: they compile, and fill caches.
    """

    device: torch.device
    begun: float = field(default_factory=time.perf_counter)
    ends: list[float] = field(default_factory=list)

    def __call__(self) -> bool:
        """Whether enough steps are measured."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.ends.append(time.perf_counter())
        steps = len(self.ends) - WARM
        return steps >= MEASURED or (steps > 0 and self.ends[-1] - self.ends[WARM - 1] > SECONDS)

    @property
    def first(self) -> float:
        """Seconds of the first step, compiling and the start of the loader included."""
        return self.ends[0] - self.begun

    @property
    def measured(self) -> list[float]:
        """Seconds of each step that counts."""
        steps = [after - before for before, after in pairwise([self.begun, *self.ends])]
        return steps[WARM:] or steps[-1:]


def dry_run(request: Request, world: World) -> list[str]:
    """The lines to print; only the first process has any.

    Raises:
        TrainingError, OSError: what a run would raise before and in its first steps.
    """
    dataset = alone(world, lambda: data.load(request.data, request.recipe.data))
    with closing(make(request, dataset, world)) as trainer:
        watch = _watched(trainer, 1)
        later = _watched(trainer, trainer.config.train.epochs) if _kept(trainer) else None
        lines = [*describe(request, trainer), *_memory(trainer), *_times(trainer, watch, later)]
        return lines if world.first else []


def _watched(trainer: Trainer, epoch: int) -> Watch:
    """The steps of an epoch, as many as are measured."""
    watch = Watch(trainer.device)
    while isinstance(trainer.train_epoch(epoch, 0, watch), Score) and not watch():
        pass  # a small data set is gone through several times; it does not ask at the end
    return watch


def _kept(trainer: Trainer) -> int:
    """In how many epochs, the last ones, the maps are held near the teacher's."""
    return trainer.config.train.epochs - trainer.teacher.after if trainer.teacher else 0


def _times(trainer: Trainer, watch: Watch, later: Watch | None) -> list[str]:
    """later: the steps of the epochs whose maps are kept, which take longer."""
    train, step = trainer.config.train, median(watch.measured)
    testing = _test_seconds(trainer)
    epoch = trainer.steps * step + testing
    extra = max(0.0, watch.first - step)
    compiling = "compiling" if train.compile else "the first step, beside a usual one"
    whole = train.epochs * epoch + extra
    lines = [
        f"step: {_rate(train.batch_size, watch)}",
        f"epoch: {_time(epoch)} expected: {trainer.steps} steps of {train.batch_size} pictures, "
        f"{_time(testing)} for the test",
    ]
    if later:
        slower = trainer.steps * (median(later.measured) - step)
        whole += _kept(trainer) * slower
        lines += [
            f"step, maps kept: {_rate(train.batch_size, later)}",
            f"epoch, maps kept: {_time(epoch + slower)} expected: the last {_kept(trainer)} epochs",
        ]
    return [
        *lines,
        f"run: {_time(whole)} expected: {train.epochs} epochs, and once "
        f"{_time(extra)} for {compiling}",
    ]


def _rate(pictures: int, watch: Watch) -> str:
    step = median(watch.measured)
    measured = f"(measured, median of {len(watch.measured)})"
    return f"{_time(step)}, {pictures / step:.0f} pictures a second {measured}"


def _test_seconds(trainer: Trainer) -> float:
    """Expected, from a part of the test pictures."""
    model = trainer.average.module if trainer.average else trainer.model
    test = trainer.data.test
    sample = test.pixels(torch.arange(min(SAMPLE, len(test))))
    seconds = 0.0
    for _ in range(2):  # the first is warm-up
        begun = time.perf_counter()
        with trainer.precision.autocast():
            predict(model, sample, trainer.mean, trainer.std, trainer.device)
        seconds = time.perf_counter() - begun
    return seconds * len(test) / len(sample) / trainer.world.size


def _memory(trainer: Trainer) -> list[str]:
    """What a process holds; on CUDA its peak is measured, on the CPU that of the whole process."""
    model, average = trainer.model, trainer.average
    teacher = trainer.teacher and trainer.teacher.module
    held = {
        "weights": _bytes([*model.parameters(), *model.buffers()]),
        "gradients": _bytes(p for p in model.parameters() if p.requires_grad),
        "optimizer": _bytes(
            value
            for state in trainer.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ),
        "average": _bytes(average.module.state_dict().values()) if average else 0,
        **({"teacher": _bytes(teacher.state_dict().values())} if teacher else {}),
    }
    splits = (trainer.data.train, trainer.data.test)
    pictures = [split.images for split in splits if isinstance(split, data.MemorySplit)]
    where = f"{_size(_bytes(pictures))} (exact)" if pictures else "read as needed by workers"
    if trainer.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(trainer.device)
        most = f"peak on {trainer.device}: {_size(peak)} (measured)"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        most = f"peak of the process: {_size(peak)} (measured; Python, torch and all else)"
    return [
        "memory: " + ", ".join(f"{name} {_size(n)}" for name, n in held.items()) + " (exact)",
        f"activations: {_size(_activations(trainer))} (estimated: what backward keeps for a few "
        "pictures, counted without compiling, times those of a step's part)",
        f"pictures: {where}",
        most,
    ]


def _activations(trainer: Trainer) -> float:
    """Bytes that a part of a step keeps for its backward pass."""
    train, device = trainer.config.train, trainer.device
    part = train.batch_size // train.accumulate // trainer.world.size
    few = min(8, part)
    indices = torch.arange(few)
    pixels = trainer.data.train.pixels(indices).to(device)
    targets = trainer.data.train.targets[indices].to(device)
    ours = {t.untyped_storage().data_ptr() for t in trainer.model.state_dict().values()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trainer.model.train()
    with saved_tensors_hooks(count, lambda tensor: tensor), trainer.precision.autocast():
        logits = trainer.model(normalise(pixels, trainer.mean, trainer.std))
        F.cross_entropy(logits.float(), targets)
        return sum(kept.values()) * part / few


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
