"""Who comes in: the key of a request, and how often it may be used.

A refusal costs nothing: no body is read for it. The connection stays usable, as the server skips
what the client still sends of the body.
"""

import ipaddress
import math
import time
from dataclasses import dataclass
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from attnvgg_serving.errors import RateLimited, Unauthorized, WireError
from attnvgg_serving.http.failures import failure
from attnvgg_serving.keys import Key, KeyFile

# Probes have no key, and the page must be shown before anybody can type one.
OPEN = frozenset({"/", "/livez", "/readyz", "/healthz", "/openapi.json", "/web"})
OPEN_UNDER = ("/v2/health/", "/web/")
# Who sends one of these forwards for others: its own address says nothing about them.
FORWARDED = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
)


@dataclass
class _Bucket:
    tokens: float
    at: float


class Door:
    """What decides. Without a key file everybody comes in, but nobody is an administrator."""

    def __init__(self, keys: KeyFile | None, trust_loopback: bool) -> None:
        self.keys = keys
        self._trust_loopback = trust_loopback
        self._buckets: dict[bytes, _Bucket] = {}

    def admit(self, scope: Scope) -> Key | None:
        """The key of the request, None if it has none and needs none.

        Raises:
            Unauthorized: it needs one, or the one given is not known.
            RateLimited: the key was used too often.
        """
        if self.keys is None or is_open(scope["path"]):
            return None
        headers = Headers(scope=scope)
        given = _given(headers)
        if given is None:
            if self._trust_loopback and is_local(scope, headers):
                return None
            raise Unauthorized(
                "this server needs a key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            )
        key = self.keys.find(given)
        if key is None:
            raise Unauthorized("the server does not know this key")
        if key.rate is not None:
            self._spend(key, key.rate, time.monotonic())
        return key

    def _spend(self, key: Key, rate: int, now: float) -> None:
        """A bucket of `rate` tokens, filled with `rate` a second."""
        bucket = self._buckets.setdefault(key.digest, _Bucket(rate, now))
        bucket.tokens = min(rate, bucket.tokens + rate * (now - bucket.at))
        bucket.at = now
        if bucket.tokens < 1:
            error = RateLimited(f"the key {key.name!r} may be used {rate} times a second")
            wait = math.ceil((1 - bucket.tokens) / rate)
            error.headers = {"Retry-After": str(max(1, wait))}
            raise error
        bucket.tokens -= 1


class Access:
    """Asks the door of the application, `app.state.door`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        door: Door | None = getattr(scope["app"].state, "door", None)
        try:
            key = door.admit(scope) if door else None
        except WireError as error:
            await failure(error, scope)(scope, receive, send)
            return
        state["keys_configured"] = door is not None and door.keys is not None
        state["admin"] = key is not None and key.admin
        state["key"] = state["record"].key = key.name if key else None
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_UNDER)


def is_local(scope: Scope, headers: Headers) -> bool:
    """The peer is this machine, and speaks for itself.

    uvicorn replaces the peer's address by what X-Forwarded-For says, if it trusts the peer. Here
    that changes nothing: the header is still there, and who sends it is not local.
    """
    client = scope.get("client")
    return (
        client is not None
        and _is_loopback(client[0])
        and not any(name in headers for name in FORWARDED)
    )


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _given(headers: Headers) -> str | None:
    """The one key that the request has.

    Raises:
        Unauthorized: there are two, or Authorization has another form.
    """
    given = set(headers.getlist("x-api-key"))
    for value in headers.getlist("authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("Authorization must be `Bearer KEY`")
        given.add(key.strip())
    if len(given) > 1:
        raise Unauthorized("the request has two different keys; send one")
    return given.pop() if given else None
