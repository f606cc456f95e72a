"""Two processes train one network through torchrun, and neither waits for one that is gone.

torchrun_worker.py is what they do.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from support import ROOT, free_port

WORKER = ROOT / "tests" / "torchrun_worker.py"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]


def processes(task: str, folder: Path, count: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable]
    if count > 1:
        command += [*TORCHRUN, "--master-port", str(free_port())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(WORKER), task, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each process of a task saved, run once."""

    @cache
    def run(task: str, count: int) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp(task)
        done = processes(task, folder, count)
        assert done.returncode == 0, done.stderr
        return [
            torch.load(folder / f"{task}-{rank}-of-{count}.pt", weights_only=True)
            for rank in range(count)
        ]

    return run


@pytest.mark.parametrize("task", ["gradients", "gradients_of_levels"])
def test_two_processes_have_the_gradients_of_one(results: Any, task: str) -> None:
    (alone,), (first, second) = results(task, 1), results(task, 2)
    largest = max(value.abs().max().item() for value in alone.values())
    assert largest > 1e-2  # else the tolerance below would say nothing
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=0, atol=1e-6)


def test_a_whole_run_learns_and_both_hold_the_same_result(results: Any) -> None:
    first, second = results("learn", 2)
    trained, tested = first["scores"][::2], first["scores"][1::2]
    assert trained[-1][0] < 0.8  # chance is 1.1
    assert max(accuracy for _, accuracy in tested[-3:]) >= 0.6  # chance is 0.33
    assert first["scores"] == second["scores"]  # each has the sums of both
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


def test_a_stop_of_one_stops_both_at_the_same_step(results: Any) -> None:
    assert [each["stopped"] for each in results("learn", 2)] == [[2, 4], [2, 4]]


def test_stopped_and_resumed_it_gives_the_weights_of_an_uninterrupted_run(results: Any) -> None:
    for each in results("learn", 2):
        assert each["equal"]
        assert each["resumed"]


def test_a_process_that_fails_ends_the_run_with_its_message(tmp_path: Path) -> None:
    done = processes("fail", tmp_path)
    assert done.returncode != 0
    assert "process 1: picture 7 cannot be read" in done.stderr
    assert "RuntimeError" not in done.stderr


def test_a_process_that_is_killed_ends_the_run(tmp_path: Path) -> None:
    done = processes("die", tmp_path)
    assert done.returncode != 0
    assert "exitcode: -9" in done.stderr
    assert "RuntimeError" not in done.stderr


def test_a_loss_that_is_no_number_in_one_is_found_by_both(tmp_path: Path) -> None:
    done = processes("diverge", tmp_path)
    assert done.returncode != 0
    assert "process 0: the loss is nan in epoch 1, step 3 of 9" in done.stderr
    assert "process 1: the loss is nan in epoch 1, step 3 of 9" in done.stderr
