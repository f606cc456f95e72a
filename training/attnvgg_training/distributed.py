"""The processes that train one network together: who they are, and what they tell each other.

torchrun starts them and says who is who in the environment. They speak through gloo, and between
CUDA devices through NCCL. Alone, a process asks nobody.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from attnvgg_training.errors import ConfigError, OtherProcessError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class World:
    """rank: of this process among `size`. local_rank: among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "World":
        """As torchrun has it, or this process alone.

        Raises:
            ConfigError: the variables are incomplete or no numbers.
        """
        if "WORLD_SIZE" not in environment:
            return cls()
        given = {name: environment.get(name, "") for name in NAMES}
        if not all(value.isdecimal() for value in given.values()):
            found = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise ConfigError(f"the environment has {found}; torchrun sets all to numbers")
        return cls(*(int(given[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    def device(self, name: str | None) -> torch.device:
        """The device of this process: --device, or CUDA where there is one; with several processes
        the CUDA device of its local rank.

        Raises:
            ConfigError: there is no such device, or none for this process.
        """
        name = name or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
            if self.size > 1 and device.type == "cuda":
                device = self._own_cuda(device)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"--device {name} cannot be used: {error}") from error
        return device

    def _own_cuda(self, device: torch.device) -> torch.device:
        if device.index is not None:
            raise ConfigError(
                f"--device {device} names one device for {self.size} processes; give cuda alone, "
                "and each takes its own"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"process {self.local_rank} of this machine has no CUDA device, there are "
                f"{torch.cuda.device_count()}; lower torchrun's --nproc-per-node"
            )
        return torch.device("cuda", self.local_rank)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Around everything that the processes do together.

        Raises:
            ConfigError: they did not find each other.
            OtherProcessError: another process has ended.
        """
        if self.size == 1:
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"the processes did not find each other: {reason}") from error
        try:
            yield
        except RuntimeError as error:
            if not _lost(error):
                raise
            raise OtherProcessError("another process of this run has ended; it says why") from error
        # Not after an error: NCCL would wait for processes that will not come.
        dist.destroy_process_group()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any process says so. Through gloo: no CUDA device is waited for."""
        return bool(self.sum(torch.tensor(float(flag)))) if self.size > 1 else flag

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Gives every process the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def _lost(error: RuntimeError) -> bool:
    """Whether an error is about another process; gloo's have no class of their own."""
    text = str(error).lower()
    lost = ("closed by peer", "reset by peer", "gloo", "nccl", "process group")
    return isinstance(error, dist.DistError) or any(words in text for words in lost)
