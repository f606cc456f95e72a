"""A run that is killed and resumed gives the weights of an uninterrupted one, bit for bit.

Real processes, real SIGKILLs, at moments chosen by their number (killed_run.py): between any two
changes to the run's files and links, in the middle of a write, and in the middle of a step. Every
step is saved, so that most moments fall into a save.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnvgg_training import checkpoint
from killed_run import Killer
from training_support import RANDOM, command, points, result

RECIPE = ["--epochs", "2", "--batch-size", "24", "--keep", "1", *RANDOM]
SAVING = ["--save-minutes", "1e-9"]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    with Killer(tmp_path_factory.mktemp("processes")) as process:
        yield process


@pytest.fixture(scope="module")
def whole(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """An uninterrupted run that saves every step, and how many moments of each kind it has."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, killer.count(command(run, *RECIPE, *SAVING))


def finish(killer: Killer, run: Path) -> Any:
    status, said = killer([*command(run, *RECIPE, *SAVING), "--resume"])
    assert status == 0, said
    return result(run)


def check_whole(run: Path) -> None:
    """Whatever a killed process left: what has a name is whole."""
    for folder in run.glob("epoch-*"):
        checkpoint.load_model(folder)
        checkpoint.load_state(folder)
    assert not (run / "last").is_symlink() or (run / "last").exists()
    assert not (run / "best").is_symlink() or (run / "best").exists()


@pytest.mark.parametrize(
    ("kind", "part"),
    [("step", 0.9), ("write", 0.4), ("write", 0.97), *(("change", n / 8) for n in range(1, 8))],
)
def test_a_kill_at_any_moment_changes_nothing(
    killer: Killer, whole: tuple[Path, dict[str, int]], tmp_path: Path, kind: str, part: float
) -> None:
    expected, moments = whole
    run = tmp_path / "run"
    status, said = killer(
        command(run, *RECIPE, *SAVING), (kind, max(1, round(part * moments[kind])))
    )
    assert status == -9, said
    check_whole(run)
    assert finish(killer, run) == result(expected)
    assert points(run) == points(expected)


def test_a_run_killed_again_and_again_ends_the_same(
    killer: Killer, whole: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    draw, (expected, moments) = random.Random(7), whole
    run, kills, resume = tmp_path / "run", 0, []
    while kills < 6:
        kind = draw.choice(["change", "write", "step"])
        number = draw.randint(1, moments[kind] // 3)
        status, said = killer([*command(run, *RECIPE, *SAVING), *resume], (kind, number))
        if status == 0:
            break
        assert status == -9, said
        check_whole(run)
        kills, resume = kills + 1, ["--resume"]
    assert kills >= 3
    assert finish(killer, run) == result(expected)


def test_saving_and_not_saving_every_step_give_the_same(
    killer: Killer, whole: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    status, said = killer(command(tmp_path / "run", *RECIPE))
    assert status == 0, said
    assert result(tmp_path / "run") == result(whole[0])


def test_ctrl_c_finishes_the_step_and_the_command_it_prints_finishes_the_run(
    killer: Killer, whole: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, said = killer(command(run, *RECIPE, *SAVING), ("interrupt", 5))
    assert status == 130, said
    assert "finishing the step and saving; the same again ends at once" in said
    assert "stopped by SIGINT in epoch 2 of 2, step 2 of 3" in said
    argv = said.strip().splitlines()[-1].partition("to continue: attnvgg-train ")[2].split()
    status, said = killer(argv)
    assert status == 0, said
    assert result(run) == result(whole[0])


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_checkpoint_before(
    killer: Killer, whole: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, said = killer(command(run, *RECIPE, *SAVING), ("twice", 5))
    assert status == -2, said
    assert "Traceback" not in said
    assert (run / "last").readlink() == Path("epoch-0002-step-000001")
    assert finish(killer, run) == result(whole[0])
