"""One request of a load: as the SDK makes it, but never repeated, and its failure is a result."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from attnvgg_client._async_client import AsyncClient
from attnvgg_client._bench_tally import Outcome
from attnvgg_client._door import Answers
from attnvgg_client._errors import (
    APIConnectionError,
    APIStatusError,
    AttnVGGError,
    DeadlineError,
    ItemError,
    OverloadedError,
    ProtocolError,
    RateLimitedError,
)
from attnvgg_client._pictures import Picture
from attnvgg_client._prediction import Model
from attnvgg_client._requests import Options
from attnvgg_client._retry import Deadline

PER_CLIENT = 16
"""Requests under way that share a client: httpx keeps 20 connections open and opens 100, and looks
through all of them for each request, which with hundreds costs more than the request."""


CONNECT_SECONDS = 5.0


class Asker:
    """Asks about the same pictures in turn, `batch` in a request; the pictures are in memory and
    checked, so that what is timed is the request, the answer and its parsing."""

    def __init__(
        self, url: str | None, pictures: list[Picture], options: Options, timeout: float, batch: int
    ) -> None:
        self._url, self._pictures, self._options = url, pictures, options
        self._timeout, self._batch = timeout, batch
        self._clients = [self._client()]

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._clients[0].url

    async def reserve(self, slots: int) -> None:
        """Makes clients for so many requests at a time, and lets each make a connection: that
        takes milliseconds, which must not fall into the measurement."""
        missing = -(-slots // PER_CLIENT) - len(self._clients)
        new = [self._client() for _ in range(missing)]
        self._clients += new
        await asyncio.gather(*map(_connect, new))

    def _client(self) -> AsyncClient:
        return AsyncClient(self._url, timeout=self._timeout, max_retries=0)

    async def probe(self) -> Model | None:
        """Asks once; what answered, or None if the server is too busy to say.

        Raises:
            AttnVGGError: nobody is there, or whoever is there refuses such a request.
        """
        try:
            answers = await self._ask(0, 0)
        except (OverloadedError, RateLimitedError):  # what a load test is about
            return None
        return next((answer.model for answer in answers if not isinstance(answer, ItemError)), None)

    async def ask(self, slot: int, number: int) -> Outcome:
        """The request of this number, over the connections of this slot."""
        try:
            answers = await self._ask(slot, number)
        except AttnVGGError as error:
            return Outcome(_code(error), str(error))
        return _outcome(answers)

    async def _ask(self, slot: int, number: int) -> Answers:
        first, count = number * self._batch, len(self._pictures)
        pictures = [self._pictures[(first + place) % count] for place in range(self._batch)]
        client = self._clients[slot // PER_CLIENT]
        deadline = Deadline(self._timeout)
        answers = await client._run(client._door.ask(pictures, self._options, deadline))
        if len(answers) != len(pictures):
            raise ProtocolError(f"{len(answers)} predictions for {len(pictures)} pictures")
        return answers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            await client.close()


async def _connect(client: AsyncClient) -> None:
    with suppress(AttnVGGError):  # the load will tell
        await client.health(timeout=CONNECT_SECONDS)


def _code(error: AttnVGGError) -> str:
    """The server's code where it gave one, or this side's word."""
    if isinstance(error, APIStatusError):
        return error.code
    words = {DeadlineError: "deadline", APIConnectionError: "connection", ProtocolError: "protocol"}
    return next((word for kind, word in words.items() if isinstance(error, kind)), "client")


def _outcome(answers: Answers) -> Outcome:
    """A request counts as answered only if each of its pictures was."""
    failed = [answer for answer in answers if isinstance(answer, ItemError)]
    good = [answer for answer in answers if not isinstance(answer, ItemError)]
    if failed:
        return Outcome(failed[0].code, failed[0].message, pictures=len(good))
    return Outcome("", "", len(good), good[0].model, good[0].timings_ms)
