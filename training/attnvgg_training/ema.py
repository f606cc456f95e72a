"""The running average of the weights, which is tested and saved in their place.

Its memory grows from 10 steps to 1 / (1 - decay): with the full decay from the start, a short run
would test little but its untrained weights. torch.optim.swa_utils.AveragedModel gives the same
weights, but keeps its count on the device and would wait for it at every step.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The average of a network's weights and buffers over the steps.

    module: the network with the averaged weights, in evaluation mode.
    count: the steps in it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = deepcopy(model).eval().requires_grad_(False)
        self.decay, self.count = decay, 0
        self._ours, self._theirs = _tensors(self.module), _tensors(model)

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights as they are after a step; counters are copied."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        ours, theirs = self._ours, self._theirs
        floats = [i for i, tensor in enumerate(ours) if tensor.is_floating_point()]
        others = [i for i, tensor in enumerate(ours) if not tensor.is_floating_point()]
        if decay:
            torch._foreach_lerp_([ours[i] for i in floats], [theirs[i] for i in floats], 1 - decay)
        else:
            others = list(range(len(ours)))
        for i in others:
            ours[i].copy_(theirs[i])
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """What resume needs."""
        return {"count": self.count, "weights": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.count = state["count"]
        self.module.load_state_dict(state["weights"])


def _tensors(model: nn.Module) -> list[Tensor]:
    """Weights and buffers; the tensors themselves, which steps and loading change in place."""
    return [p.detach() for p in model.parameters()] + list(model.buffers())
