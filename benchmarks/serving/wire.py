"""The bytes of a request, built once; what travels to each server is written down here."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from settings import (
    BEFORE_TRITON,
    BENTOML,
    FASTAPI,
    GATEWAY,
    LITSERVE,
    TRITON_1,
    TRITON_2,
    Target,
)

JSON, BINARY = "application/json", "application/octet-stream"
BOUNDARY = "a-boundary-that-no-jpeg-contains"


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 [H, W, 3]. jpeg: a larger picture, encoded."""

    pixels: NDArray[np.uint8]
    jpeg: bytes


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


def encode(target: Target, picture: Picture, model: str, outputs: Sequence[str]) -> bytes:
    """One HTTP/1.1 request. outputs: what is asked for where maps are wanted, in full."""
    wanted = list(outputs) if target.maps else list(outputs[:1])
    request = _DIALECTS[target.server](target, picture, model, wanted)
    headers = {"Host": "127.0.0.1", **request.headers, "Content-Length": str(len(request.body))}
    lines = [f"POST {request.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + request.body


def _gateway(target: Target, picture: Picture, model: str, outputs: list[str]) -> Request:
    """Pixels as a tensor to /v2; a JPEG as the body of /v1."""
    if target.payload == "pixels":
        return _tensors(target, picture, model, outputs)
    query = "?return_attention=true" if target.maps else ""
    accept = BINARY if target.form == "binary" else JSON
    headers = {"Content-Type": "image/jpeg", "Accept": accept}
    return Request(f"/v1/predict{query}", headers, picture.jpeg)


def _tensors(target: Target, picture: Picture, model: str, outputs: list[str]) -> Request:
    """The Open Inference Protocol with a binary tensor, both ways; BYTES for a JPEG."""
    if target.payload == "pixels":
        shape, kind = [1, *picture.pixels.shape], "UINT8"
        name, data = "image", picture.pixels.tobytes()
    else:
        shape, kind, name = [1, 1], "BYTES", "encoded"
        data = len(picture.jpeg).to_bytes(4, "little") + picture.jpeg
        model = f"{model}-encoded"
    tensor = {"name": name, "shape": shape, "datatype": kind}
    form = {"binary_data": target.form == "binary"}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
            "outputs": [{"name": each, "parameters": form} for each in outputs],
        }
    ).encode()
    length = {"Content-Type": BINARY, "Inference-Header-Content-Length": str(len(head))}
    return Request(f"/v2/models/{model}/infer", length, head + data)


def _bentoml(target: Target, picture: Picture, model: str, outputs: list[str]) -> Request:
    """Arrays as JSON lists, as its own client sends them; a JPEG as a part of a form."""
    verb = "explain" if target.maps else "classify"
    if target.payload == "pixels":
        body = json.dumps({"images": picture.pixels[None].tolist()}, separators=(",", ":"))
        return Request(f"/{verb}_pixels", {"Content-Type": JSON}, body.encode())
    part = 'Content-Disposition: form-data; name="images"; filename="picture.jpg"'
    head = f"--{BOUNDARY}\r\n{part}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Request(
        f"/{verb}_pictures", form, head + picture.jpeg + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def _litserve(target: Target, picture: Picture, model: str, outputs: list[str]) -> Request:
    """JSON with base64: it takes JSON and forms only, and forms are slower."""
    data = picture.pixels.tobytes() if target.payload == "pixels" else picture.jpeg
    text = base64.b64encode(data).decode()
    body = json.dumps({target.payload: text, "maps": target.maps}).encode()
    return Request("/predict", {"Content-Type": JSON}, body)


def _fastapi(target: Target, picture: Picture, model: str, outputs: list[str]) -> Request:
    """The bytes themselves."""
    verb = "explain" if target.maps else "classify"
    if target.payload == "pixels":
        return Request(f"/{verb}/pixels", {"Content-Type": BINARY}, picture.pixels.tobytes())
    return Request(f"/{verb}/picture", {"Content-Type": "image/jpeg"}, picture.jpeg)


_DIALECTS: dict[str, Callable[[Target, Picture, str, list[str]], Request]] = {
    GATEWAY: _gateway,
    BEFORE_TRITON: _gateway,
    TRITON_1: _tensors,
    TRITON_2: _tensors,
    BENTOML: _bentoml,
    LITSERVE: _litserve,
    FASTAPI: _fastapi,
}
