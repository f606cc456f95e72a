"""16-bit arithmetic: autocast around the forward pass, scaled gradients where fp16 needs them.

Weights, the optimizer and the loss stay in float32. The gradients of fp16 are scaled up, out of
the reach of its smallest number; a step in which they overflow is skipped, and the scale halved.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

TYPES = {"off": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """amp: off, bf16 or fp16. clip: the largest norm of the gradients, or 0."""

    def __init__(self, amp: str, clip: float, device: torch.device) -> None:
        self.amp, self.clip, self.device = amp, clip, device
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager[None]:
        """Around everything that may run in 16 bits."""
        return torch.autocast(self.device.type, TYPES[self.amp], enabled=self.amp != "off")

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss to those that are there."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer) -> bool:
        """Moves the weights along the gradients, and clears them.

        Returns:
            False where a gradient of fp16 overflowed and the weights stayed as they were.
        """
        if self.clip:
            self.scaler.unscale_(optimizer)
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            clip_grad_norm_(weights, self.clip)
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        return self.scaler.get_scale() >= scale

    def state_dict(self) -> dict[str, Any]:
        """What resume needs: the scale and its age; empty but for fp16."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.scaler.load_state_dict(state)
