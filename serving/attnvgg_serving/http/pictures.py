"""From a body of any kind to encoded pictures."""

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from attnvgg_serving.errors import InvalidImage, InvalidRequest, UnsupportedMediaType
from attnvgg_serving.gateway import Picture
from attnvgg_serving.http import multipart
from attnvgg_serving.schemas import JsonBody

RAW = ("image/jpeg", "image/png", "image/webp")
MULTIPART = "multipart/form-data"
JSON = "application/json"
ACCEPTED = (*RAW, MULTIPART, JSON)
# Less than this takes less time to unpack than to change threads.
SMALL = 65_536
# One at a time: the GIL allows no more anyway, and a body takes several times its size.
_slow = ThreadPoolExecutor(1, thread_name_prefix="unpack")


def media_type(content_type: str | None) -> str:
    """The media type of a Content-Type header, without its parameters.

    Raises:
        UnsupportedMediaType: it is none of those accepted.
    """
    found = (content_type or "").split(";")[0].strip().lower()
    if found not in ACCEPTED:
        raise UnsupportedMediaType(
            f"Content-Type is {content_type!r}; it must be one of {', '.join(ACCEPTED)}"
        )
    return found


async def unpack_aside(body: bytes, content_type: str, limit: int) -> list[Picture]:
    """`unpack`, on a thread of its own where megabytes would hold up everybody else."""
    if len(body) < SMALL or media_type(content_type) in RAW:
        return unpack(body, content_type, limit)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_slow, unpack, body, content_type, limit)


def unpack(body: bytes, content_type: str, limit: int) -> list[Picture]:
    """The pictures in a body, still encoded; what they hold is not looked at here.

    Raises:
        InvalidRequest, TooManyImages: the body is not what its Content-Type says.
    """
    kind = media_type(content_type)
    if kind == MULTIPART:
        return list(multipart.files(body, content_type, limit))
    if kind == JSON:
        return [_base64(i, text) for i, text in enumerate(_json(body).images)]
    return [body]


def _json(body: bytes) -> JsonBody:
    try:
        return JsonBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(
            f'the JSON body must be {{"images": [base64, ...]}}; '
            f"{where + ': ' if where else ''}{first['msg']}"
        ) from None


def _base64(index: int, text: str) -> Picture:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        hint = "; send it without the data: prefix" if text.startswith("data:") else ""
        return InvalidImage(f"images[{index}] is not base64{hint}")
