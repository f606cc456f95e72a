"""attnvgg-train under torchrun: one process speaks and writes, and what stops one stops all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnvgg_training import checkpoint
from support import free_port
from training_support import command, points, rows

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]


def torchrun(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The two dashes keep torchrun from taking --run for one of its own."""
    launch = [*TORCHRUN, "--master-port", str(free_port()), "-m", "--", "attnvgg_training.train"]
    return subprocess.run(
        [sys.executable, *launch, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def ours(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What attnvgg-train said, without what torchrun adds."""
    return [line for line in done.stderr.splitlines() if line.startswith("attnvgg-train")]


def test_two_processes_write_one_run_that_can_be_stopped_and_resumed(tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", ["--epochs", "2", "--dropout", "0.2"]
    done = torchrun(command(run, *recipe, "--minutes", "1e-9"))
    assert done.returncode == 0, done.stderr
    (line,) = ours(done)
    assert "torchrun --nproc-per-node 2 -m -- attnvgg_training.train --config" in line
    assert (run / "last").readlink() == Path("epoch-0001-step-000001")
    for folder, extra in ((run, ["--resume"]), (tmp_path / "whole", [])):
        done = torchrun(command(folder, *recipe, *extra))
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("epoch 2/2: ") == 1
    first, second = (
        (folder / "last" / checkpoint.WEIGHTS).read_bytes() for folder in (run, tmp_path / "whole")
    )
    assert first == second
    assert len(rows(run)) == 2
    assert points(run)["loss/train"] == [1, 2]
    assert len(list((run / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--name", "LeNet"], "--name is 'LeNet'"),  # before the processes know each other
        (["--init", "nowhere"], "nowhere is no checkpoint"),
        (["--batch-size", "74"], "--batch-size is 74, but there are only 72"),
    ],
)
def test_what_all_find_wrong_is_said_once(tmp_path: Path, extra: list[str], message: str) -> None:
    done = torchrun(command(tmp_path / "run", *extra))
    assert done.returncode == 1  # torchrun's own
    (line,) = ours(done)
    assert message in line
    assert "attnvgg_training/" not in done.stderr  # no traceback through our code
    assert not (tmp_path / "run").exists()
