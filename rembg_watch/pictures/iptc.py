"""
IPTC as bytes: records of the Information Interchange Model, version 4.

They are where agencies and older programs keep captions; XMP says the same in newer ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MARK = 0x1C
_PICTURE = 2
_CHARACTERS, _VERSION = (1, 90), (2, 0)
_UTF8 = b"\x1b%G"
_LONG_LENGTH = 0x8000

_PLACE = frozenset({(2, number) for number in (26, 27, 90, 92, 95, 100, 101)})
"""Location, City, Sublocation, Province, Country; the caption may name a place all the same."""

_RIGHTS = frozenset({_CHARACTERS, _VERSION, (2, 80), (2, 85), (2, 110), (2, 115), (2, 116)})
"""By-line and its title, Credit, Source, Copyright Notice."""

_WORDS: Mapping[tuple[int, int], str] = {
    (2, 5): "dc:title",
    (2, 25): "dc:subject",
    (2, 40): "photoshop:Instructions",
    (2, 80): "dc:creator",
    (2, 90): "photoshop:City",
    (2, 95): "photoshop:State",
    (2, 101): "photoshop:Country",
    (2, 105): "photoshop:Headline",
    (2, 110): "photoshop:Credit",
    (2, 115): "photoshop:Source",
    (2, 116): "dc:rights",
    (2, 120): "dc:description",
}
"""What a record is called in XMP (IPTC Photo Metadata Standard)."""


@dataclass(frozen=True, slots=True)
class _Record:
    name: tuple[int, int]
    raw: bytes
    value: bytes


def _records(iptc: bytes) -> Iterator[_Record]:
    at = 0
    while at + 5 <= len(iptc) and iptc[at] == _MARK:
        size, begin = int.from_bytes(iptc[at + 3 : at + 5], "big"), at + 5
        if size & _LONG_LENGTH:
            more = size & ~_LONG_LENGTH
            size, begin = int.from_bytes(iptc[begin : begin + more], "big"), begin + more
        if begin + size > len(iptc):
            return
        yield _Record((iptc[at + 1], iptc[at + 2]), iptc[at : begin + size], iptc[begin : begin + size])
        at = begin + size


def without_place(iptc: bytes) -> bytes:
    """Leave out where it was taken."""
    return b"".join(one.raw for one in _records(iptc) if one.name not in _PLACE)


def copyright_alone(iptc: bytes) -> bytes:
    """Keep who made it and whose it is; empty if nothing says so."""
    found = [one for one in _records(iptc) if one.name in _RIGHTS]
    return b"".join(one.raw for one in found) if {one.name for one in found} - {_CHARACTERS, _VERSION} else b""


def words(iptc: bytes) -> dict[str, list[str]]:
    """Return what the records say, by the names that XMP has for them."""
    records = list(_records(iptc))
    is_utf8 = any(one.name == _CHARACTERS and one.value.startswith(_UTF8) for one in records)
    said: dict[str, list[str]] = {}
    for one in records:
        if one.name in _WORDS and one.value:
            said.setdefault(_WORDS[one.name], []).append(_text(one.value, is_utf8=is_utf8))
    return said


def _text(value: bytes, *, is_utf8: bool) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("utf-8" if is_utf8 else "latin-1", "replace")


# --- in Photoshop's image resources ---------------------------------------------------------------

_RESOURCE = b"8BIM"
_IPTC = 0x0404


def of_photoshop(resources: bytes) -> bytes:
    """Take the records out of Photoshop's image resources, where JPEG and PNG have them."""
    at = 0
    while resources[at : at + 4] == _RESOURCE and at + 8 <= len(resources):
        number, name_bytes = int.from_bytes(resources[at + 4 : at + 6], "big"), resources[at + 6]
        begin = at + 6 + (name_bytes + 2) // 2 * 2
        size = int.from_bytes(resources[begin : begin + 4], "big")
        if number == _IPTC:
            return resources[begin + 4 : begin + 4 + size]
        at = begin + 4 + size + size % 2
    return b""


def as_photoshop(iptc: bytes) -> bytes:
    """Wrap records as the one image resource; a clipping path of the original would be wrong in a cut-out."""
    padding = b"\0" * (len(iptc) % 2)
    return _RESOURCE + _IPTC.to_bytes(2, "big") + b"\0\0" + len(iptc).to_bytes(4, "big") + iptc + padding
