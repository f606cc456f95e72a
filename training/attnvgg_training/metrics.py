"""What a run says of each epoch: metrics.csv, and the same for TensorBoard.

Both are made of rows, which travel in the checkpoint: a resumed run has each row once.
"""

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from attnvgg_training import files
from attnvgg_training.loop import Score, Trainer

log = logging.getLogger(__name__)
Row = dict[str, Any]

CSV_NAME, TENSORBOARD_NAME = "metrics.csv", "tensorboard"
TAGS = {
    "lr": "learning_rate",
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "images_per_second": "images_per_second",
}


def row(trainer: Trainer, epoch: int, trained: Score, tested: Score) -> Row:
    """What an epoch gave; train_accuracy is nan where mixed pictures have no one class."""
    return {
        "epoch": epoch,
        "step": epoch * trainer.steps,
        "lr": f"{trainer.rate:.6g}",
        "train_loss": f"{trained.loss:.5f}",
        "train_accuracy": f"{trained.accuracy:.5f}",
        "test_loss": f"{tested.loss:.5f}",
        "test_accuracy": f"{tested.accuracy:.5f}",
    }


def times(trainer: Trainer, training: float, testing: float) -> Row:
    """The columns that differ from run to run, of seconds spent."""
    pictures = trainer.steps * trainer.config.train.batch_size
    return {
        "images_per_second": f"{pictures / max(training, 1e-9):.1f}",
        "seconds": f"{training + testing:.1f}",
    }


def line(row: Row, epochs: int) -> str:
    """A row for the log."""
    trained, tested = (100 * float(row[f"{split}_accuracy"]) for split in ("train", "test"))
    return (
        f"epoch {row['epoch']}/{epochs}: "
        + (f"train {trained:.2f} %, " if isfinite(trained) else "")
        + f"test {tested:.2f} %, loss {float(row['train_loss']):.4f}, "
        + f"{row['images_per_second']} pictures/s, {row['seconds']} s"
    )


def scores(row: Row) -> dict[str, Any]:
    """A row for the checkpoint's record, which is JSON and has no nan."""
    values = {k: float(v) for k, v in row.items() if k.startswith(("train", "test"))}
    return {"epoch": row["epoch"], **{k: v for k, v in values.items() if isfinite(v)}}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Replaces the table; the columns are those of the first row."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write(path, stream.getvalue().encode())


class TensorBoard:
    """RUN/tensorboard: one point an epoch and figure, the epoch as its step.

    A resumed run writes all its rows anew and deletes the files of before, so that no point is
    lost or there twice, whenever the run was killed; purge_step makes a TensorBoard that has read
    the old files forget them.
    """

    def __init__(self, folder: Path, rows: Iterable[Row] = ()) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.warning("tensorboard is not installed: %s is not written", folder)
            self._writer = None
            return
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder), purge_step=0)
        for row in rows:
            self._add(row)
        self._writer.flush()

    def add(self, row: Row) -> None:
        """Adds an epoch."""
        self._add(row)
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Ends its thread."""
        if self._writer:
            self._writer.close()

    def _add(self, row: Row) -> None:
        for column, tag in TAGS.items():
            if self._writer and isfinite(value := float(row[column])):
                self._writer.add_scalar(tag, value, int(row["epoch"]))
