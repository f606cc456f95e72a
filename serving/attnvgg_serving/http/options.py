"""The query parameters of /v1/predict, the same for every kind of body."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

from starlette.datastructures import QueryParams

from attnvgg_serving.encoding import AttentionFormat
from attnvgg_serving.errors import InvalidRequest

FORMATS: tuple[str, ...] = get_args(AttentionFormat)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Options:
    """What a client wants to be told."""

    return_attention: bool = False
    top_k: int = 5
    attention_format: AttentionFormat = "f16"
    model: str | None = None
    version: str | None = None


def parse(query: QueryParams) -> Options:
    """Reads the query string.

    Raises:
        InvalidRequest: names the option, its value, and what is allowed.
    """
    given: dict[str, Any] = {}
    for name, value in query.multi_items():
        if name not in _PARSERS:
            raise InvalidRequest(f"there is no option {name!r}; there is {', '.join(_PARSERS)}")
        if name in given:
            raise InvalidRequest(f"the option {name} is given more than once")
        given[name] = _PARSERS[name](name, value)
    return Options(**given)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise InvalidRequest(f"{name} is {value!r}; it must be true or false")
    return _BOOLEANS[value.lower()]


def _count(name: str, value: str) -> int:
    # The length comes first: Python refuses to read integers of thousands of digits.
    if not (value.isascii() and value.isdecimal() and len(value) < 10) or int(value) < 1:
        raise InvalidRequest(f"{name} is {value[:40]!r}; it must be a whole number from 1 on")
    return int(value)


def _format(name: str, value: str) -> AttentionFormat:
    if value not in FORMATS:
        raise InvalidRequest(f"{name} is {value!r}; it must be one of {', '.join(FORMATS)}")
    return cast(AttentionFormat, value)


def _name(name: str, value: str) -> str:
    if not value:
        raise InvalidRequest(f"{name} is empty; leave it out to get the default")
    return value


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "return_attention": _boolean,
    "top_k": _count,
    "attention_format": _format,
    "model": _name,
    "version": _name,
}
