"""Predictions and scores, of any split and however many processes share it."""

import pytest
import torch
from torch.nn import functional as F

from attnvgg_training.data import Split, normalise
from attnvgg_training.distributed import World
from attnvgg_training.loop import Score, evaluate, predict
from tiny_training import CPU, pictures, trainer

DATA = pictures(test=11)
MEAN, STD = DATA.statistics()


class Reading:
    """A split that is not in memory: it counts what is read."""

    def __init__(self, inner: Split) -> None:
        self.inner, self.targets, self.read = inner, inner.targets, list[int]()

    def __len__(self) -> int:
        return len(self.inner)

    def pixels(self, indices: torch.Tensor) -> torch.Tensor:
        self.read.append(len(indices))
        return self.inner.pixels(indices)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    ours = trainer()
    ours.train_epoch(1)
    return ours.model


def test_a_tensor_and_any_split_give_the_same_logits_chunk_by_chunk(model: torch.nn.Module) -> None:
    images = DATA.test.pixels(torch.arange(11))
    expected = model.eval()(normalise(images, MEAN, STD)).detach()
    split = Reading(DATA.test)
    for given in (images, split):
        found = predict(model, given, MEAN, STD, CPU, size=4)
        torch.testing.assert_close(found, expected)
    assert split.read == [4, 4, 3]


def test_a_score_is_mean_loss_and_part_correct(model: torch.nn.Module) -> None:
    logits = predict(model, DATA.test, MEAN, STD, CPU)
    found = evaluate(model, Reading(DATA.test), MEAN, STD, CPU)
    assert found.loss == pytest.approx(F.cross_entropy(logits, DATA.test.targets).item())
    assert found.accuracy == (logits.argmax(1) == DATA.test.targets).double().mean()
    assert model.training is False


def test_processes_share_the_pictures_and_add_up_what_they_found(
    model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sum over processes, each one's part of the whole shows."""
    monkeypatch.setattr(World, "sum", lambda self, tensor: tensor)
    shares = [evaluate(model, DATA.test, MEAN, STD, CPU, World(r, 3, r)) for r in range(3)]
    whole = evaluate(model, DATA.test, MEAN, STD, CPU)
    assert isinstance(whole, Score)
    assert sum(share.loss for share in shares) == pytest.approx(whole.loss)
    assert sum(share.accuracy for share in shares) == pytest.approx(whole.accuracy)
