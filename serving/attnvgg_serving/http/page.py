"""The page at / and its files under /web/, as they were when the process started.

An upgrade that replaces the files beneath a running server mixes no two versions of the page. The
names carry no hash, so that a browser asks each time whether its copy still holds; that it does
costs it no second download.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent.parent / "web"
INDEX = "index.html"
# Not from the machine's table of types, which may say anything; nosniff makes browsers believe us.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    "": "text/plain; charset=utf-8",  # NOTICE
}
# Only a document heeds these, and this is the only one: it needs no device, and no window that
# opened it or that it opens may reach into it.
DOCUMENT_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
}


@dataclass(frozen=True)
class File:
    content: bytes = field(repr=False)
    media_type: str
    etag: str


@cache
def files(folder: Path = FOLDER) -> dict[str, File]:
    """By name, as it stands after /web/: what is not in here cannot be asked for."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def index(request: Request) -> Response:
    """GET /."""
    return _answer(request, files()[INDEX], DOCUMENT_HEADERS)


async def file(request: Request) -> Response:
    """GET /web/NAME; the page itself is at / only, as its addresses are relative to that."""
    name = request.path_params["name"]
    found = files().get(name)
    if found is None or name == INDEX:
        raise HTTPException(404)
    return _answer(request, found, {})


def _read(path: Path) -> File:
    content = path.read_bytes()
    kind = TYPES.get(PurePosixPath(path.name).suffix.lower(), "application/octet-stream")
    return File(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _answer(request: Request, file: File, more: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-cache", "ETag": file.etag, **more}
    if _is_known(request.headers.getlist("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


def _is_known(given: list[str], etag: str) -> bool:
    """RFC 9110, 13.1.2: a list, compared weakly, as a proxy that compresses marks ours as weak."""
    tags = {tag.strip().removeprefix("W/") for line in given for tag in line.split(",")}
    return etag in tags or "*" in tags
