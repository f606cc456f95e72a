"""The life of a run: it begins or is continued, trains, saves, and ends.

RUN gets a checkpoint an epoch, one within the epoch every save_minutes and where the run is
stopped, metrics.csv and RUN/tensorboard. Whatever ends the process, RUN/last is whole, and
`resume` puts in order what was cut off behind it.
"""

import logging
import time
from pathlib import Path
from typing import Any

from attnvgg_training import checkpoint, files, metrics
from attnvgg_training.checkpoint import Record
from attnvgg_training.distributed import World
from attnvgg_training.errors import CheckpointError, DivergedError
from attnvgg_training.loop import Score, Trainer
from attnvgg_training.metrics import Row, TensorBoard
from attnvgg_training.resume import Origin, check_same
from attnvgg_training.stop import Interrupted, Stop

log = logging.getLogger(__name__)


class Run:
    """A trainer, a folder, and how far it is: the rows of the epochs that are done, the steps of
    the one in progress and the seconds that they took."""

    def __init__(self, folder: Path, trainer: Trainer, origin: Origin, world: World) -> None:
        self.folder, self.trainer, self.origin, self.world = folder, trainer, origin, world
        self.rows: list[Row] = []
        self.step, self.seconds = 0, 0.0
        self._saved: Path | None = None
        self._board: TensorBoard | None = None

    @property
    def epochs(self) -> int:
        """All that are to be trained."""
        return self.trainer.config.train.epochs

    def where(self) -> str:
        """How far it is, in words."""
        done = len(self.rows)
        if not self.step:
            return f"after epoch {done} of {self.epochs}"
        return f"in epoch {done + 1} of {self.epochs}, step {self.step} of {self.trainer.steps}"

    def resume(self, folder: Path) -> None:
        """Continues from a checkpoint of this run.

        Raises:
            CheckpointError: it belongs to another recipe or other pictures, or is damaged.
        """
        record, state = checkpoint.read(folder), checkpoint.load_state(folder)
        check_same(folder, record, self.trainer.config, self.origin)
        self.origin = Origin(self.origin.data, record.initialised_from)
        try:
            self.trainer.load_state(state["trainer"])
            self.rows, self.step = state["rows"], state["step"]
            self.seconds, processes = state["seconds"], state["processes"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{folder / checkpoint.STATE} does not fit ({type(error).__name__}); it may be of "
                "another version of attnvgg, which can finish the run"
            ) from error
        if processes != self.world.size:
            log.warning("%d processes now, %d before: other rounding", self.world.size, processes)
        self._saved = folder
        log.info("continuing %s", self.where())

    def go(self, stop: Stop) -> bool:
        """Trains until the end, which gives True, or until `stop` ends it.

        Raises:
            DivergedError: a loss or weight is no longer a number; it is not saved.
            CheckpointError: a checkpoint cannot be written.
        """
        self._settle()
        if self.world.first:
            self._board = TensorBoard(self.folder / metrics.TENSORBOARD_NAME, self.rows)
        try:
            while len(self.rows) < self.epochs:
                if not self._epoch(stop) or self.world.any(stop.ended):
                    break
        except DivergedError as error:
            good = f"the last good checkpoint is {self._saved}" if self._saved else "none is saved"
            raise DivergedError(f"{error}; {good}") from error
        finally:
            if self._board:
                self._board.close()
        return len(self.rows) == self.epochs

    def _epoch(self, stop: Stop) -> bool:
        """Trains and tests an epoch, or what is left of it; False if it was stopped within."""
        trained = self._train(stop)
        begun = time.monotonic()
        tested = trained and self._test(stop)
        if not trained or not tested:
            return False
        row = metrics.row(self.trainer, len(self.rows) + 1, trained, tested)
        self.rows.append(row | metrics.times(self.trainer, self.seconds, time.monotonic() - begun))
        log.info(metrics.line(self.rows[-1], self.epochs))
        self.step, self.seconds = 0, 0.0
        self._save(len(self.rows), metrics.scores(self.rows[-1]))
        stop.saved()
        self._settle()
        if self._board:
            self._board.add(self.rows[-1])
        return True

    def _train(self, stop: Stop) -> Score | None:
        while True:
            begun = time.monotonic()
            result = self.trainer.train_epoch(len(self.rows) + 1, self.step, stop)
            self.seconds += time.monotonic() - begun
            if isinstance(result, Score):
                return result
            self.step = result.step
            self._save_within()
            stop.saved()
            if self.world.any(stop.ended):
                return None

    def _test(self, stop: Stop) -> Score | None:
        if self.world.size > 1:  # whoever left would be waited for
            return self.trainer.test()
        try:
            with stop.interrupting():
                return self.trainer.test()
        except Interrupted:
            self.step = self.trainer.steps
            self._save_within()
            return None

    def _save_within(self) -> None:
        """Saves an epoch in progress, unless that has been done at this very step."""
        epoch = len(self.rows) + 1
        if self._saved is None or self._saved.name != f"epoch-{epoch:04d}-step-{self.step:06d}":
            self._save(epoch, {"epoch": len(self.rows), "step": self.step}, self.step)
            self._settle()

    def _save(self, epoch: int, scores: dict[str, Any], step: int | None = None) -> None:
        state = {
            "trainer": self.trainer.state(),
            "rows": self.rows,
            "epoch": epoch,
            "step": self.step,
            "seconds": self.seconds,
            "processes": self.world.size,
        }
        if not self.world.first:
            return
        spent = self.seconds + sum(float(row["seconds"]) for row in self.rows)
        record = Record(
            config=self.trainer.config,
            labels=self.trainer.data.labels,
            mean=self.trainer.mean,
            std=self.trainer.std,
            metrics={**scores, "seconds": round(spent, 1)},
            data=self.origin.data,
            initialised_from=self.origin.initialised_from,
        )
        weights = self.trainer.weights()
        self._saved = checkpoint.save(self.folder, epoch, weights, record, state, step)

    def _settle(self) -> None:
        """What follows from the rows. A killed process may have left any of it undone."""
        if not self.world.first:
            return
        files.tidy(self.folder)
        if self.rows:
            best = max(self.rows, key=lambda row: float(row["test_accuracy"]))
            checkpoint.point(self.folder / "best", self.folder / f"epoch-{best['epoch']:04d}")
            metrics.write_csv(self.folder / metrics.CSV_NAME, self.rows)
        checkpoint.prune(self.folder, self.trainer.config.train.keep)
