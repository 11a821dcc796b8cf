"""
Camera RAW and DNG, told from TIFF by their tags: a decoder of TIFF would show the preview, or a gray mosaic.

The tags are those by which dcraw and exiftool tell them: photometric "colour filter array" or "linear raw", the
version of DNG, makers' ways to compress, makers' own tags, and the marks of Canon and Phase One.
"""

import re
from collections.abc import Iterator

from rembg_watch.pictures.directories import Directory, Tiff
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.tiff import COMPRESSION, PHOTOMETRIC, below, directories, is_preview

_MAKE, _DNG_VERSION = 271, 50706
_OWN_TAGS = frozenset({33421, 33422, 34310, 50752})
"""The pattern of a colour filter array (twice), Leaf's mosaic and Canon's slices."""

_MOSAICS = frozenset({32803, 34892})
_OWN_WAYS = frozenset({32767, 32769, 32770, 32772, 34713, 34892, 65000, 65535})
"""Sony's, Epson's, Samsung's, Nikon's, that of lossy DNG, Kodak's and Pentax'."""

_MAKERS = {
    b"canon": "Canon",
    b"nikon": "Nikon",
    b"sony": "Sony",
    b"olympus": "Olympus",
    b"om digital": "OM System",
    b"panasonic": "Panasonic",
    b"leica": "Leica",
    b"pentax": "Pentax",
    b"ricoh": "Pentax",
    b"asahi": "Pentax",
    b"samsung": "Samsung",
    b"hasselblad": "Hasselblad",
    b"imacon": "Hasselblad",
    b"phase one": "Phase One",
    b"leaf": "Leaf",
    b"mamiya": "Mamiya",
    b"kodak": "Kodak",
    b"eastman kodak": "Kodak",
    b"epson": "Epson",
    b"seiko epson": "Epson",
    b"fujifilm": "Fujifilm",
    b"sigma": "Sigma",
}
_MARKS = (
    (re.compile(rb"(?s)II\*\0\x10\0\0\0CR\x02"), "a Canon raw picture"),
    (re.compile(rb"(?s).{8}(?:IIII.waR|MMMMRaw.)"), "a Phase One raw picture"),
)
"""Makers' own marks behind the header; pixels may stand there, too, so no short one would do."""

_MOST_NAME_BYTES = 256


def name_of(reader: Reader) -> str:
    """Return what a file that begins as a TIFF does is, with its article; empty if it is no raw picture."""
    marked = next((name for mark, name in _MARKS if mark.match(reader.head)), "")
    if marked:
        return marked
    tiff = Tiff(reader)
    first = tiff.directory(tiff.first_at)
    if _DNG_VERSION in first.fields:
        return "a DNG raw picture"
    maker = _maker(tiff, first)
    is_raw = any(_is_raw(tiff, one) for one in _all(tiff)) or (bool(maker) and is_preview(tiff, first))
    return f"a {maker or 'camera'} raw picture" if is_raw else ""


def _all(tiff: Tiff) -> Iterator[Directory]:
    for directory in directories(tiff):
        yield directory
        yield from below(tiff, directory)


def _is_raw(tiff: Tiff, directory: Directory) -> bool:
    return (
        tiff.number(directory, PHOTOMETRIC) in _MOSAICS
        or tiff.number(directory, COMPRESSION) in _OWN_WAYS
        or not _OWN_TAGS.isdisjoint(directory.fields)
    )


def _maker(tiff: Tiff, first: Directory) -> str:
    field = first.fields.get(_MAKE)
    make = tiff.bytes_of(field, _MOST_NAME_BYTES).strip(b"\0 ").lower() if field is not None else b""
    return next((name for begin, name in _MAKERS.items() if make.startswith(begin)), "")
