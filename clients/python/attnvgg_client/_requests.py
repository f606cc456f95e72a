"""The requests of the wire contract, built without sending anything."""

from __future__ import annotations

import platform
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from attnvgg_client._config import Config
from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._http import Request
from attnvgg_client._pictures import Picture
from attnvgg_client._version import __version__

AttentionFormat: TypeAlias = Literal["f16", "f32", "u8"]

USER_AGENT = f"attnvgg-python/{__version__} (Python {platform.python_version()}; {sys.platform})"


@dataclass(frozen=True)
class Options:
    """What `predict` was asked for beside the picture; see Client.predict."""

    return_attention: bool = False
    top_k: int = 5
    attention_format: AttentionFormat = "f16"
    model: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1:
            raise InvalidArgumentError(f"top_k is {self.top_k!r}; it must be 1 or more")
        if self.attention_format not in get_args(AttentionFormat):
            allowed = ", ".join(get_args(AttentionFormat))
            raise InvalidArgumentError(
                f"attention_format is {self.attention_format!r}; it must be one of {allowed}"
            )
        for name, value in (("model", self.model), ("version", self.version)):
            if value is not None and not (isinstance(value, str) and value):
                raise InvalidArgumentError(f"{name} is {value!r}; it must be a name, as a str")

    def params(self) -> dict[str, str]:
        """As query parameters: they are the same for every kind of body."""
        given = {
            "return_attention": "true" if self.return_attention else "false",
            "top_k": str(self.top_k),
            "attention_format": self.attention_format,
            "model": self.model,
            "version": self.version,
        }
        return {name: value for name, value in given.items() if value is not None}


def predict_one(config: Config, picture: Picture, options: Options) -> Request:
    """The picture is the body, as it is."""
    return _predict(config, picture.data, picture.media_type, options)


def predict_several(config: Config, pictures: Sequence[Picture], options: Options) -> Request:
    """One multipart part a picture, in order. File names stay here: they are nobody's business."""
    boundary = uuid.uuid4().hex
    parts: list[bytes] = []
    for place, picture in enumerate(pictures):
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="images"; filename="{place}"\r\n'
            f"Content-Type: {picture.media_type}\r\n\r\n"
        )
        parts += [head.encode(), picture.data, b"\r\n"]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return _predict(config, body, f"multipart/form-data; boundary={boundary}", options)


def get(config: Config, path: str) -> Request:
    """A GET without parameters."""
    headers = _headers(config) | {"Accept": "application/json"}
    return Request("GET", f"{config.url}{path}", headers, {})


def fetch(url: str, limit: int) -> Request:
    """A picture from somewhere else; our key and our ids are not for them."""
    headers = {"User-Agent": USER_AGENT, "Accept": "image/jpeg, image/png, image/webp"}
    return Request("GET", url, headers, {}, limit=limit)


def _predict(config: Config, body: bytes, content_type: str, options: Options) -> Request:
    headers = _headers(config) | {
        "Accept": "application/octet-stream, application/json;q=0.5",
        "Content-Type": content_type,
    }
    return Request("POST", f"{config.url}/v1/predict", headers, options.params(), body)


def _headers(config: Config) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "X-Request-ID": uuid.uuid4().hex}
    if config.api_key is not None:
        headers["Authorization"] = f"Bearer {config.api_key}"
    return headers


def with_header(request: Request, name: str, value: str) -> Request:
    """The same request with one header more."""
    return replace(request, headers={**request.headers, name: value})
