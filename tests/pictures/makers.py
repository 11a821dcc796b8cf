"""Pictures made for tests: whole ones, and the segments, chunks and directories to put odd ones together."""

import io
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

ORIENTATION = 0x0112
XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
MPF = b"MPF\0"


def quarters(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture whose four corners differ, so that every turn shows."""
    picture = Image.new("RGB", size, "white")
    half = (size[0] // 2, size[1] // 2)
    picture.paste("red", (0, 0, *half))
    picture.paste("blue", (half[0], 0, size[0], half[1]))
    picture.paste("green", (0, half[1], half[0], size[1]))
    return picture


def noise(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(sum(size)).randbytes(size[0] * size[1] * 3)).convert(mode)


def saved(picture: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_, **options)
    return out.getvalue()


# --- JPEG -----------------------------------------------------------------------------------------


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def app1(payload: bytes) -> bytes:
    return segment(0xE1, payload)


def with_segments(jpeg: bytes, segments: Sequence[bytes]) -> bytes:
    """Put segments right behind the start mark."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def mpo(sizes: Sequence[tuple[int, int]] = ((400, 300), (400, 300))) -> bytes:
    first, *others = (noise(size) for size in sizes)
    return saved(first, "MPO", save_all=True, append_images=others)


# --- PNG ------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)
    )


def with_chunks(png: bytes, before: Sequence[bytes] = (), behind: Sequence[bytes] = ()) -> bytes:
    """Put chunks before and behind the compressed picture, both within what Pillow writes."""
    data, end = png.index(b"IDAT") - 4, png.index(b"IEND") - 4
    return png[:data] + b"".join(before) + png[data:end] + b"".join(behind) + png[end:]


def international(key: bytes, text: bytes, *, is_packed: bool = False) -> bytes:
    return chunk(b"iTXt", key + b"\0" + bytes([is_packed, 0]) + b"\0\0" + (zlib.compress(text) if is_packed else text))


def hexadecimal(name: bytes, block: bytes) -> bytes:
    """A profile as ImageMagick writes it."""
    digits = block.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return b"\n%b\n%8d\n%b\n" % (name, len(block), "\n".join(lines).encode())


# --- WebP -----------------------------------------------------------------------------------------


def riff(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(n + struct.pack("<I", len(d)) + d + bytes(len(d) % 2) for n, d in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def extended_webp(
    picture: Image.Image,
    before: Sequence[tuple[bytes, bytes]] = (),
    behind: Sequence[tuple[bytes, bytes]] = (),
    flags: int = 12,
) -> bytes:
    plain = saved(picture, "WEBP", lossless=True)
    width, height = picture.width - 1, picture.height - 1
    head = bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return riff([(b"VP8X", head), *before, (b"VP8L", plain[20 : 20 + struct.unpack_from("<I", plain, 16)[0]]), *behind])


# --- EXIF and XMP ---------------------------------------------------------------------------------

Entry = tuple[int, int, int, bytes]
"""Tag, type, how many values, and the values as they stand in the file."""


def tiff(entries: Sequence[Entry], order: str = "<", mark: bytes | None = None, directory_at: int = 8) -> bytes:
    """A TIFF block with one directory; values of more than four bytes stand behind it."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order] if mark is None else mark
    far_at = directory_at + 2 + 12 * len(entries) + 4
    body, far = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, values in entries:
        place = values.ljust(4, b"\0") if len(values) <= 4 else struct.pack(order + "I", far_at + len(far))
        far += values if len(values) > 4 else b""
        body += struct.pack(order + "HHI", tag, kind, count) + place
    return mark + struct.pack(order + "I", directory_at) + bytes(directory_at - 8) + body + bytes(4) + far


def turned(orientation: int, order: str = "<", padding: int = 0) -> bytes:
    """The usual block, with as much else in it as is wished."""
    entries: list[Entry] = [(ORIENTATION, 3, 1, struct.pack(order + "H", orientation))]
    if padding:
        entries.insert(0, (0x010E, 2, padding, b"x" * padding))
    return tiff(entries, order)


def xmp(orientation: int, form: str = "attribute", padding: int = 0) -> bytes:
    inside = {
        "attribute": f'<rdf:Description tiff:Orientation="{orientation}"/>',
        "element": f"<rdf:Description><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>",
        "other quotes": f"<rdf:Description tiff:Orientation='{orientation}'/>",
    }[form]
    return f"<x:xmpmeta><rdf:RDF>{'<!-- -->' * (padding // 8)}{inside}</rdf:RDF></x:xmpmeta>".encode()
