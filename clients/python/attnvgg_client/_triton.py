"""The door to NVIDIA Triton with a repository that `attnvgg-export triton` wrote.

NAME takes pixels of exactly its input size, NAME-encoded takes files; which of the two is asked,
and with how many pictures at once, is decided here. The protocol is a Dialect's business.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from attnvgg_client._calls import persist
from attnvgg_client._config import Config
from attnvgg_client._door import Answers, Health
from attnvgg_client._errors import (
    InvalidArgumentError,
    ItemError,
    NotFoundError,
    ProtocolError,
    status_error,
)
from attnvgg_client._http import Flow, work
from attnvgg_client._pictures import Picture
from attnvgg_client._prediction import Prediction
from attnvgg_client._requests import Options
from attnvgg_client._responses import ModelInfo
from attnvgg_client._retry import Deadline
from attnvgg_client._triton_answers import PROBABILITIES, Asked, predictions
from attnvgg_client._triton_model import ENCODED, Description, describe
from attnvgg_client._triton_questions import parts_of, question_of
from attnvgg_client._triton_values import Answer, Dialect, Question

DECODE = "-decode"


@dataclass(frozen=True)
class Triton:
    """See Door. Remembers what models are like, by the name that was asked for (None: the only
    one), until an answer shows that something has changed."""

    config: Config
    dialect: Dialect
    _known: dict[str | None, Description] = field(default_factory=dict)

    def ask(self, pictures: list[Picture], options: Options, deadline: Deadline) -> Flow[Answers]:
        """Files in one request and pixels in another, or in more where the model takes fewer at
        once. The first that is refused ends it.

        Raises:
            InvalidArgumentError: no model was named, and there are several. Otherwise as Door.ask.
        """
        described = yield from self._described(options.model, deadline)
        parts = yield from work(partial(parts_of, pictures, described))
        results: dict[int, Prediction | ItemError] = {}
        for places, exact in parts:
            some = [pictures[place] for place in places]
            items = yield from self._infer(described, some, exact, options, deadline)
            for place, item in zip(places, items, strict=True):
                moved = replace(item, index=place) if isinstance(item, ItemError) else item
                results[place] = moved
        return [results[place] for place in range(len(pictures))]

    def models(self, deadline: Deadline) -> Flow[list[ModelInfo]]:
        """Every version that is ready; the default is the newest of the only model."""
        ready = yield from self._ready(deadline)
        found = []
        for name, versions in ready.items():
            described = yield from self._describe(name, deadline)
            for version in versions:
                default = len(ready) == 1 and version == versions[-1]
                found.append(described.info(version, default))
        return found

    def health(self, deadline: Deadline) -> Flow[Health]:
        """Once, as Triton itself says."""
        return self.dialect.health(deadline)

    def _infer(
        self,
        described: Description,
        pictures: Sequence[Picture],
        exact: bool,
        options: Options,
        deadline: Deadline,
    ) -> Flow[Answers]:
        """One request, all of files or all of pixels."""
        question = yield from work(partial(question_of, described, pictures, exact, options))
        try:
            answer, seconds = yield from persist(
                self.config, deadline, lambda: self._timed(question, deadline)
            )
        except NotFoundError:
            self._known.pop(options.model, None)
            raise
        if _news(described, answer):
            described = yield from self._describe(described.name, deadline)
            self._known[options.model] = described
        asked = Asked(described, pictures, options, question.request_id)
        return (yield from work(partial(predictions, asked, answer, seconds)))

    def _timed(self, question: Question, deadline: Deadline) -> Flow[tuple[Answer, float]]:
        start = time.monotonic()
        answer = yield from self.dialect.infer(question, deadline)
        return answer, time.monotonic() - start

    def _described(self, model: str | None, deadline: Deadline) -> Flow[Description]:
        known = self._known.get(model)
        if known is None:
            name = model or (yield from self._only(deadline))
            known = self._known[model] = yield from self._describe(name, deadline)
        return known

    def _describe(self, name: str, deadline: Deadline) -> Flow[Description]:
        encoded = f"{name}{ENCODED}"
        try:
            config = yield from persist(
                self.config, deadline, lambda: self.dialect.config_of(encoded, deadline)
            )
        except NotFoundError as error:
            error.message = f"no model {name!r} that attnvgg-export wrote is there: {error.message}"
            raise
        try:
            return describe(name, config)
        except ProtocolError as error:
            raise ProtocolError(f"{self.config.url}: {error}") from error

    def _only(self, deadline: Deadline) -> Flow[str]:
        """The name of the only model."""
        names = list((yield from self._ready(deadline)))
        if not names:
            message = "no model is ready that `attnvgg-export triton` wrote"
            raise status_error(404, "model_not_found", f"{self.config.url}: {message}")
        if len(names) > 1:
            raise InvalidArgumentError(
                f"model must be given: {self.config.url} has {', '.join(names)}"
            )
        return names[0]

    def _ready(self, deadline: Deadline) -> Flow[dict[str, list[str]]]:
        """Name -> versions, the newest last, of the models that are ready and ours."""
        index = yield from persist(self.config, deadline, lambda: self.dialect.index(deadline))
        names = sorted({name for name, _ in index})
        ours = [name for name in names if {f"{name}{ENCODED}", f"{name}{DECODE}"} <= set(names)]
        found = {name: [v for each, v in index if each == name] for name in ours}
        return {name: sorted(versions, key=_number) for name, versions in found.items()}


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _news(described: Description, answer: Answer) -> bool:
    """Whether the answer comes from something that is not as described."""
    probabilities = answer.outputs.get(PROBABILITIES)
    labels = None if probabilities is None else probabilities.shape[-1:]
    return answer.version not in described.sha256 or labels != (len(described.labels),)
