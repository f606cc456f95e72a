"""Structured logs: one line a request, and every other line of ours in the same form.

`text` is `name=value` after `name=value` (logfmt), `json` one object a line. What a client chose is
quoted in both, so that nobody can forge a line.
"""

import json
import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

ROOT = "attnvgg_serving"
requests = logging.getLogger(f"{ROOT}.requests")

# What needs no quotes: no space, quote, equals sign or control character, and ASCII only.
_PLAIN = re.compile(r"[A-Za-z0-9_./:+@-]+")
_LONGEST = 200  # characters of one value


@dataclass
class Record:
    """What is known of one request."""

    request_id: str
    method: str
    route: str
    path: str | None = None  # only where no route matches
    status: int = 0
    code: str | None = None  # of a refusal
    model: str | None = None
    version: str | None = None
    provider: str | None = None
    pictures: int | None = None
    failed: int | None = None  # pictures that were refused while others were answered
    bytes_in: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    decode_ms: float | None = None
    queue_ms: float | None = None
    inference_ms: float | None = None
    key: str | None = None  # its name
    trace_id: str | None = None

    def fields(self) -> dict[str, object]:
        """What is known, in the order above."""
        return {name: value for name, value in vars(self).items() if value is not None}


# Of the request that this task works for: whoever learns something about it writes it there.
current: ContextVar[Record | None] = ContextVar("record", default=None)


def write(record: Record) -> None:
    """The one line of a request."""
    level = logging.INFO if record.status < 500 else logging.WARNING
    if requests.isEnabledFor(level):
        requests.log(level, "request", extra={"fields": record.fields()})


def setup(form: Literal["text", "json"]) -> None:
    """Our loggers write to stderr in this form; those of the framework stay as they are."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if form == "text" else JsonLines())
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record), separators=(",", ":"))


class TextLines(logging.Formatter):
    """logfmt; a traceback follows its line, each of its lines behind a bar."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        trace = str(fields.pop("traceback", ""))
        line = " ".join([f"{name}={_text(value)}" for name, value in fields.items()])
        return "\n    | ".join([line, *_printable(trace)])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {"time": _time(record.created), "level": record.levelname.lower()}
    known: dict[str, Any] | None = getattr(record, "fields", None)
    if record.name != requests.name:
        fields |= {"logger": record.name, "message": record.getMessage()}
    fields.update(known or {})
    if record.exc_info:
        fields["traceback"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return fields


def _text(value: object) -> str:
    text = str(value)
    if isinstance(value, int | float) or (len(text) <= _LONGEST and _PLAIN.fullmatch(text)):
        return text
    return json.dumps(text if len(text) <= 10 * _LONGEST else text[: 10 * _LONGEST] + "...")


def _printable(trace: str) -> list[str]:
    """Its lines, without what would move a terminal's cursor or end a line in some reader."""
    return [
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        for line in trace.split("\n")
        if trace
    ]


def _time(created: float) -> str:
    seconds = int(created)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{int(1000 * (created - seconds)):03d}Z"
