"""A whole bench: asks once whether anybody answers, carries out the loads, sums them up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from attnvgg_client import _bench_remarks as remarks
from attnvgg_client import _bench_table as table
from attnvgg_client._bench_ask import Asker
from attnvgg_client._bench_pictures import Pictures
from attnvgg_client._bench_run import carry_out, event_loop
from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import Row, summarise
from attnvgg_client._cli_terminal import FAILED, INTERRUPTED, OK
from attnvgg_client._plain import one_line
from attnvgg_client._prediction import Model
from attnvgg_client._progress import Progress
from attnvgg_client._requests import Options


@dataclass(frozen=True)
class Setup:
    """What is measured, and how."""

    loads: list[Load]
    pictures: Pictures
    url: str | None
    timeout: float
    batch: int
    attention: bool
    model: str | None
    version: str | None

    def __str__(self) -> str:
        maps = "with attention maps" if self.attention else "without attention maps"
        return f"{self.pictures}; {self.batch} a request, {maps}"


@dataclass
class Result:
    """What came of it, so far."""

    setup: Setup
    url: str
    started: str
    model: Model | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The command's exit code."""
        if any(row.interrupted for row in self.rows):
            return INTERRUPTED
        good = all(row.answered and not row.failed and not row.changed for row in self.rows)
        return OK if good else FAILED

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        return one_line(f"{self.url}: {table.model_line(self.model)}")


def run(setup: Setup, say: Callable[[str], None]) -> Result:
    """Carries it out; says each line as soon as it is known.

    Ctrl-C ends it with what there is.

    Raises:
        AttnVGGError: nobody answers, or the server refuses such requests altogether.
    """
    with asyncio.Runner(loop_factory=event_loop) as runner:
        return runner.run(_run(setup, lambda line: say(one_line(line))))


async def _run(setup: Setup, say: Callable[[str], None]) -> Result:
    options = Options(setup.attention, 5, "f16", setup.model, setup.version)
    asker = Asker(setup.url, setup.pictures.pictures, options, setup.timeout, setup.batch)
    async with asker:
        result = Result(setup, asker.url, datetime.now(UTC).isoformat(timespec="seconds"))
        result.model = await asker.probe()
        await asker.reserve(max(load.callers for load in setup.loads))
        for line in (result.title, str(setup), table.loop_line(setup.loads[0])):
            say(line)
        say("")
        say(table.head(setup.batch))
        # What is there by now stays; looking through it again would hold up answers for tens of ms.
        gc.freeze()
        try:
            with Progress(_expected(setup.loads)) as progress:
                await _loads(result, asker, progress, say)
        finally:
            gc.unfreeze()
    for line in _tail(result.rows):
        say(line)
    return result


async def _loads(
    result: Result, asker: Asker, progress: Progress, say: Callable[[str], None]
) -> None:
    for load in result.setup.loads:
        row = summarise(load, await carry_out(load, asker.ask, progress.advance))
        result.rows.append(row)
        progress.clear()
        say(table.body(row, result.setup.batch))
        if row.interrupted:
            break


def _tail(rows: list[Row]) -> list[str]:
    """What can be said only when all is done."""
    lines = ["", *table.where(rows)]
    for part in (remarks.failures(rows), remarks.warnings(rows), remarks.notes(rows)):
        lines += ["", *part] if part else []
    return lines


def _expected(loads: list[Load]) -> int | None:
    counts = [load.expected for load in loads]
    return None if None in counts else sum(count for count in counts if count is not None)
