"""Which weights an optimizer changes, which decay, and what dampening means."""

import logging
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from attnvgg_training.config import TrainConfig
from attnvgg_training.models import ModelConfig, build
from attnvgg_training.muon import orthogonalised
from attnvgg_training.optim import living, optimizer
from tiny_training import MODEL, trainer

WITH_G = replace(MODEL, global_feature=True)
DEAD = ("units.13.", "units.14.", "global_branch.")


def names(model: torch.nn.Module, group: dict[str, list[torch.Tensor]]) -> set[str]:
    known = {id(p): name for name, p in model.named_parameters()}
    return {known[id(p)] for p in group["params"]}


def test_only_matrices_and_kernels_decay() -> None:
    model = build(MODEL, 3)
    decaying, others = optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0)
    assert "units.0.0.weight" in names(model, decaying)
    assert "head.classify.weight" in names(model, decaying)
    assert {"attention.conv13.u", "units.0.1.weight", "head.classify.bias"} <= names(model, others)
    assert len(decaying["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_everything_decays_if_asked_as_in_the_official_code() -> None:
    model = build(MODEL, 3)
    decaying, others = optimizer(model, TrainConfig(decay_all=True)).param_groups
    assert names(model, decaying) == {name for name, _ in model.named_parameters()}
    assert others["params"] == []


@pytest.mark.parametrize("name", ["AdamW", "Muon"])
def test_what_no_output_depends_on_is_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = build(WITH_G, 3)
    with caplog.at_level(logging.INFO):
        groups = optimizer(model, TrainConfig(optimizer=name.lower())).param_groups  # type: ignore[arg-type]
    changed = set.union(*(names(model, group) for group in groups))
    left = {name for name, _ in model.named_parameters()} - changed
    assert left
    assert all(name.startswith(DEAD) for name in left)
    count = sum(p.numel() for name, p in model.named_parameters() if name in left)
    assert f"{name} leaves out {count} weights that no output depends on" in caplog.text


@pytest.mark.parametrize(
    "model",
    [
        replace(WITH_G, name="VGG-att2-concat-dp"),
        replace(WITH_G, normalisation="sigmoid"),
        replace(WITH_G, name="VGG-control"),
        MODEL,
    ],
    ids=["dp", "sigmoid", "control", "without g"],
)
def test_it_leaves_out_nothing_where_g_matters_or_is_not_there(model: ModelConfig) -> None:
    assert living(build(model, 3))[1] == {}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_dead_weights_stay_and_living_ones_move(name: str) -> None:
    ours = trainer(WITH_G, optimizer=name, lr=0.01, ema=0.0)
    before = {name: value.clone() for name, value in ours.model.named_parameters()}
    ours.train_epoch(1)
    moved = {n for n, p in ours.model.named_parameters() if not torch.equal(p, before[n])}
    assert {"units.0.0.weight", "attention.conv10.u", "head.classify.weight"} <= moved
    assert not any(name.startswith(DEAD) for name in moved)


def test_muon_steps_kernels_behind_the_first_and_sgd_the_rest() -> None:
    model = build(MODEL, 3)
    groups = optimizer(model, TrainConfig(optimizer="muon", lr=0.1, muon_lr=0.02)).param_groups
    *rest, kernels = groups
    expected = {n for n, p in model.named_parameters() if p.ndim == 4} - {"units.0.0.weight"}
    assert names(model, kernels) == expected
    assert (kernels["weight_decay"], kernels["factor"]) == (0.1, pytest.approx(0.2))
    others = set.union(*(names(model, group) for group in rest))
    assert others == {name for name, _ in model.named_parameters()} - expected
    assert {group["momentum"] for group in rest} == {0.9}


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalised_keeps_directions_and_levels_their_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.logspace(0, -1, shape[1])  # sizes a decade apart
    u, sizes, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonalised(matrix) @ v.T  # about the identity
    assert sizes.max() / sizes.min() > 1.5
    assert 0.6 < found.diagonal().min() <= found.diagonal().max() < 1.3
    assert (found - torch.diag(found.diagonal())).abs().max() < 0.1


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_step_of_muon_in_formulas(memory: torch.memory_format) -> None:
    """Two steps of one kernel: the average of gradients, ahead by its momentum, orthogonalised."""
    train = TrainConfig(optimizer="muon", lr=0.1, muon_lr=0.05, muon_decay=0.2, momentum=0.8)
    torch.manual_seed(0)
    model = build(MODEL, 3).to(memory_format=memory)  # type: ignore[call-overload]
    descent = optimizer(model, train)
    for group in descent.param_groups:
        group["lr"] = 0.1 * group.get("factor", 1.0)
    kernel = model.get_parameter("units.3.0.weight")  # 4 outputs, 4 inputs
    expected, average = kernel.detach().clone(), torch.zeros_like(kernel)
    for _ in range(2):
        gradient = torch.randn_like(kernel)
        kernel.grad = gradient.clone()
        average = 0.8 * average + 0.2 * gradient
        ahead = 0.2 * gradient + 0.8 * average
        u, _, v = torch.linalg.svd(ahead.flatten(1), full_matrices=False)
        expected -= 0.05 * ((u @ v).view(kernel.shape) + 0.2 * expected)
        descent.step()
    # Singular values between 0.7 and 1.2 in place of 1, of which there are 4 in each step.
    assert (kernel - expected).norm() < 0.3 * 0.05 * 2 * 2
    assert kernel.is_contiguous(memory_format=memory)


def test_muon_takes_a_closure_as_other_optimizers_do() -> None:
    torch.manual_seed(0)
    model, images = build(MODEL, 3), torch.randn(6, 3, 8, 8)
    descent = optimizer(model, TrainConfig(optimizer="muon"))
    before = model.get_parameter("units.3.0.weight").detach().clone()

    def closure() -> torch.Tensor:
        descent.zero_grad()
        loss = F.cross_entropy(model(images), torch.arange(6) % 3)
        loss.backward()
        return loss

    assert descent.step(closure).item() > 0
    moved = (model.get_parameter("units.3.0.weight") - before).norm().item()
    assert moved == pytest.approx(0.1 * 4**0.5, rel=0.3)  # four singular values of about 1


def test_shifts_have_a_rate_of_their_own() -> None:
    ours = trainer(shift_rate=16.0, lr=1e-4, momentum=0.0, nesterov=False, weight_decay=0.0)
    plain = trainer(lr=1e-4, momentum=0.0, nesterov=False, weight_decay=0.0)
    moved = []
    for each in (ours, plain):
        start = {n: p.detach().clone() for n, p in each.model.named_parameters()}
        each.train_epoch(1, 0, lambda: True)
        ends = each.model.named_parameters()
        moved.append({name: (p.detach() - start[name]).norm().item() for name, p in ends})
    last = "units.12.1"  # batch norm: its scale and its shift
    assert moved[0][f"{last}.bias"] == pytest.approx(16 * moved[1][f"{last}.bias"], rel=0.01)
    assert moved[0][f"{last}.weight"] == pytest.approx(moved[1][f"{last}.weight"], rel=0.01)
    assert moved[0]["head.classify.bias"] == pytest.approx(moved[1]["head.classify.bias"], rel=0.01)


def descend(train: TrainConfig, steps: int) -> torch.Tensor:
    """The head's weights after some steps on one batch; the rate is held."""
    torch.manual_seed(0)
    model = build(MODEL, 3)
    images, targets = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    descent = optimizer(model, train)
    for _ in range(steps):
        descent.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        descent.step()
    return model.head.classify.weight.detach()


def test_lr_1_with_dampening_is_lr_a_tenth_without() -> None:
    """The official code's lr 1 has dampening 0.9; ports that left it out trained ten times too
    hot."""
    plain = TrainConfig(lr=0.1, nesterov=False)
    dampened = TrainConfig(lr=1.0, nesterov=False, dampening=0.9)
    torch.testing.assert_close(descend(plain, 8), descend(dampened, 8), rtol=0, atol=1e-4)
    hot = descend(replace(dampened, dampening=0.0), 8)
    assert (hot - descend(plain, 8)).abs().max() > 0.1


def test_torchs_own_dampening_would_count_the_first_gradient_ten_times() -> None:
    """Why the momentum starts at zero here; should torch change, optim.py can be simpler."""
    weight = torch.ones(1, requires_grad=True)
    descent = torch.optim.SGD([weight], lr=1.0, momentum=0.9, dampening=0.9)
    (weight * 1.0).sum().backward()
    descent.step()
    assert weight.item() == 0.0  # with the first gradient dampened: 0.9
