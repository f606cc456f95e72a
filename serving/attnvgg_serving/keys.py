"""API keys: a file of hashes, re-read when it changes.

A line is `NAME sha256:HEX [admin] [rate=N]`; `#` begins a comment. Two lines may have one name, so
that a client's old and new key are valid together while they are exchanged.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from attnvgg_serving.errors import Forbidden, StartError, Unauthorized

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks at the file
# A name ends up in logs: nothing in it may end a line or a field.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_RATE = re.compile(r"rate=([1-9][0-9]{0,5})")
_SHAPE = "NAME sha256:HEX [admin] [rate=N]"

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Key:
    """What is known of one key: never the key itself."""

    name: str
    digest: bytes
    admin: bool = False
    rate: int | None = None  # requests a second; None: as many as there come


class KeyFileError(ValueError):
    """A line of the file is wrong; the message names its number and never a hash."""


class KeyFile:
    """The keys that are in force. All methods belong to one event loop.

    Raises:
        StartError: the file cannot be read, or one of its lines is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._seen: Signature | None = _signature(path)
            self._keys = parse(_read(path))
        except (OSError, KeyFileError) as error:
            raise StartError(f"ATTNVGG_API_KEYS is {str(path)!r}: {_why(error)}") from error
        self._looked = time.monotonic()

    def find(self, candidate: str) -> Key | None:
        """The key that hashes to one of the file's lines.

        Keys are 256 random bits, which nobody can guess whatever the hash costs: sha256 is right,
        and a slow hash (they are for passwords) would only make refusing expensive.
        """
        self._refresh()
        digest = hashlib.sha256(candidate.encode()).digest()
        found = None
        for key in self._keys:  # all of them: how long it takes says nothing about which
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            signature = _signature(self._path)
            if signature == self._seen:
                return
            self._seen = signature
            self._keys = parse(_read(self._path))
        except (OSError, KeyFileError) as error:
            if not (isinstance(error, OSError) and self._seen is None):  # say it once
                logger.error("%s: %s; the old keys stay in force", self._path, _why(error))
            if isinstance(error, OSError):
                self._seen = None
            return
        logger.info("%s was read again: %d keys are in force", self._path, len(self._keys))


def parse(text: str) -> tuple[Key, ...]:
    """The keys of a file. A file without any is right: it refuses everybody.

    Raises:
        KeyFileError: the first line that is wrong.
    """
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            key = _key(words)
        except ValueError as error:
            raise KeyFileError(f"line {number}: {error}") from None
        if key.digest in keys:
            raise KeyFileError(f"line {number}: the same key is already {keys[key.digest].name}'s")
        keys[key.digest] = key
    return tuple(keys.values())


def generate() -> tuple[str, str]:
    """A new key, which only its owner keeps, and `sha256:HEX` for the file."""
    key = secrets.token_urlsafe(32)
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def require_admin(request: Request) -> None:
    """For what changes the server: an admin key, on loopback too.

    Raises:
        Unauthorized: no key was given.
        Forbidden: another key was given, or the server has none.
    """
    if not request.state.keys_configured:
        raise Forbidden(
            "this server loads and unloads nothing, as it has no keys; make one with "
            "`attnvgg-serve key NAME --admin` and name its file in ATTNVGG_API_KEYS"
        )
    if request.state.key is None:
        raise Unauthorized(
            "this needs an admin key, on loopback too, as `Authorization: Bearer KEY` "
            "or `X-API-Key: KEY`"
        )
    if not request.state.admin:
        raise Forbidden(f"the key {request.state.key!r} is not an admin key")


def _key(words: list[str]) -> Key:
    name, *rest = words
    if not _NAME.fullmatch(name):
        # What stands there may be the hash, or worse the key: it is not repeated.
        raise ValueError("the name must be 1 to 64 letters, digits, '.', '_' or '-'")
    if not rest or not (digest := _HASH.fullmatch(rest[0])):
        raise ValueError(f"{name!r} needs sha256: and 64 lower-case hex digits, as in {_SHAPE}")
    admin, rate = False, None
    for place, word in enumerate(rest[1:], 3):
        if word == "admin" and not admin:
            admin = True
        elif rate is None and (given := _RATE.fullmatch(word)):
            rate = int(given[1])
        else:
            raise ValueError(f"word {place} is not `admin` or `rate=N` (each once), as in {_SHAPE}")
    return Key(name, bytes.fromhex(digest[1]), admin, rate)


def _signature(path: Path) -> Signature:
    """Changes when the file is written to, and when another is renamed into its place."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise KeyFileError(f"it is not UTF-8: byte {error.start}") from None


def _why(error: OSError | KeyFileError) -> str:
    return str(error.strerror).lower() if isinstance(error, OSError) else str(error)
