"""The sums of an epoch, and the look at them that finds a loss which is no number.

A loss lies on the device until somebody looks, and a look waits for all that the device has to do.
So steps are noted as they are and looked at a few at a time: a CUDA device is kept busy, and the
step where a run went wrong is known exactly all the same, if somewhat later.
"""

import math

import torch
from torch import Tensor

from attnvgg_training.distributed import World
from attnvgg_training.errors import DivergedError

STEPS_BETWEEN_LOOKS = 20


class Tally:
    """Losses and hits of the steps of an epoch, over all processes.

    steps: of an epoch, for messages. eager: look at every step, which costs nothing on the CPU.
    """

    def __init__(self, steps: int, world: World, eager: bool) -> None:
        self.steps, self.world = steps, world
        self.interval = 1 if eager else STEPS_BETWEEN_LOOKS
        self._noted: list[tuple[int, float, Tensor]] = []
        self.start(0)

    def start(self, epoch: int) -> None:
        """Forgets the last epoch."""
        self.epoch, self.loss, self.hits = epoch, 0.0, 0
        self._noted.clear()

    def note(self, step: int, rate: float, loss: Tensor, hits: Tensor) -> None:
        """Takes in a step, counted from 1, with its learning rate and its scalars.

        Raises:
            DivergedError: see `look`.
        """
        self._noted.append((step, rate, torch.stack((loss.detach().double(), hits.double()))))
        if len(self._noted) >= self.interval:
            self.look()

    def look(self) -> None:
        """Adds what was noted to the sums; the processes must all look at the same steps.

        Raises:
            DivergedError: a loss is no longer a number.
        """
        if not self._noted:
            return
        sums = self.world.sum(torch.stack([scalars for *_, scalars in self._noted])).tolist()
        for (step, rate, _), (loss, hits) in zip(self._noted, sums, strict=True):
            if not math.isfinite(loss):
                raise DivergedError(self._message(f"the loss is {loss}", step, rate))
            self.loss += loss / self.world.size
            self.hits += int(hits)
        self._noted.clear()

    def check(self, tensors: list[Tensor], step: int, rate: float) -> None:
        """Looks at weights before they are saved: the last step may have spoilt them.

        Raises:
            DivergedError: one is no longer a number.
        """
        finite = torch.stack([t.isfinite().all() for t in tensors if t.is_floating_point()])
        if self.world.any(not finite.all()):
            raise DivergedError(self._message("a weight is no longer a number", step, rate))

    def _message(self, what: str, step: int, rate: float) -> str:
        return (
            f"{what} in epoch {self.epoch}, step {step} of {self.steps}, at learning rate "
            f"{rate:.3g}; a lower --lr or a longer --warmup may hold it"
        )

    def state_dict(self) -> dict[str, float]:
        """The sums so far."""
        return {"epoch": self.epoch, "loss": self.loss, "hits": self.hits}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continues from what `state_dict` gave."""
        self.start(int(state["epoch"]))
        self.loss, self.hits = state["loss"], int(state["hits"])
