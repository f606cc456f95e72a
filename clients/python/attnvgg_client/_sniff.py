"""What a file is, told by its first bytes: names lie, and so do content types."""

from attnvgg_client._errors import InvalidPictureError

ENOUGH = 512
"""So many first bytes are enough to tell."""

_REFUSED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\x00", "a TIFF picture"),
    (0, b"MM\x00*", "a TIFF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftyp", "an MP4 film"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "gzip-compressed data"),
    (0, b"\x93NUMPY", "a numpy file; load it and give the array"),
)


def media_type(data: bytes, what: str) -> str:
    """image/jpeg, image/png or image/webp.

    Raises:
        InvalidPictureError: it is none of these; says what it looks like instead.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if not data:
        raise InvalidPictureError(f"{what}: empty, 0 bytes", code="invalid_image")
    raise InvalidPictureError(
        f"{what}: {_looks_like(data)}; accepted are JPEG, PNG and WebP",
        code="unsupported_media_type",
    )


def _looks_like(data: bytes) -> str:
    for offset, magic, name in _REFUSED:
        if data[offset:].startswith(magic):
            return name
    head = data[:ENOUGH].lstrip()
    if head.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in head else "an HTML or XML page"
    if b"\x00" not in head and _is_text(data[:ENOUGH]):
        return "text"
    return f"data of an unknown kind (it starts with {data[:8]!r})"


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4  # a character cut in two at the end
    return True
