"""
Tell a picture by its first bytes and read its size from its header.

The sandbox has its own reading of the four accepted formats, so that a mistake
here shows against the program's. It decodes nothing: a picture may pass here and
still turn out broken when it is opened.
"""

import struct
from typing import BinaryIO

HEAD_BYTES = 64


def picture_format(head: bytes) -> str | None:
    """Name the format whose signature *head* begins with; None for anything that is not accepted."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM"):
        return "BMP"
    return None


def picture_size(file: BinaryIO) -> tuple[int, int] | None:
    """Read width and height from the header; None where the header is broken or ends too soon."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    kind = picture_format(head)
    try:
        if kind == "JPEG":
            return _jpeg_size(file)
        return {"PNG": _png_size, "WEBP": _webp_size, "BMP": _bmp_size}[kind or ""](head)
    except (struct.error, KeyError):
        return None
    finally:
        file.seek(0)


def _png_size(head: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _bmp_size(head: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", head, 14)
    if header_bytes == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height = struct.unpack_from("<ii", head, 18)
    return abs(width), abs(height)


def _webp_size(head: bytes) -> tuple[int, int]:
    chunk = head[12:16]
    if chunk == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", head, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_NO_FRAMES = {0xC4, 0xC8, 0xCC}  # in the range of frame headers, but tables


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(2)
    while (marker := _next_marker(file)) is not None:
        if marker in _BARE_MARKERS:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            height, width = struct.unpack_from(">HH", file.read(5), 1)
            return width, height
        if marker == 0xDA or length < 2:  # the scan began without a frame header
            return None
        file.seek(length - 2, 1)
    return None


def _next_marker(file: BinaryIO) -> int | None:
    if file.read(1) != b"\xff":
        return None
    byte = file.read(1)
    while byte == b"\xff":  # fill bytes
        byte = file.read(1)
    return byte[0] if byte else None
