"""Checkpoints are there whole or not at all, and what does not fit is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from attnvgg_training import checkpoint, files
from attnvgg_training.errors import CheckpointError
from attnvgg_training.lock import Lock
from training_support import command


@pytest.fixture
def broken(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run / "last", tmp_path / "checkpoint"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, "schema version 9; this attnvgg reads version 1"),
        ({"labels": ["a", "b"]}, "2 labels; the weights have 3 classes"),
        ({"config": {"model": {"name": "LeNet"}}}, "--name is 'LeNet'"),
        ({"mean": None, "config": 3}, "cannot be read"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    broken: Path, change: dict[str, object], message: str
) -> None:
    path = broken / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_model(broken)


def test_truncated_missing_and_pickled_weights_are_refused(broken: Path) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)
    torch.save({}, weights)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)


def test_a_hostile_training_state_cannot_run_code(broken: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "touched",))

    torch.save(Hostile(), broken / "training-state.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load_state(broken)
    assert not (tmp_path / "touched").exists()


def test_a_record_without_the_newer_fields_is_read(broken: Path) -> None:
    path = broken / "checkpoint.json"
    values = json.loads(path.read_text())
    del values["initialised_from"], values["config"]["train"]["save_minutes"]
    path.write_text(json.dumps(values))
    assert checkpoint.read(broken).initialised_from is None


def save(run: Path, epoch: int, source: Path, step: int | None = None) -> Path:
    model, record = checkpoint.load_model(source)
    return checkpoint.save(run, epoch, model.state_dict(), record, {"epoch": epoch}, step)


def test_the_newest_epochs_and_what_is_linked_are_kept(finished_run: Path, tmp_path: Path) -> None:
    for epoch in (1, 2, 3, 9999, 10000):
        save(tmp_path, epoch, finished_run / "last")
    checkpoint.point(tmp_path / "best", tmp_path / "epoch-0002")
    save(tmp_path, 10001, finished_run / "last", step=7)
    checkpoint.prune(tmp_path, 1)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"last", "best", "epoch-0002", "epoch-10000", "epoch-10001-step-000007"}
    save(tmp_path, 10001, finished_run / "last")
    checkpoint.prune(tmp_path, 1)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"last", "best", "epoch-0002", "epoch-10001"}


def test_everything_is_on_the_disk_before_it_has_its_name(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of fsync and rename; a power failure itself cannot be tried here."""
    seen: list[str] = []
    sync, rename = os.fsync, Path.rename

    def syncing(descriptor: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def renaming(path: Path, target: Path) -> Any:
        seen.append(f"-> {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    save(tmp_path, 1, finished_run / "last")
    hidden = f".epoch-0001.tmp-{os.getpid()}"
    assert set(seen[:3]) == {"model.safetensors", "checkpoint.json", "training-state.pt"}
    assert seen[3:] == [hidden, "-> epoch-0001", tmp_path.name, tmp_path.name]


def test_a_full_disk_leaves_the_previous_checkpoint_whole(
    finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    before = (run / "last" / "model.safetensors").read_bytes()
    # A file that may not grow past 100 kB fails as a full disk does, in the middle of a write.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from pathlib import Path; from attnvgg_training import checkpoint\n"
        "run = Path(sys.argv[1]); model, record = checkpoint.load_model(run / 'last')\n"
        "try: checkpoint.save(run, 13, model.state_dict(), record, {})\n"
        "except checkpoint.CheckpointError as error: sys.exit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{run}/epoch-0013 cannot be written: File too large; it needs 0.4 MB" in done.stderr
    assert done.stderr.strip().endswith(f"{run}/last is still epoch-0012")
    assert (run / "last" / "model.safetensors").read_bytes() == before
    assert not list(run.glob("*epoch-0013*"))


def test_a_full_disk_ends_a_run_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from attnvgg_training.train import main

    def full(path: Path, content: files.Content) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "_write", full)
    assert main(command(tmp_path / "run")) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{tmp_path}/run/epoch-0001 cannot be written: No space left on device; it" in said
    assert said.endswith("nothing was saved before")


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "run")
    lock.take()
    lock.take()
    code = (
        "import sys; from pathlib import Path; from attnvgg_training.lock import Lock\n"
        "try: Lock(Path(sys.argv[1])).take()\n"
        "except ValueError as error: sys.exit(str(error))"
    )
    other = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(other, capture_output=True, text=True)
    assert f"--run {tmp_path}/run is in use by another process ({os.getpid()})" in done.stderr
    lock.release()
    assert subprocess.run(other, capture_output=True, text=True).returncode == 0


def test_a_lock_is_not_inherited_by_a_forked_process(tmp_path: Path) -> None:
    """Processes that read pictures may outlive a killed run by seconds."""
    code = (
        "import os, sys, time; from pathlib import Path; from attnvgg_training.lock import Lock\n"
        "Lock(Path(sys.argv[1])).take()\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(60)\n"
        "print(child, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    child = int(killed.stdout.readline())
    try:
        assert killed.wait(60) == -9
        Lock(tmp_path).take()
    finally:
        os.kill(child, 9)
        killed.stdout.close()
