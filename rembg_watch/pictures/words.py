"""
What a picture says of itself, as words that a name can hold.

IPTC's words come from XMP, and where that does not say them from the older records. They were typed by people, or by
nobody knows whom: what comes out of here is never a path, is readable on every usual system, and is of a bounded
length. Which part of a name it becomes is for ``naming``.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import date

from rembg_watch.paths import shortened
from rembg_watch.pictures import exif, iptc, xmp
from rembg_watch.pictures.metadata import Metadata

MOST_BYTES = 100
"""The longest word in UTF-8: with it and a number of its own a name still fits everywhere."""

FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
"""In a part of a name: what one of the usual systems refuses."""

_UNREADABLE = "\ufffd"
_HOLLOW = " ._-"
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\..*)?", re.IGNORECASE
)
_DAY = re.compile(rb"(\d{4})[:-](\d\d)[:-](\d\d)")


def _of_iptc(name: str) -> Callable[[Metadata], str]:
    def found(metadata: Metadata) -> str:
        said = xmp.words(metadata.xmp).get(name) if metadata.xmp else None
        said = said or iptc.words(metadata.iptc).get(name) or []
        return ", ".join(said) if name == "dc:creator" else next(iter(said), "")  # else: of several languages

    return found


def _of_exif(tag: int) -> Callable[[Metadata], str]:
    def found(metadata: Metadata) -> str:
        said = exif.text(metadata.exif, tag).partition(b"\0")[0]  # photographer, and then perhaps the editor
        try:
            return said.decode()
        except UnicodeDecodeError:
            return said.decode("latin-1")

    return found


def _day(metadata: Metadata) -> str:
    found = _DAY.match(exif.text(metadata.exif, exif.TAKEN_AT).lstrip(b" "))
    try:
        return date(*map(int, found.groups())).isoformat() if found else ""
    except ValueError:
        return ""


WORDS: Mapping[str, Callable[[Metadata], str]] = {
    "iptc.title": _of_iptc("dc:title"),
    "iptc.headline": _of_iptc("photoshop:Headline"),
    "iptc.creator": _of_iptc("dc:creator"),
    "iptc.credit": _of_iptc("photoshop:Credit"),
    "iptc.copyright": _of_iptc("dc:rights"),
    "exif.artist": _of_exif(exif.ARTIST),
    "exif.copyright": _of_exif(exif.COPYRIGHT),
    "exif.date": _day,
}
"""The tokens that a picture answers itself. ``exif.date`` is the day on which it was taken, by the camera's clock."""


def words_of(metadata: Metadata, tokens: Iterable[str]) -> dict[str, str]:
    """Return what a picture says of these tokens, each as a word for a name; what it does not say is left out."""
    found = {token: worded(WORDS[token](metadata)) for token in tokens}
    return {token: word for token, word in found.items() if word}


def worded(value: str) -> str:
    """Make a text one that a part of a name can hold; empty if there is nothing in it that one could read."""
    seen = (char for char in " ".join(value.split()) if unicodedata.category(char)[0] != "C" or FORBIDDEN.match(char))
    spelled = unicodedata.normalize("NFC", "".join(seen)).replace(_UNREADABLE, "_")
    safe = " ".join(FORBIDDEN.sub("_", spelled).split()).rstrip(" .")
    if safe.startswith((".", "-", "~")):  # hidden, an option for whoever types it, some program's own
        safe = "_" + safe[1:]
    if not safe.strip(_HOLLOW):
        return ""
    return shortened(safe.encode(), MOST_BYTES).decode()


def part_of_a_place(part: str) -> str:
    """Make a part of a place that holds such words one that every usual system takes: no device, and not too long."""
    part = part.rstrip(" .")
    if _RESERVED.fullmatch(part):
        part = "_" + part
    return shortened(part.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
