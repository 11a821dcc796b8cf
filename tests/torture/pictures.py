"""Small pictures, each of its own bytes, made as fast as a disk takes them."""

import hashlib
import io
import random
import zlib
from functools import cache
from pathlib import Path

from PIL import Image

from rembg_watch.sandbox.render import flat_color


@cache
def _plain(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def jpeg(number: int, more_bytes: int = 0) -> bytes:
    """Make a JPEG that says its number in a segment of its own, as part of the picture, and up to 60 kB of noise."""
    words = b"%d:" % number + random.Random(number).randbytes(min(more_bytes, 60_000))
    plain = _plain("JPEG")
    return plain[:2] + b"\xff\xe9" + (len(words) + 2).to_bytes(2, "big") + words + plain[2:]


def coloured(number: int, more_bytes: int = 0) -> bytes:
    """Make a JPEG as ``jpeg`` does, of one colour that no other number below 4,096 has."""
    file = io.BytesIO()
    Image.new("RGB", (24, 16), _colour(number)).save(file, "JPEG", quality=95)
    plain = jpeg(number, more_bytes)
    return plain[: 4 + int.from_bytes(plain[4:6], "big")] + file.getvalue()[2:]


def _colour(number: int) -> tuple[int, int, int]:
    return tuple(8 + 16 * (number >> shift & 15) for shift in (0, 4, 8))  # type: ignore[return-value]


def number_in(content: bytes) -> int:
    """Return the number that a picture of ``jpeg`` or ``coloured`` says."""
    return int(content[6:20].split(b":")[0])


def png(number: int, more_bytes: int = 0) -> bytes:
    """Make a PNG that says its number in a chunk of its own, as part of the picture."""
    words = b"nuMbnumber\0%d" % number + b"." * more_bytes
    chunk = (len(words) - 4).to_bytes(4, "big") + words + zlib.crc32(words).to_bytes(4, "big")
    plain = _plain("PNG")
    head = plain.index(b"IHDR") + 4 + 13 + 4
    return plain[:head] + chunk + plain[head:]


def digest(content: bytes) -> str:
    """Return what tells pictures apart."""
    return hashlib.sha256(content).hexdigest()


def what_is_wrong(path: Path, source: str | None = None, *, number: int | None = None) -> str | None:
    """
    Open a cut-out as a viewer would and say what is wrong with it.

    Args:
        path: The cut-out.
        source: The digest of the picture that it has to be made from; None: any will do.
        number: The number of the picture whose own colour it has to have; None: any will do.
    """
    try:
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            pixel = image.convert("RGBA").getpixel((image.width // 2, image.height // 2))
    except (OSError, SyntaxError, ValueError) as error:
        return f"{str(path)!r} cannot be shown: {error}"
    if source is not None and pixel != flat_color(source):
        return f"{str(path)!r} was made from another picture"
    if number is not None and any(
        abs(one - wanted) > _NEAR for one, wanted in zip(pixel, _colour(number), strict=False)
    ):
        return f"{str(path)!r} was made from another picture than {number}"
    return None


_NEAR = 7  # levels, less than half of what is between two colours: a JPEG of a JPEG
