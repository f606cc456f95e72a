"""Reading pictures in processes of their own, ahead of the training steps that need them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from attnvgg_training.data.split import Split
from attnvgg_training.errors import DataError

MOST_WORKERS = 8
AHEAD = 4


class WorkerReader:
    """Batches of a split in the order asked for, `AHEAD` of them a worker read in advance.

    Workers are spawned, not forked: a fork copies the locks of this process's threads (OpenMP,
    autograd, CUDA, logging) in whatever state they are, and a worker that needs one hangs. The
    price is some seconds at the first epoch, for the imports. They end with `close`, and with this
    process, however it ends.
    """

    def __init__(self, split: Split, device: torch.device, workers: int | None = None) -> None:
        self.device = device
        self._order = _Order()
        self._workers = _cores() if workers is None else workers
        self._pictures = _Pictures(split)
        self._loader: DataLoader[Tensor | DataError] | None = None

    def read(self, batches: Tensor) -> Iterator[Tensor]:
        """uint8 [B, H, W, 3] on the device for each row of `batches`, int64 [steps, B].

        Raises:
            DataError: a picture cannot be read, or a worker was ended from outside.
        """
        self._order.batches = batches.tolist()
        if self._loader is None:
            self._loader = self._start()
        try:
            with _deaf_to_interrupts(), _without_alarm():
                source = iter(self._loader)
            for read in source:
                if isinstance(read, DataError):
                    raise read
                yield read.to(self.device, non_blocking=True)
        # The others come from fetching a batch that a dead worker had announced.
        except (RuntimeError, EOFError, OSError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self.close()
            raise DataError(
                f"a process that reads pictures has ended ({error}); out of memory, or of shared "
                "memory (/dev/shm), is the usual reason"
            ) from error

    def close(self) -> None:
        """Ends the workers, and waits for it."""
        running = getattr(self._loader, "_iterator", None)
        self._loader = None
        if running is not None:
            running._shutdown_workers()  # there is no public way while an epoch is unfinished

    def _start(self) -> "DataLoader[Tensor | DataError]":
        several = self._workers > 0
        return DataLoader(
            self._pictures,
            sampler=self._order,
            batch_size=None,  # the sampler gives whole batches
            num_workers=self._workers,
            persistent_workers=several,
            prefetch_factor=AHEAD if several else None,
            multiprocessing_context="spawn" if several else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_end_with_the_run if several else None,
            generator=torch.Generator(),  # or it would draw from the global one
        )


class _Order:
    """The sampler, whose batches change from epoch to epoch under the same workers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Pictures(Dataset[Tensor | DataError]):
    """What a worker runs. Errors are handed over as values: torch would wrap a traceback around
    one that is raised."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, indices: list[int]) -> Tensor | DataError:
        try:
            return self.split.pixels(torch.tensor(indices))
        except DataError as error:
            return DataError(str(error))


def _end_with_the_run(_worker: int) -> None:
    """Torch's watchdog, which looks every few seconds whether the parent is still the same, takes
    the wrong one for it if the run was killed while a worker was being started."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _cores() -> int:
    """Workers of this process: its share of the cores that the system lets it use."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # torchrun's, processes on this machine
    return max(1, min(MOST_WORKERS, cores // beside))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started within do not notice Ctrl-C, which a terminal sends to all: it is for the
    run alone to finish its step, for which it may need another batch."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # The first process to be spawned starts the tracker before, which unblocks the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_alarm() -> Iterator[None]:
    """Torch would raise the death of a worker in whatever the run does at that moment; without its
    handler the next read does, within five seconds."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
