"""A door for many requests at once: when the server asks one of them to wait, all wait."""

from __future__ import annotations

import time
from dataclasses import dataclass

from attnvgg_client._door import Answers, Door
from attnvgg_client._errors import APIStatusError
from attnvgg_client._http import Flow, Sleep
from attnvgg_client._pictures import Picture
from attnvgg_client._requests import Options
from attnvgg_client._retry import Deadline, pause, worth_retrying


@dataclass
class Patience:
    """Slows down for a server that is busy (429, 503).

    insistent: where the door's own attempts are used up, go on for as long as the deadline allows,
        for a long job can wait. until: nothing is sent before this moment, whoever asks.
    """

    door: Door
    insistent: bool
    until: float = 0.0

    def ask(self, pictures: list[Picture], options: Options, deadline: Deadline) -> Flow[Answers]:
        """As Door.ask. The time spent waiting for others does not count."""
        yield from self._hold()
        deadline, attempt = Deadline(deadline.seconds), 0
        while True:
            try:
                return (yield from self._observed(self.door.ask(pictures, options, deadline)))
            except APIStatusError as error:
                wait = pause(attempt, error.retry_after)
                busy = self.insistent and worth_retrying(error)
                if not busy or wait >= deadline.remaining():
                    raise
            self._close(wait)
            yield Sleep(wait)
            attempt += 1

    def _hold(self) -> Flow[None]:
        while (left := self.until - time.monotonic()) > 0:
            yield Sleep(left)

    def _observed(self, flow: Flow[Answers]) -> Flow[Answers]:
        """The flow as it is; its pauses between attempts hold up the others, too."""
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Sleep):
                    self._close(effect.seconds)
                try:
                    outcome = yield effect
                except Exception as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as end:
            answers: Answers = end.value
            return answers

    def _close(self, seconds: float) -> None:
        self.until = max(self.until, time.monotonic() + seconds)
