"""The learning rate of each step, against torch's own and against the published recipes."""

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from attnvgg_training.config import TrainConfig
from attnvgg_training.schedules import rate_at


def rates(train: TrainConfig, steps: int) -> list[float]:
    return [rate_at(train, steps, step) for step in range(steps * train.epochs)]


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup"), [(30, 390, 0.2), (12, 9, 0.2), (3, 7, 0.0), (2, 5, 0.35)]
)
def test_one_cycle_is_torchs_to_the_bit(epochs: int, steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    theirs = OneCycleLR(
        optimizer,
        max_lr=0.1,
        total_steps=steps * epochs,
        pct_start=warmup,
        cycle_momentum=False,
    )
    for step in range(steps * epochs):
        ours = rate_at(TrainConfig(epochs=epochs, lr=0.1, warmup=warmup), steps, step)
        assert ours == theirs.get_last_lr()[0], step
        optimizer.step()
        theirs.step()


def test_a_rise_of_a_single_step_and_a_run_of_one_are_no_errors() -> None:
    assert rates(TrainConfig(epochs=1, lr=0.1, warmup=0.2), 5)[0] == 0.1
    assert rates(TrainConfig(epochs=1, lr=0.1, warmup=0.5), 1) == [0.1]


def test_cosine_rises_linearly_and_falls_to_nothing() -> None:
    found = rates(TrainConfig(schedule="cosine", epochs=10, lr=0.4, warmup=0.2), 10)
    assert found[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert max(found) == found[19] == pytest.approx(0.4)
    assert found[59] == pytest.approx(0.2)  # half way down
    assert found[-1] == pytest.approx(0, abs=1e-12)
    falling = found[19:]
    assert falling == sorted(falling, reverse=True)


def test_cosine_without_warmup_starts_at_the_top() -> None:
    found = rates(TrainConfig(schedule="cosine", epochs=10, lr=0.4, warmup=0), 10)
    assert found[0] == 0.4
    assert found[-1] == pytest.approx(0, abs=1e-12)
    assert found == sorted(found, reverse=True)


def test_step_halves_every_25_epochs_as_the_paper_does() -> None:
    train = TrainConfig(
        schedule="step", epochs=100, lr=1, warmup=0, milestones=(25, 50, 75), factors=(0.5,)
    )
    found = rates(train, 4)
    assert found[:100] == [1.0] * 100
    assert found[100:200] == [0.5] * 100
    assert found[-1] == 0.125


def test_every_milestone_may_have_a_factor_of_its_own() -> None:
    """The paper's CUB: doubled after 30 and 60 epochs, then halved."""
    train = TrainConfig(
        schedule="step",
        epochs=130,
        lr=0.1,
        warmup=0,
        milestones=(30, 60, 90, 120),
        factors=(2.0, 2.0, 0.5, 0.5),
    )
    found = [rate_at(train, 1, epoch) for epoch in (0, 29, 30, 60, 90, 120)]
    assert found == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.2, 0.1])


def test_step_warms_up_linearly() -> None:
    train = TrainConfig(schedule="step", epochs=10, lr=1, warmup=0.1, milestones=(5,))
    assert rates(train, 4)[:6] == [0.25, 0.5, 0.75, 1, 1, 1]
