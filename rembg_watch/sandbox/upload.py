"""
Read a ``multipart/form-data`` body as it arrives.

The picture goes to a file that stays in memory while it is small; what lies beyond
the size limit is counted and forgotten. A body that is no form, or a broken one,
yields what could be read of it: the rules then say that no picture came.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from typing import BinaryIO, cast

from rembg_watch.sandbox.exchange import MissingExtraError, Orders, Request, Upload
from rembg_watch.sandbox.rules import MAX_UPLOAD_BYTES

try:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header
except ImportError as error:
    raise MissingExtraError("python-multipart") from error

IN_MEMORY_BYTES = 2 * 1024 * 1024
MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS = 100


class UploadReader:
    """Takes chunks in and has a picture and fields to show at the end."""

    def __init__(self, content_type: str | None) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None  # known as soon as the picture's part begins
        self.received_bytes = 0
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._type: str | None = None
        self._part_name = ""
        self._part_file: str | None = None
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._is_broken = False
        self._parser = self._make_parser(content_type)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self.received_bytes += len(chunk)
        if self._parser is None or self._is_broken:
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._is_broken = True

    def image(self) -> Upload | None:
        """Return the picture, as far as it came; None where no part was one."""
        if self._file is None or self.filename is None:
            return None
        self._file.seek(0)
        return Upload(
            filename=self.filename,
            file=self._file,
            size_bytes=self._size,
            sha256=self._digest.hexdigest(),
            content_type=self._type,
        )

    def request(self, method: str, path: str, headers: Mapping[str, str], orders: Orders | None) -> Request:
        """Return the request that the form came with, as far as it came."""
        return Request(method=method, path=path, headers=headers, fields=self.fields, image=self.image(), orders=orders)

    def close(self) -> None:
        """Forget the picture."""
        if self._file is not None:
            self._file.close()

    def _make_parser(self, content_type: str | None) -> MultipartParser | None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            return None
        callbacks = {
            "on_part_begin": self._begin_part,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._name_part,
        }
        try:
            return MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same names
        except FormParserError:
            return None

    def _begin_part(self) -> None:
        self._headers, self._value = {}, bytearray()
        self._part_name, self._part_file = "", None

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _name_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part_name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if self._part_name != "image" or filename is None or self._file is not None:
            return
        self._part_file = self.filename = filename.decode("utf-8", "replace")
        self._type = self._headers.get(b"content-type", b"").decode("utf-8", "replace")
        self._file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))  # noqa: SIM115  # close() is ours

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._part_file is None:
            room = MAX_FIELD_BYTES - len(self._value)
            self._value.extend(data[start : min(end, start + room)])
            return
        piece = memoryview(data)[start:end]
        self._digest.update(piece)
        if self._size <= MAX_UPLOAD_BYTES and self._file is not None:
            self._file.write(piece)
        self._size += end - start

    def _end_part(self) -> None:
        if self._part_file is None and self._part_name and len(self.fields) < MAX_FIELDS:
            self.fields[self._part_name] = self._value.decode("utf-8", "replace")
        self._part_file = None
