"""What a run writes besides checkpoints, and what it says when it cannot go on."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from attnvgg_training import checkpoint, metrics
from attnvgg_training.begin import alone
from attnvgg_training.distributed import World
from attnvgg_training.errors import DataError, OtherProcessError
from attnvgg_training.loop import Trainer
from training_support import points, rows, train


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """spoilt(n): the weights are NaN after the nth step, whose loss is a number still."""

    def spoil(number: int) -> None:
        step, done = Trainer._step, 0

        def stepping(trainer: Trainer, *arguments: Any) -> Any:
            nonlocal done
            result = step(trainer, *arguments)
            done += 1
            if done == number:
                for parameter in trainer.model.parameters():
                    parameter.data.fill_(math.nan)
            return result

        monkeypatch.setattr(Trainer, "_step", stepping)

    return spoil


def test_a_run_that_diverges_ends_with_3_and_names_the_last_good_checkpoint(
    tmp_path: Path, spoilt: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt(11)
    assert train(tmp_path / "run") == 3
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the loss is nan in epoch 2, step 3 of 9, at learning rate 0.0" in said
    assert said.endswith(f"the last good checkpoint is {tmp_path}/run/epoch-0001")
    assert (tmp_path / "run" / "last").readlink() == Path("epoch-0001")
    model, _ = checkpoint.load_model(tmp_path / "run" / "last")
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_nothing_that_is_no_number_is_saved(
    tmp_path: Path, spoilt: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that spoils the weights is the last before a save: no loss has shown it yet."""
    spoilt(2)
    assert train(tmp_path / "run", "--save-minutes", "1e-9") == 3
    said = capsys.readouterr().err
    assert "a weight is no longer a number in epoch 1, step 2 of 9" in said
    assert (tmp_path / "run" / "last").readlink() == Path("epoch-0001-step-000001")
    spoilt(1)
    assert train(tmp_path / "other") == 3
    assert "a lower --lr or a longer --warmup may hold it; none is saved" in capsys.readouterr().err
    assert not list((tmp_path / "other").glob("epoch*"))


def test_metrics_have_a_row_an_epoch_and_tensorboard_a_point(finished_run: Path) -> None:
    table = rows(finished_run)
    assert [int(row["epoch"]) for row in table] == list(range(1, 13))
    assert [int(row["step"]) for row in table] == list(range(9, 117, 9))
    assert float(table[-1]["lr"]) < float(table[3]["lr"]) <= 0.05
    assert points(finished_run) == {tag: list(range(1, 13)) for tag in metrics.TAGS.values()}


def test_mixed_pictures_have_no_training_accuracy(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "--epochs", "1", "--mixup", "0.4") == 0
    assert rows(run)[0]["train_accuracy"] == "nan"
    found = checkpoint.read(run / "last").metrics
    assert set(found) == {"epoch", "train_loss", "test_loss", "test_accuracy", "seconds"}
    text = (run / "last" / "checkpoint.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)
    assert "accuracy/train" not in points(run)


def test_the_board_of_a_resumed_run_has_every_point_once(tmp_path: Path) -> None:
    def row(epoch: int) -> metrics.Row:
        return {"epoch": epoch, **dict.fromkeys(metrics.TAGS, f"0.{epoch}")}

    folder = tmp_path / "tensorboard"
    board = metrics.TensorBoard(folder)
    board.add(row(1))
    board.add(row(2))  # killed before it could be closed, and before epoch 2 was saved
    resumed = metrics.TensorBoard(folder, [row(1)])
    resumed.add(row(2))
    resumed.close()
    assert points(tmp_path) == {tag: [1, 2] for tag in metrics.TAGS.values()}
    assert len(list(folder.iterdir())) == 1
    board.close()


def test_without_tensorboard_a_run_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    board = metrics.TensorBoard(tmp_path / "tensorboard")
    board.add({})
    board.close()
    assert "tensorboard is not installed" in caplog.text
    assert not list(tmp_path.iterdir())


class Told(World):
    """The second of two processes; the first one's failure comes from outside."""

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor[0] += failed
        return tensor


failed = 0.0


def fail() -> None:
    raise DataError("no")


@pytest.mark.parametrize(
    ("elsewhere", "action", "error"),
    [
        (False, fail, DataError),
        (True, fail, OtherProcessError),
        (True, lambda: None, OtherProcessError),
    ],
)
def test_of_several_processes_that_fail_the_first_says_so(
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: bool,
    action: Callable[[], None],
    error: type[Exception],
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "failed", float(elsewhere))
    with pytest.raises(error):
        alone(Told(1, 2, 1), action)
