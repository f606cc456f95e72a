"""Flows in threads: what predict_many of the blocking client runs its chunks in."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from attnvgg_client._bounded import Stop
from attnvgg_client._http import Flow
from attnvgg_client._many import Answer, Many, Result

Run: TypeAlias = Callable[[Flow[Answer], Stop], Answer]


class Job:
    """One flow in a thread of its own. A thread costs less than a tenth of a millisecond, a request
    many; a pool would only have to be cleared up."""

    def __init__(self, run: Run, flow: Flow[Answer]) -> None:
        self._stop = Stop()
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        # A daemon: a program may end while its results are half read.
        self._thread = threading.Thread(
            target=self._run, args=(run, flow), name="attnvgg-client", daemon=True
        )

    def start(self) -> None:
        """Not at once, so that whoever ends it knows of it first: Ctrl-C may come at any line."""
        self._thread.start()

    def _run(self, run: Run, flow: Flow[Answer]) -> None:
        try:
            self._answer = run(flow, self._stop)
        except BaseException as error:  # it belongs to whoever asks for the answer
            self._error = error
        finally:
            self._done.set()

    def done(self) -> bool:
        return self._done.is_set()

    def answer(self) -> Answer:
        """Waits for it."""
        # Not for the thread: Ctrl-C in a join makes Python 3.11 take it for ended (bpo-45274).
        self._done.wait()
        if self._answer is None:
            raise self._error or RuntimeError("the thread ended without an answer")
        return self._answer

    def stop(self) -> None:
        """Ends it soon, whatever it waits for."""
        self._stop.set()

    def join(self) -> None:
        # A Python that ends stops its daemons where they are: waiting for one may never end.
        if self._thread.ident is not None and not sys.is_finalizing():
            self._thread.join()


def results(run: Run, many: Many, images: Iterator[Any]) -> Iterator[Result]:
    """What predict_many yields. Reads, yields and raises in the thread that iterates; when that
    stops, for whatever reason, so do the requests under way."""
    jobs: deque[Job] = deque()
    try:
        with many.counting() as count:
            _fill(run, many, images, jobs)
            while jobs:
                answer = jobs[0].answer()
                jobs.popleft()
                if many.fast and answer.error is None:
                    _fill(run, many, images, jobs)
                for result in answer.results:
                    count()
                    yield result
                if answer.error is not None:
                    raise answer.error
                _fill(run, many, images, jobs)
        if many.error is not None:
            raise many.error
    finally:
        for job in jobs:
            job.stop()
        for job in jobs:
            job.join()


def _fill(run: Run, many: Many, images: Iterator[Any], jobs: deque[Job]) -> None:
    while many.room(len(jobs), bool(jobs) and jobs[0].done()):
        chunk = many.chunk()
        try:
            for image in images:
                if many.add(chunk, image):
                    break
            else:
                many.ended = True
        except Exception as error:  # raised after the results of what came before
            many.ended, many.error = True, error
        if chunk.images:
            jobs.append(Job(run, many.flow(chunk)))
            jobs[-1].start()
