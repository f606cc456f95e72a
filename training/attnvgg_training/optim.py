"""The optimizers, and which weights they change.

Weight decay is on matrices and kernels alone unless decay_all is set: batch norm, biases and u
decide scale, not capacity. The official code decays everything.

Weights that no output depends on (g under pc with softmax: attention.py) get a gradient that is
nothing but rounding noise, about 1e-5 of a live one. SGD moves them by as little, and weight decay
shrinks them, which is what the authors saw. AdamW and Muon divide a gradient by its own size and
would make full steps out of the noise, so there such weights are left out and stay as they start.

Dampening: torch's SGD, like the Lua one of the official code, puts the first gradient undampened
into the momentum, where it counts ten times at a dampening of 0.9: the gradient of random weights,
for the length of the momentum. Here the momentum starts at zero, so that lr 1 with dampening 0.9 is
lr 0.1 without.
"""

import logging
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from attnvgg_training.config import TrainConfig
from attnvgg_training.muon import Muon
from attnvgg_training.network import Network

log = logging.getLogger(__name__)
Named = dict[str, nn.Parameter]
NAMES = {"adamw": "AdamW", "muon": "Muon"}


def optimizer(model: Network, train: TrainConfig) -> Optimizer:
    """Over the weights of a network; the learning rate of every group is set before every step, to
    `factor` times that of the schedule."""
    if train.optimizer == "sgd":
        return _sgd(dict(model.named_parameters()), train, shifts(model))
    alive, dead = living(model)
    if dead:
        count = sum(p.numel() for p in dead.values())
        log.info(
            "%s leaves out %d weights that no output depends on", NAMES[train.optimizer], count
        )
    if train.optimizer == "muon":
        return _sgd(alive, train, shifts(model))
    # One kernel for all weights, on a device where starting kernels is what takes the time.
    fused = next(model.parameters()).is_cuda
    return AdamW(_groups(alive, train, shifts(model)), lr=train.lr, fused=fused)


def living(model: Network) -> tuple[Named, Named]:
    """By name the weights that an output depends on, and those that none does."""
    named = dict(model.named_parameters())
    if model.g_matters:
        return named, {}
    kept = {name for name, _ in model.cut().named_parameters()}
    alive = {name: p for name, p in named.items() if name in kept}
    return alive, {name: p for name, p in named.items() if name not in kept}


def shifts(model: nn.Module) -> set[str]:
    """The names of the shifts of batch norms."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    return {f"{name}.bias" for name, each in model.named_modules() if isinstance(each, norms)}


def _sgd(named: Named, train: TrainConfig, of_norms: set[str]) -> SGD:
    kernels = {}
    if train.optimizer == "muon":  # the first convolution is best left to SGD (muon.py)
        kernels = dict([(n, p) for n, p in named.items() if p.ndim == 4][1:])
    rest = {name: p for name, p in named.items() if name not in kernels}
    groups = _groups(rest, train, of_norms)
    if kernels:
        muon = {"weight_decay": train.muon_decay, "factor": train.muon_lr / train.lr}
        muon |= {"orthogonal": train.momentum, "momentum": 0.0, "nesterov": False}
        groups.append({"params": list(kernels.values()), **muon})
    built = (Muon if kernels else SGD)(
        groups,
        lr=train.lr,
        momentum=train.momentum,
        dampening=train.dampening,
        nesterov=train.nesterov,
    )
    if train.dampening:
        for parameter in named.values():
            built.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return built


def _groups(named: Named, train: TrainConfig, of_norms: set[str]) -> list[dict[str, Any]]:
    """Two groups, the weights that decay and the rest; and one for shifts with a rate of their
    own."""
    fast = of_norms if train.shift_rate != 1 else set()
    named, apart = _divided(named, fast)
    decaying = [p for p in named.values() if train.decay_all or p.ndim > 1]
    others = [p for p in named.values() if not (train.decay_all or p.ndim > 1)]
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": train.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if apart:
        decay = train.weight_decay if train.decay_all else 0.0
        rate = {"weight_decay": decay, "factor": train.shift_rate}
        groups.append({"params": list(apart.values()), **rate})
    return groups


def _divided(named: Named, chosen: set[str]) -> tuple[Named, Named]:
    return (
        {name: p for name, p in named.items() if name not in chosen},
        {name: p for name, p in named.items() if name in chosen},
    )
