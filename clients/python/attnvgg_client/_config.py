"""Where the server is and how patiently it is asked: checked once, at construction."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from attnvgg_client._errors import InvalidArgumentError

DEFAULT_URL = "http://127.0.0.1:3000"
DEFAULT_TIMEOUT = 30.0
SCHEMES = ("http", "https", "triton+http", "triton+https", "grpc", "grpcs")
LIKE = f"{DEFAULT_URL} (an attnvgg server), triton+http://host:8000 or grpc://host:8001 (Triton)"


@dataclass(frozen=True)
class Config:
    """url: without a slash at its end; its scheme says what is spoken there. api_key: never shown.
    timeout: seconds for one request, its retries and the waiting between them included.
    max_retries: attempts after the first."""

    url: str
    api_key: str | None = field(repr=False)
    timeout: float
    max_retries: int


def resolve(
    url: str | None,
    api_key: str | None,
    timeout: float,
    max_retries: int,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Fills what was not given from ATTNVGG_URL and ATTNVGG_API_KEY, and checks everything.

    Raises:
        InvalidArgumentError: naming the argument, its value (never the key's) and what is right.
    """
    url = url or environment.get("ATTNVGG_URL") or DEFAULT_URL
    key = api_key or environment.get("ATTNVGG_API_KEY") or ""
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise InvalidArgumentError(f"max_retries is {max_retries!r}; it must be 0 or more")
    return Config(_url(url), _key(key), seconds("timeout", timeout), max_retries)


def seconds(name: str, value: float) -> float:
    """A positive, finite number of seconds: nothing in this package waits for ever."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value > 0):
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a positive number of seconds")
    return float(value)


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # reading the port checks it
    except (ValueError, AttributeError, TypeError):
        raise InvalidArgumentError(f"url is {url!r}; it must be like {LIKE}") from None
    if parts.username or parts.password:
        # Passwords in URLs end up in logs; this message must not be one of them.
        raise InvalidArgumentError("url holds a user or password; give a key as api_key instead")
    if parts.scheme not in SCHEMES or not host or parts.query or parts.fragment:
        raise InvalidArgumentError(f"url is {url!r}; it must be like {LIKE}")
    # gRPC has no paths, and no port that everybody expects.
    if parts.scheme in ("grpc", "grpcs") and (port is None or parts.path.strip("/")):
        raise InvalidArgumentError(f"url is {url!r}; it must be like {parts.scheme}://host:8001")
    return url.rstrip("/")


def _key(key: str) -> str | None:
    key = key.strip()  # a key read from a file ends in a newline
    if not all("!" <= character <= "~" for character in key):
        raise InvalidArgumentError(
            "api_key has characters that cannot stand in a header; printable ASCII is right"
        )
    return key or None
