"""Networks of which some blocks are drawn anew, for sanity checks (Adebayo et al., 2018)."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.models import build
from attnvgg_training.network import Network

# Beyond the seeds of trainings: trained weights still resemble those that they started from.
ANEW = 1_000_000


def blocks(network: Network) -> tuple[str, ...]:
    """From the logits down: the head, the estimators from the deepest, the global branch, then the
    convolutions or stages from the last to the first."""
    names = ["head"]
    names += [f"attention.{level}" for level in reversed(network.level_names)]
    names += ["global_branch"] if getattr(network, "global_branch", None) is not None else []
    units = getattr(network, "units", None)
    if units is not None:
        names += [f"units.{index}" for index in reversed(range(len(units)))]
    else:
        names += [f"stages.{name}" for name in reversed(list(network.layers))] + ["stem"]
    return tuple(names)


def redrawn(subject: Subject, names: tuple[str, ...], seed: int) -> Subject:
    """The network with the blocks of these names as before training; at random where training
    started from identities, which would hand on what the blocks before have learned."""
    torch.manual_seed(ANEW + seed)
    plan = subject.record.config.model
    if plan.initialisation == "whitened":
        plan = replace(plan, initialisation="uniform-maps")
    fresh = build(plan, len(subject.record.labels))
    network = copy.deepcopy(subject.network)
    device = next(network.parameters()).device
    for name in names:
        network.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        if name.startswith("attention."):
            _noise(network.get_submodule(name), subject.network.get_submodule(name))
    model = Seeing(network, subject.record.mean, subject.record.std).to(device).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return replace(subject, model=model)


def _noise(module: nn.Module, trained: nn.Module) -> None:
    u, before = getattr(module, "u", None), getattr(trained, "u", None)
    if isinstance(u, Tensor) and isinstance(before, Tensor):
        u.data.normal_(0, float(before.std()))
