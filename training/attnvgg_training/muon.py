"""Muon: momentum whose kernels step in orthogonalised form.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The momentum of a
kernel, as a matrix [outputs, inputs * height * width], is replaced by the nearest matrix whose
singular values are all about 1, so that a step changes every direction alike instead of the few
that dominate the gradient. Everything else steps by SGD with Nesterov's momentum: the first
convolution, the last linear layer, batch norms and u. torch.optim.Muon takes matrices alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, from the publication


class Muon(SGD):
    """SGD whose groups may say `orthogonal: momentum`; such a group has no momentum of SGD's own,
    and its weight decay is decoupled: what is subtracted is lr * (direction + decay * weight)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """See torch.optim.SGD."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if "orthogonal" not in group:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = self._direction(parameter, group["orthogonal"])
        super().step()
        return loss

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "average" not in state:
            state["average"] = torch.zeros_like(parameter)
        average = state["average"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(average, momentum)  # Nesterov's
        outputs, inputs = len(parameter), parameter[0].numel()
        # In channels_last, as a kernel lies in memory; the order of the columns changes nothing.
        matrix = ahead.movedim(1, -1).flatten(1)
        found = orthogonalised(matrix) * max(1.0, outputs / inputs) ** 0.5
        rows = found.unflatten(1, (*parameter.shape[2:], parameter.shape[1]))
        return torch.empty_like(parameter).copy_(rows.movedim(-1, 1))


def orthogonalised(matrix: Tensor) -> Tensor:
    """[n, m] -> about U V^T of its singular value decomposition, by Newton and Schulz's iteration
    in bfloat16: singular values come out between 0.7 and 1.2, which does as well as 1."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
