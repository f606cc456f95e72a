"""The only file that knows httpx: sends one request, reads one answer, translates its errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from attnvgg_client._errors import APIConnectionError, AttnVGGError, DeadlineError, ProtocolError
from attnvgg_client._http import Reply, Request, Send

CONNECT_SECONDS = 5.0


class SyncTransport:
    """Blocking; may be shared by threads."""

    def __init__(self, transport: httpx.BaseTransport | None) -> None:
        self._client = httpx.Client(transport=transport)

    def send(self, effect: Send) -> Reply:
        """The whole answer.

        Raises:
            APIConnectionError, DeadlineError, ProtocolError
        """
        end, body = time.monotonic() + effect.seconds, bytearray()
        with _translated(effect), self._client.stream(**_arguments(effect)) as response:
            for block in response.iter_bytes():
                _collect(body, block, effect.request)
                if time.monotonic() > end:  # httpx limits each read, not their sum
                    raise _late(effect)
            return _reply(response, body)

    def close(self) -> None:
        self._client.close()


class AsyncTransport:
    """The same for asyncio."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._client = httpx.AsyncClient(transport=transport)

    async def send(self, effect: Send) -> Reply:
        """The whole answer; errors as for SyncTransport.send."""
        try:
            async with asyncio.timeout(effect.seconds):
                return await self._send(effect)
        except TimeoutError as error:
            if isinstance(error, DeadlineError):
                raise
            raise _late(effect) from error

    async def _send(self, effect: Send) -> Reply:
        body = bytearray()
        with _translated(effect):
            async with self._client.stream(**_arguments(effect)) as response:
                async for block in response.aiter_bytes():
                    _collect(body, block, effect.request)
                return _reply(response, body)

    async def close(self) -> None:
        await self._client.aclose()


def _arguments(effect: Send) -> dict[str, Any]:
    request, seconds = effect.request, effect.seconds
    return {
        "method": request.method,
        "url": request.url,
        "params": request.params or None,  # {} would cut off the query of a picture's URL
        "headers": dict(request.headers),
        "content": request.body or None,
        "timeout": httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
    }


def _reply(response: httpx.Response, body: bytearray) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, bytes(body))


def _collect(body: bytearray, block: bytes, request: Request) -> None:
    body += block
    if len(body) > request.limit:
        raise ProtocolError(f"the answer has more than {request.limit:,} bytes")


def _late(effect: Send) -> DeadlineError:
    return DeadlineError(f"no whole answer within {effect.seconds:.3g} s")


@contextmanager
def _translated(effect: Send) -> Iterator[None]:
    """httpx's errors -> this package's."""
    try:
        yield
    except AttnVGGError:  # a DeadlineError is an OSError too, and is right already
        raise
    except httpx.ConnectTimeout as error:
        raise APIConnectionError(f"no connection within {CONNECT_SECONDS:g} s") from error
    except httpx.TimeoutException as error:
        raise _late(effect) from error
    except (httpx.DecodingError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ProtocolError(str(error)) from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise APIConnectionError(reason) from error
