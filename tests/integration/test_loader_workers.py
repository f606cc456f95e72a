"""Pictures read by worker processes: the same batches, clear errors, and nobody left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest
import torch

from attnvgg_training import data
from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data.loader import Batch, Loader
from attnvgg_training.errors import DataError

SHAPES = Path(__file__).parents[1] / "data" / "shapes"
CPU = torch.device("cpu")
SETTINGS = Config(
    data=DataConfig(memory="workers", zoom=1.5, cutout=8), train=TrainConfig(batch_size=8)
)
SCRIPT = """
import signal, sys
import torch
from attnvgg_training import data
from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.data.loader import Loader

if __name__ == "__main__":
    if sys.argv[2] == "finish":
        signal.signal(signal.SIGINT, lambda *_: print("asked to stop", flush=True))
    settings = Config(data=DataConfig(memory="workers"), train=TrainConfig(batch_size=8))
    split = data.load(sys.argv[1], settings.data).train
    loader = Loader(split, settings, torch.device("cpu"), workers=2)
    for epoch in range(1, 4):
        for step, batch in enumerate(loader.epoch(epoch)):
            if epoch == 1 and step == 0:
                print(*torch.multiprocessing.active_children(), sep="\\n")
                print("ready", flush=True)
                sys.stdin.readline()
    loader.close()
    print("done", len(torch.multiprocessing.active_children()), flush=True)
"""


def alive(pid: int) -> bool:
    """A zombie, whom nobody has waited for yet, has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(reached: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        time.sleep(0.1)
    return reached()


def workers() -> list[int]:
    return [each.pid for each in torch.multiprocessing.active_children() if each.pid]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHAPES, tmp_path / "shapes"))


@pytest.fixture
def loader(root: Path) -> Iterator[Loader]:
    with Loader(data.load(root, SETTINGS.data).train, SETTINGS, CPU, workers=2) as loader:
        yield loader


def test_workers_give_what_memory_gives_and_live_until_closed(loader: Loader) -> None:
    inside = data.load(SHAPES, replace(SETTINGS.data, memory="device")).train
    memory = Loader(inside, SETTINGS, CPU)

    def equal(one: Batch, other: Batch) -> bool:
        return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))

    before = torch.get_rng_state()
    # The first epoch is left half-way: what was read ahead must not reach the second.
    for step, pair in enumerate(zip(loader.epoch(1), memory.epoch(1), strict=True)):
        assert equal(*pair)
        if step == 3:
            break
    running = workers()
    assert len(running) == 2
    assert all(equal(*pair) for pair in zip(loader.epoch(2), memory.epoch(2), strict=True))
    assert all(equal(*pair) for pair in zip(loader.epoch(1, 5), memory.epoch(1, 5), strict=True))
    assert workers() == running
    assert torch.equal(torch.get_rng_state(), before)
    loader.close()
    assert workers() == []
    assert not any(map(alive, running))
    loader.close()


def test_a_picture_damaged_during_the_run_is_named_as_if_read_here(
    loader: Loader, root: Path
) -> None:
    path = root / "train" / "square" / "05.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError) as caught:
        list(loader.epoch(1))
    assert str(caught.value).startswith(f"{path}: ")
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    shutil.copy(SHAPES / "train" / "square" / "05.png", path)
    assert len(list(loader.epoch(1))) == loader.steps  # the workers have survived it


def test_a_killed_worker_is_an_error_and_no_hang(loader: Loader) -> None:
    def run() -> None:
        for step, _ in enumerate(loader.epoch(1)):
            if step == 0:
                for pid in workers():
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises(DataError, match="a process that reads pictures has ended"):
        run()
    assert workers() == []


Starter = Callable[[str], tuple["subprocess.Popen[str]", list[int]]]


@pytest.fixture
def start(tmp_path: Path, root: Path) -> Iterator[Starter]:
    """Starts a run in a process group of its own, as a terminal does; gives its workers' ids."""
    with ExitStack() as stack:

        def start(mode: str) -> tuple["subprocess.Popen[str]", list[int]]:
            script = tmp_path / "run.py"
            script.write_text(SCRIPT)
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, script, root, mode],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout
            lines = list(takewhile(lambda line: line != "ready\n", process.stdout))
            pids = [int(line.partition("pid=")[2].split()[0]) for line in lines]
            assert len(pids) == 2
            assert all(map(alive, pids))
            return process, pids

        yield start


def test_ctrl_c_ends_a_run_and_its_workers_without_a_word_from_them(start: Starter) -> None:
    process, pids = start("stop")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate("\n", timeout=120)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert until(lambda: not any(map(alive, pids)))


def test_after_ctrl_c_a_run_that_wants_to_finish_gets_its_batches(start: Starter) -> None:
    process, pids = start("finish")
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate("\n", timeout=120)
    assert (output, errors, process.returncode) == ("asked to stop\ndone 0\n", "", 0)
    assert not any(map(alive, pids))


def test_workers_end_after_a_run_that_was_killed(start: Starter) -> None:
    process, pids = start("stop")
    process.kill()
    process.wait()
    assert until(lambda: not any(map(alive, pids)))
