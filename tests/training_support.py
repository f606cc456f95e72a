"""What tests of training share: tiny runs of the command on the committed shapes."""

import csv
from pathlib import Path
from typing import Any

from attnvgg_training import checkpoint
from attnvgg_training.train import main
from support import ROOT

SHAPES = ROOT / "tests" / "data" / "shapes"
TINY = ROOT / "training" / "configs" / "tiny.toml"
TIMES = ("images_per_second", "seconds")  # columns that differ from run to run
# Everything random at once: dropout, mixing, averaging, steps in parts.
RANDOM = ["--dropout", "0.2", "--head-dropout", "0.2", "--mixup", "0.4", "--cutmix", "0.4"]
RANDOM += ["--ema", "0.9", "--accumulate", "2"]


def command(run: Path, *extra: str, data: Path = SHAPES) -> list[str]:
    """The arguments of a tiny run."""
    return ["--config", str(TINY), "--data", str(data), "--run", str(run), *extra]


def train(run: Path, *extra: str, data: Path = SHAPES) -> int:
    """Runs it here; gives the exit code."""
    return main(command(run, *extra, data=data))


def rows(run: Path, without: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """metrics.csv."""
    with (run / "metrics.csv").open() as stream:
        found = list(csv.DictReader(stream))
    return [{key: value for key, value in row.items() if key not in without} for row in found]


def result(run: Path) -> tuple[Any, ...]:
    """All of a run that must be equal, bit for bit, however often it was interrupted."""
    state = checkpoint.load_state(run / "last")["trainer"]
    return (
        (run / "last").readlink(),
        (run / "best").readlink(),
        (run / "last" / checkpoint.WEIGHTS).read_bytes(),
        _plain(state),
        rows(run, TIMES),
        sorted(path.name for path in run.iterdir()),
    )


def points(run: Path) -> dict[str, list[int]]:
    """What TensorBoard shows: tag -> steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def _plain(value: Any) -> Any:
    """Tensors as bytes, so that == compares everything."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value
