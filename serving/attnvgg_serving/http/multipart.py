"""The files of a multipart/form-data body, held in memory and nowhere else."""

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from attnvgg_serving.errors import InvalidRequest, TooManyImages

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


def files(body: bytes, content_type: str, limit: int) -> list[bytes]:
    """The contents of the file parts, in their order.

    Raises:
        InvalidRequest: no boundary, cut off, malformed, no file, or a field that is no file.
        TooManyImages: more than `limit` parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequest("the Content-Type multipart/form-data has no boundary")
    parts = _Parts(limit)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest(f"the multipart body is malformed: {error}") from error
    if not parts.complete:
        raise InvalidRequest("the multipart body is cut off: its last boundary is missing")
    if not parts.contents:
        raise InvalidRequest("the multipart body has no file")
    return [bytes(content) for content in parts.contents]


class _Parts:
    """Collects what the parser finds."""

    def __init__(self, limit: int) -> None:
        self.contents: list[bytearray] = []
        self.complete = False
        self._limit = limit
        self._name = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.contents) == self._limit:
            raise TooManyImages(f"the request has more than {self._limit} pictures")
        self._headers = {}
        self.contents.append(bytearray())

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        picture = self._headers.get(b"content-type", b"").startswith(b"image/")
        if b"filename" not in options and not picture:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise InvalidRequest(
                f"the form field {name!r} is no file; options are query parameters, "
                "as in /v1/predict?top_k=3"
            )

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.contents[-1] += data[start:end]

    def _end(self) -> None:
        self.complete = True
