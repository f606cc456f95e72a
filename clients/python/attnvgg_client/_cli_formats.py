"""A result -> its line: for people, as JSON, as CSV; and back from a line that was kept.

Lines that are kept have no timings, so that the same pictures give the same file again; all else
that the server says of a picture is in them, but for request_id the same in every run.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from attnvgg_client._cli_terminal import encoded
from attnvgg_client._errors import ItemError
from attnvgg_client._overlay import times_uniform
from attnvgg_client._plain import one_line
from attnvgg_client._prediction import Prediction

Result: TypeAlias = Prediction | ItemError
Traits: TypeAlias = dict[str, str]
"""What all good lines of a file have in common: the model, and how many labels it gave."""


class Format(Protocol):
    """How results are written. `header` comes before the first line."""

    @property
    def header(self) -> bytes: ...

    def encode(self, name: str, result: Result) -> bytes:
        """The line, its end included; empty where only a complaint is due."""


class KeptFormat(Format, Protocol):
    """A format that can be read again; `start` is how each of its lines starts."""

    @property
    def start(self) -> bytes: ...

    def whole(self, lines: bytes) -> bool:
        """Whether these lines of a file are a whole record, and not the first half of one."""

    def traits(self, prediction: Prediction) -> Traits:
        """Those that its line has."""

    def decode(self, record: bytes) -> tuple[str, Traits | None]:
        """The picture's name, and the traits of its prediction if it has one.

        Raises:
            ValueError: this is no line of this format; says why.
        """


@dataclass(frozen=True)
class Text:
    """Labels for people; with `maps` a line for each level below them."""

    maps: bool
    header: bytes = b""

    def encode(self, name: str, result: Result) -> bytes:
        if isinstance(result, ItemError):
            return b""
        scores = ", ".join(f"{s.label} {s.probability:.1%}" for s in result.top_k)
        lines = [f"{name}: {scores}", *(_peaks(result) if self.maps else [])]
        return b"".join(encoded(one_line(line)) for line in lines)


@dataclass(frozen=True)
class JsonLines:
    """One object a line, ASCII only: a name that is no UTF-8 survives as lone surrogates."""

    maps: bool
    top_k: int
    timings: bool = False
    header: bytes = b""
    start: bytes = b'{"file": '

    def encode(self, name: str, result: Result) -> bytes:
        return (json.dumps(self._values(name, result)) + "\n").encode("ascii")

    def whole(self, lines: bytes) -> bool:
        return True

    def traits(self, prediction: Prediction) -> Traits:
        return _traits(vars(prediction.model), len(prediction.top_k))

    def decode(self, record: bytes) -> tuple[str, Traits | None]:
        values = json.loads(record)
        try:
            name: str = values["file"]
            if "error" in values:
                return name, None
            traits = _traits(values["model"], len(values["top_k"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"has no {error}") from error
        if ("attention" in values) != self.maps:
            raise ValueError(f"has {'no' if self.maps else 'the'} attention maps")
        if len(values["top_k"]) > self.top_k:
            raise ValueError(f"has {traits['labels']}, more than {self.top_k}")
        return name, traits

    def _values(self, name: str, result: Result) -> dict[str, Any]:
        if isinstance(result, ItemError):
            problem = {"code": result.code, "message": result.message}
            return {"file": name, "error": problem, "request_id": result.request_id}
        values = {"file": name, **result.to_dict()}
        if not self.maps:
            del values["attention"]
        if not self.timings:
            del values["timings_ms"]
        return values


class Csv:
    """One row a picture, UTF-8; a name's other bytes stand as they are (surrogateescape)."""

    start = b""

    def __init__(self, top_k: int) -> None:
        more = [f"{what}_{n}" for n in range(2, top_k + 1) for what in ("label", "probability")]
        self._columns = ["file", "label", "index", "probability", *more]
        self._columns += ["model", "version", "sha256", "provider", "width", "height"]
        self._columns += ["request_id", "error", "message"]
        self.header = _row(self._columns)

    def encode(self, name: str, result: Result) -> bytes:
        values = {"file": name} | _cells(result)
        return _row([values.get(column, "") for column in self._columns])

    def whole(self, lines: bytes) -> bool:
        return lines.count(b'"') % 2 == 0  # a line's end inside a cell has an odd number before it

    def traits(self, prediction: Prediction) -> Traits:
        return {"model": _model(prediction.model.name, vars(prediction.model))}

    def decode(self, record: bytes) -> tuple[str, Traits | None]:
        text = record.decode("utf-8", "surrogateescape")
        try:
            (cells,) = csv.reader(io.StringIO(text, newline=""), strict=True)
        except csv.Error as error:
            raise ValueError(str(error)) from error
        values = dict(zip(self._columns, cells, strict=True))
        good = not values["error"]
        return values["file"], {"model": _model(values["model"], values)} if good else None


def _traits(model: dict[str, Any], labels: int) -> Traits:
    return {"model": _model(model["name"], model), "labels": f"{labels} labels"}


def _model(name: str, values: dict[str, Any]) -> str:
    return f"{name}/{values['version']} (sha256 {values['sha256'][:16]})"


def _cells(result: Result) -> dict[str, Any]:
    if isinstance(result, ItemError):
        request_id = result.request_id or ""
        return {"error": result.code, "message": result.message, "request_id": request_id}
    cells = {"label": result.label, "index": result.index, "probability": result.probability}
    for number, score in enumerate(result.top_k[1:], 2):
        cells |= {f"label_{number}": score.label, f"probability_{number}": score.probability}
    model = vars(result.model) | {"model": result.model.name}
    size = {"width": result.input.width, "height": result.input.height}
    return cells | model | size | {"request_id": result.request_id}


def _row(cells: list[Any]) -> bytes:
    stream = io.StringIO(newline="")
    # Only what its line's end contains is quoted for sure: with "\n" alone, a lone "\r" is not.
    csv.writer(stream, lineterminator="\r\n").writerow(cells)
    text = stream.getvalue().removesuffix("\r\n") + "\n"
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a label's or message's half of a surrogate pair: no file name's
        return text.encode("utf-8", "backslashreplace")


def _peaks(prediction: Prediction) -> list[str]:
    if not prediction.attention:
        return ["  no attention maps: the network has none"]
    width = max(map(len, prediction.attention))
    lines = []
    for level, attention in prediction.attention.items():
        row, column = divmod(int(attention.argmax()), attention.shape[1])
        lines.append(
            f"  {level:{width}}  {attention.shape[0]} x {attention.shape[1]}, "
            f"peak {times_uniform(attention).max():.1f} times uniform "
            f"at row {row}, column {column} (counted from 0)"
        )
    return lines
