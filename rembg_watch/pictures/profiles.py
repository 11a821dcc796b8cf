"""Colour profiles that a picture may lack, and what is known of one without a colour management system."""

import struct
from pathlib import Path

from rembg_watch.pictures.metadata import colours_of_profile

SRGB, ADOBE_RGB = "srgb", "adobe-rgb"
"""What a picture without a profile may be said to be, apart from the path of a profile."""

MOST_BYTES = 16 << 20
_D50 = (0.9642, 1.0, 0.8249)

# Primaries of Adobe RGB (1998), seen under D50, as its specification states them in annex A.
_ADOBE_XYZ = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
_ADOBE_GAMMA = 2.19921875


class WrongProfileError(ValueError):
    """A file is no colour profile, or one of another kind of colours."""


def adobe_rgb() -> bytes:
    """Make a profile of the colours of Adobe RGB (1998): a matrix and one curve for all bands (ICC.1:2001-04)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(_ADOBE_GAMMA * 256)) + b"\0\0"
    words = b"compatible with Adobe RGB (1998)\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + bytes(12 + 67),
        b"cprt": b"text\0\0\0\0no copyright, use freely\0",
        b"wtpt": _xyz(_D50),
        **{name: _xyz(value) for name, value in _ADOBE_XYZ.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    return _profile(tags)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s", size, b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(64, b"\0") + struct.pack(">I", 0) + _fixed(_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in values))


def read_profile(path: str) -> bytes:
    """
    Read a profile from a file.

    Raises:
        WrongProfileError: It is none.
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES or not colours_of_profile(data):
        raise WrongProfileError(f"{path} is no ICC profile")
    return data
