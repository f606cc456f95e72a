"""The command `attnvgg predict`: from the pictures named to the last line about them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

from attnvgg_client import _cli_files, _overlay_files
from attnvgg_client._async_client import AsyncClient
from attnvgg_client._cli_choices import check, kept, shown
from attnvgg_client._cli_formats import Format, Result
from attnvgg_client._cli_results import ResultFile
from attnvgg_client._cli_terminal import FAILED, OK, ModelChangedError, complain, write_slowly
from attnvgg_client._errors import AttnVGGError, InvalidArgumentError, ItemError
from attnvgg_client._pictures import short
from attnvgg_client._prediction import Prediction
from attnvgg_client._progress import Progress

MANY = 16
"""More pictures than this end in a summary."""


class Output(Protocol):
    """Where lines go."""

    async def add(self, name: str, result: Result) -> None: ...


class StandardOutput:
    """Lines as they come; the header with the first."""

    def __init__(self, form: Format) -> None:
        self._form, self._header = form, form.header

    async def add(self, name: str, result: Result) -> None:
        await write_slowly(self._header + self._form.encode(name, result))
        self._header = b""


def run(options: argparse.Namespace) -> int:
    """Carries the command out, gives the exit code.

    Raises:
        AttnVGGError: as AsyncClient.predict_many; OutputError, ModelChangedError.
        BrokenPipeError: whoever read standard output has gone.
    """
    kind = check(options)
    pictures = _cli_files.gather(options.files)
    targets = None if options.overlay is None else _overlay_files.plan(pictures, options.overlay)
    job = _Job(options, pictures.names, targets)
    for complaint in pictures.complaints:
        complain(complaint, FAILED)
    if options.out is not None:
        job.keep(ResultFile(Path(options.out), kept(kind, options)))
    else:
        job.go(StandardOutput(shown(kind, options)), list(range(len(job.names))))
    if not options.quiet and (len(job.names) > MANY or options.out is not None):
        complain(job.summary(), OK)
    return FAILED if job.failed or pictures.complaints else OK


class _Job:
    """The pictures of one command, and what became of them.

    failed: how many could not be used, or their overlays not be drawn.
    """

    def __init__(
        self, options: argparse.Namespace, names: list[str], targets: list[str] | None
    ) -> None:
        self.options, self.names, self.targets = options, names, targets
        self.failed = self.asked = 0
        self.seconds = 0.0
        self.bar: Progress | None = None

    def keep(self, file: ResultFile) -> None:
        """Into a file, from where the last run left off."""
        try:
            places = file.remaining(self.names)
            self.failed += file.failed
            if file.already and not self.options.quiet:
                done = len(self.names) - len(places)
                complain(f"{done} of {len(self.names)} were done already", OK)
            self.go(file, places)
            file.finish()
        except (InvalidArgumentError, ModelChangedError):
            raise
        except BaseException:
            if file.lines:
                found = f"{file.lines} of {len(self.names)} are in {file.part}"
                complain(f"{found}; the same command continues", OK)
            raise
        finally:
            file.close()

    def go(self, output: Output, places: list[int]) -> None:
        """Asks for the pictures in these places, and writes what comes."""
        images: list[Any] = [self.names[place] for place in places]
        if "-" in images:
            images[images.index("-")] = _cli_files.standard_input()
        start, self.asked = time.monotonic(), len(places)
        self.bar = Progress(len(places)) if self._has_bar(places) else None
        with self.bar or nullcontext():
            if places:
                asyncio.run(self._ask(output, places, images))
        self.seconds = time.monotonic() - start

    def summary(self) -> str:
        """One line about them all."""
        count, failed, seconds = len(self.names), self.failed, self.seconds
        rate = f", {self.asked / seconds:.1f} pictures/s" if self.asked and seconds else ""
        what = "1 picture" if count == 1 else f"{count} pictures"
        return f"{what}, {failed} failed, {seconds:.1f} s{rate}"

    def _has_bar(self, places: list[int]) -> bool:
        """Lines on a terminal say themselves how far it is; a bar would be in their way."""
        shown = self.options.out is None and sys.stdout is not None and sys.stdout.isatty()
        return len(places) > 1 and not shown and not self.options.quiet

    async def _ask(self, output: Output, places: list[int], images: list[Any]) -> None:
        options = self.options
        async with AsyncClient(options.url, timeout=options.timeout) as client:
            results = client.predict_many(
                images,
                return_attention=options.attention or self.targets is not None,
                top_k=options.top_k,
                model=options.model,
                version=options.model_version,
                concurrency=options.concurrency,
            )
            place = iter(places)
            # It is a generator; closed here, it ends its requests before their client is closed.
            async with aclosing(cast("AsyncGenerator[Result, None]", results)):
                async for result in results:
                    await self._finish(next(place), result, output)

    async def _finish(self, place: int, result: Result, output: Output) -> None:
        """The overlay comes first: a picture that has its line is not asked about again."""
        name = self.names[place]
        problem = result.message if isinstance(result, ItemError) else None
        if self.targets is not None and isinstance(result, Prediction):
            problem = await asyncio.to_thread(self._draw, result, self.targets[place])
        await output.add(name, result)
        if problem is not None:
            self.failed += 1
            if self.bar is not None:
                self.bar.clear()
            complain(_naming(name, problem), FAILED)
        if self.bar is not None:
            self.bar.advance()

    def _draw(self, prediction: Prediction, target: str) -> str | None:
        """Writes the overlay; says what went wrong."""
        try:
            _overlay_files.write(prediction.overlay(self.options.level), target)
        except AttnVGGError as error:
            return str(error)
        except OSError as error:
            return f"{target} cannot be written: {error.strerror}"
        return None


def _naming(name: str, problem: str) -> str:
    """Messages from this side name the file already; a long name they cut, and here it is whole."""
    problem = problem.replace(short(name), repr(name), 1)
    return problem if name in problem or repr(name) in problem else f"{name}: {problem}"
