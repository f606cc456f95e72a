"""The sums of an epoch, and how a loss that is no number is found."""

from math import inf, nan

import pytest
import torch

from attnvgg_training.distributed import World
from attnvgg_training.errors import DivergedError
from attnvgg_training.tally import STEPS_BETWEEN_LOOKS, Tally
from tiny_training import trainer


def note(tally: Tally, step: int, loss: float) -> None:
    tally.note(step, 0.1 * step, torch.tensor(loss), torch.tensor(2))


@pytest.fixture
def lazy() -> Tally:
    tally = Tally(100, World(), eager=False)
    tally.start(3)
    return tally


def test_the_sums_are_the_same_however_seldom_it_looks(lazy: Tally) -> None:
    eager = Tally(100, World(), eager=True)
    eager.start(3)
    for step in range(1, 50):
        note(lazy, step, 1 / step)
        note(eager, step, 1 / step)
    lazy.look()
    assert lazy.state_dict() == eager.state_dict()
    assert lazy.hits == 98


def test_it_does_not_look_at_every_step(lazy: Tally) -> None:
    """What a look costs is a wait for the device; nothing is added until then."""
    for step in range(1, STEPS_BETWEEN_LOOKS):
        note(lazy, step, 1.0)
    assert lazy.loss == 0
    note(lazy, STEPS_BETWEEN_LOOKS, 1.0)
    assert lazy.loss == STEPS_BETWEEN_LOOKS


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_late_look_names_the_step_where_it_went_wrong(lazy: Tally, loss: float) -> None:
    for step in range(1, 6):
        note(lazy, step, 1.0 if step < 4 else loss)
    with pytest.raises(
        DivergedError,
        match=rf"the loss is {loss} in epoch 3, step 4 of 100, at learning rate 0\.4; a lower --lr",
    ):
        lazy.look()


def test_an_epoch_starts_from_nothing(lazy: Tally) -> None:
    note(lazy, 1, nan)
    lazy.start(4)
    lazy.look()
    assert lazy.state_dict() == {"epoch": 4, "loss": 0.0, "hits": 0}


@pytest.mark.parametrize("interval", [1, 20])
@pytest.mark.parametrize("stop", [True, False])
def test_no_epoch_ends_and_none_is_stopped_after_a_loss_that_is_no_number(
    interval: int, stop: bool
) -> None:
    ours, bad = trainer(), (torch.tensor(nan), torch.tensor(0))
    ours.tally.interval = interval
    ours._step = lambda *_: bad  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match="the loss is nan in epoch 1, step 1 of 6"):
        ours.train_epoch(1, 0, lambda: stop)
