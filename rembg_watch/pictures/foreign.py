"""Names for files that are none of the pictures which the service takes, so that a message can say "a TIFF picture"."""

import re
from dataclasses import dataclass

from rembg_watch.pictures import jpeg, png
from rembg_watch.pictures.structure import CUT_SHORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """
    What else a file is.

    Attributes:
        name: What it is, with its article, for a sentence.
        why: Why it is no picture, for a sentence.
        is_sure: It is surely of this kind, not merely unfinished.
    """

    name: str
    why: str
    is_sure: bool = False


_BRANDS: dict[bytes, str] = {
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"heim": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"mif1": "a HEIF picture",
    b"msf1": "a HEIF picture",
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"crx ": "a Canon raw picture",
    b"jxl ": "a JPEG XL picture",
}
"""What the first brand of an ISO media file says; any other is a film."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"II\*\0.{4}CR", "a Canon raw picture"),
    (rb"FUJIFILMCCD-RAW", "a Fujifilm raw picture"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF or camera raw picture"),
    (rb"IIRO|IIRS|MMOR", "an Olympus raw picture"),
    (rb"IIU\0", "a Panasonic raw picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS", "a PostScript document"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (rb"\x00\x00\x01\x00[^\0]\x00", "an icon"),
    (rb"v/1\x01", "an OpenEXR picture"),
    (rb"#\?RADIANCE", "an HDR picture"),
    (rb"SIMPLE  =", "a FITS picture"),
    (rb"(?s:RIFF.{4}AVI |\x1aE\xdf\xa3)", "a film"),
    (rb"(?s:RIFF.{4}WAVE)|ID3|OggS|fLaC", "a sound"),
    (rb"PK\x03\x04", "a ZIP archive or an office document"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf\x27\x1c|Rar!", "an archive"),
    (rb"SQLite format 3\0|\xd0\xcf\x11\xe0", "a database or an office document"),
    (rb"\x7fELF|MZ", "a program"),
    (rb"(?i:\s*(<!doctype html|<html))", "a web page"),
    (rb"(?si:\s*(<\?xml.{0,2000})?(<!--.{0,2000})?<svg)", "an SVG drawing"),
    (rb"\s*<\?xml", "an XML document"),
    (rb'\s*[\[{]\s*["\[{\d]', "a JSON document"),
)
_KNOWN = tuple((re.compile(pattern), name) for pattern, name in _SIGNATURES)
_MARKS = (png.MAGIC, jpeg.MAGIC, b"RIFF", b"BM")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def inspect(head: bytes) -> Foreign:
    """Say what begins with these bytes, of which there is at least one."""
    if head[4:8] == b"ftyp":
        return _sure(_BRANDS.get(head[8:12], "a film"))
    for pattern, name in _KNOWN:
        if pattern.match(head):
            return _sure(name)
    if any(mark.startswith(head) for mark in _MARKS):
        return Foreign(name="a beginning", why=CUT_SHORT)
    if not head.strip(b"\0"):
        return Foreign(name="a blank file", why="it holds nothing but zeros yet")
    if not _CONTROL.search(head[:4096]):
        return Foreign(name="a text", why="it is a text")
    return Foreign(name="an unknown kind of file", why="its first bytes are those of no known picture")


def _sure(name: str) -> Foreign:
    return Foreign(name=name, why=f"it is {name}", is_sure=True)
