"""An interrupted run goes on as if it had not been; anything else than that run is refused."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from attnvgg_training import checkpoint
from attnvgg_training.loop import Trainer
from training_support import RANDOM, SHAPES, points, result, rows, train

RECIPE = ["--epochs", "3", *RANDOM]


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """at_step(n, action): does it in the nth step from now."""
    step = Trainer._step
    due: dict[int, Callable[[], None]] = {}
    done = 0

    def stepping(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        due.pop(done, lambda: None)()
        return step(*arguments)

    def plan(number: int, action: Callable[[], None]) -> None:
        due[done + number] = action

    monkeypatch.setattr(Trainer, "_step", stepping)
    return plan


def interrupt(number: int = signal.SIGINT) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_a_run_stopped_three_times_within_epochs_equals_an_uninterrupted_one(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None]
) -> None:
    assert train(tmp_path / "whole", *RECIPE) == 0
    run, resume = tmp_path / "stopped", ()
    for step, number in ((4, signal.SIGINT), (3, signal.SIGTERM), (9, signal.SIGINT)):
        at_step(step, interrupt(number))
        assert train(run, *RECIPE, *resume) == 128 + number
        resume = ("--resume",)
    assert train(run, *RECIPE, *resume) == 0
    assert result(run) == result(tmp_path / "whole")
    assert points(run) == points(tmp_path / "whole")
    assert set(points(run)["learning_rate"]) == {1, 2, 3}


def test_a_stop_within_an_epoch_is_a_checkpoint_of_its_own(
    tmp_path: Path,
    at_step: Callable[[int, Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    at_step(13, interrupt())
    assert train(run, "--epochs", "2") == 130
    said = capsys.readouterr().err
    assert "stopped by SIGINT in epoch 2 of 2, step 4 of 9" in said
    assert f"--run {run} --epochs 2 --resume" in said
    assert (run / "last").readlink() == Path("epoch-0002-step-000004")
    assert checkpoint.read(run / "last").metrics.items() >= {"epoch": 1, "step": 4}.items()
    assert len(rows(run)) == 1
    checkpoint.load_model(run / "last")
    assert train(run, "--epochs", "2", "--resume") == 0
    assert sorted(path.name for path in run.glob("epoch-*")) == ["epoch-0001", "epoch-0002"]


def test_a_signal_in_the_test_saves_the_epoch_that_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ["--epochs", "1", *RANDOM]
    assert train(tmp_path / "whole", *recipe) == 0
    run, test = tmp_path / "run", Trainer.test

    def testing(trainer: Trainer) -> Any:
        interrupt()()
        return test(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "test", testing)
        assert train(run, *recipe) == 130
        assert (run / "last").readlink() == Path("epoch-0001-step-000009")
        assert train(run, *recipe, "--resume") == 130  # saved already, and nothing is lost
    assert train(run, *recipe, "--resume") == 0
    assert result(run) == result(tmp_path / "whole")


def test_minutes_end_a_run_with_0_and_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = tmp_path / "run", ["--epochs", "1"]
    assert train(run, *recipe, "--minutes", "1e-9") == 0
    said = capsys.readouterr().err
    assert "not finished, the 1e-09 minutes are over in epoch 1 of 1, step 1 of 9" in said
    assert train(run, *recipe, "--minutes", "1e-9", "--resume") == 0
    assert (run / "last").readlink() == Path("epoch-0001-step-000002")
    capsys.readouterr()
    assert train(run, *recipe, "--minutes", "60", "--resume") == 0
    assert "not finished" not in capsys.readouterr().err
    assert (run / "last").readlink() == Path("epoch-0001")


def test_a_finished_run_has_nothing_to_continue(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    before = result(run)
    assert train(run, "--resume") == 0
    assert result(run) == before


def test_saving_within_epochs_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, steps, save = ["--epochs", "1", *RANDOM], [], checkpoint.save

    def saving(*arguments: Any) -> Path:
        steps.append(arguments[-1])
        return save(*arguments)

    assert train(tmp_path / "whole", *recipe, "--save-minutes", "0") == 0
    monkeypatch.setattr(checkpoint, "save", saving)
    assert train(tmp_path / "run", *recipe, "--save-minutes", "1e-9") == 0
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8, None]
    assert result(tmp_path / "run") == result(tmp_path / "whole")


def test_what_a_kill_behind_a_save_left_undone_is_done_by_resume(
    finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    before = result(run)
    (run / "best").unlink()
    (run / "best").symlink_to("epoch-0011")
    (run / "metrics.csv").unlink()
    shutil.copytree(run / "last", run / "epoch-0001")
    shutil.copytree(run / "last", run / "epoch-0012-step-000004")
    shutil.copytree(run / "last", run / ".epoch-0012.tmp-1")
    (run / ".last.tmp-1").symlink_to("epoch-0012")
    assert train(run, "--resume") == 0
    assert result(run) == before


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--lr", "0.2"], "was trained with lr = 0.05, now it is 0.2"),
        (["--epochs", "13"], "was trained with epochs = 12, now it is 13"),
        (["--head-dropout", "0.1"], "was trained with head_dropout = 0.0, now it is 0.1"),
        (["--cutout", "8"], "was trained with cutout = 0, now it is 8"),
    ],
)
def test_another_recipe_is_refused(
    finished_run: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    assert train(finished_run, "--resume", *extra) == 2
    assert message in capsys.readouterr().err


def test_settings_that_do_not_change_the_result_may_change(
    finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    assert train(run, "--resume", "--keep", "1", "--save-minutes", "3") == 0
    linked = {(run / link).readlink().name for link in ("last", "best")}
    assert {path.name for path in run.glob("epoch-*")} == linked


def test_other_pictures_are_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(SHAPES, tmp_path / "shapes"))
    (other / "train" / "circle" / "00.png").unlink()
    assert train(finished_run, "--resume", data=other) == 2
    assert "was trained on other pictures" in capsys.readouterr().err


def test_a_state_of_another_version_is_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    torch.save({"rows": []}, run / "last" / checkpoint.STATE)
    assert train(run, "--resume") == 2
    assert (
        "training-state.pt does not fit (KeyError); it may be of another version"
        in capsys.readouterr().err
    )
