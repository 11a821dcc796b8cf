"""
XMP as bytes: what of it is carried over, with all else as the program that wrote it left it.

Properties are cut out where they stand; nothing is written anew, since every program spells XMP in its own way.
A packet that is no XML, or that defines entities, is not carried over. XMP: ISO 16684-1.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

_DC = "http://purl.org/dc/elements/1.1/"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_PHOTOSHOP, _RIGHTS = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/xap/1.0/rights/"
_MANAGED = "http://ns.adobe.com/xap/1.0/mm/"
_XMP, _NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
_CORE, _EXT = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

_MOST_BYTES, _DEEPEST = 4 << 20, 100

Name = tuple[str, str]  # namespace and local name

_OF_THE_ORIGINAL: frozenset[Name] = frozenset(
    {
        (_TIFF, "Orientation"),
        (_TIFF, "ImageWidth"),
        (_TIFF, "ImageLength"),
        (_EXIF, "PixelXDimension"),
        (_EXIF, "PixelYDimension"),
        (_XMP, "Thumbnails"),
        (_NOTE, "HasExtendedXMP"),
    }
)
"""What is not true of the cut-out; further parts of a packet (extended XMP) are not carried over."""

_PLACES: frozenset[Name] = frozenset(
    {
        (_PHOTOSHOP, "City"),
        (_PHOTOSHOP, "State"),
        (_PHOTOSHOP, "Country"),
        (_CORE, "Location"),
        (_CORE, "CountryCode"),
        (_EXT, "LocationCreated"),
        (_EXT, "LocationShown"),
    }
)
_POSITION = re.compile("gps|latitude|longitude", re.IGNORECASE)
"""In the name of a property of whatever maker: drones have their own."""

_WHOSE: Mapping[Name, str] = {
    (_DC, "rights"): "dc:rights",
    (_DC, "creator"): "dc:creator",
    (_PHOTOSHOP, "Credit"): "photoshop:Credit",
    (_PHOTOSHOP, "Source"): "photoshop:Source",
    (_PHOTOSHOP, "AuthorsPosition"): "photoshop:AuthorsPosition",
    (_RIGHTS, "Marked"): "xmpRights:Marked",
    (_RIGHTS, "WebStatement"): "xmpRights:WebStatement",
    (_RIGHTS, "UsageTerms"): "xmpRights:UsageTerms",
    (_RIGHTS, "Owner"): "xmpRights:Owner",
    (_PLUS, "WebStatementOfRights"): "plus:WebStatementOfRights",
}
_SPOKEN: Mapping[Name, str] = {
    (_DC, "title"): "dc:title",
    (_DC, "creator"): "dc:creator",
    (_DC, "rights"): "dc:rights",
    (_PHOTOSHOP, "Headline"): "photoshop:Headline",
    (_PHOTOSHOP, "Credit"): "photoshop:Credit",
}
_OF_OTHERS: frozenset[Name] = frozenset({(_MANAGED, "Pantry"), (_MANAGED, "Ingredients"), (_MANAGED, "DerivedFrom")})
"""What is said there is said of pictures that were put into this one."""

_SPACES = {"dc": _DC, "photoshop": _PHOTOSHOP, "xmpRights": _RIGHTS, "plus": _PLUS}
_IN_LANGUAGES = frozenset({"dc:title", "dc:description", "dc:rights", "xmpRights:UsageTerms"})
_IN_ORDER, _IN_NO_ORDER = frozenset({"dc:creator"}), frozenset({"dc:subject", "xmpRights:Owner"})


class _NotReadError(Exception):
    """It is no XML, or one that is not read."""


@dataclass(slots=True)
class _Element:
    name: Name
    at: int
    spaces: Mapping[str, str]


@dataclass(slots=True)
class _Walk:
    """A way through a packet, which notes where properties stand and what they say."""

    packet: bytes
    drops: frozenset[Name] = frozenset()
    drops_positions: bool = False
    cuts: list[tuple[int, int]] = field(default_factory=list)
    said: dict[Name, list[str]] = field(default_factory=dict)
    _open: list[_Element] = field(default_factory=list)
    _cutting: int = 0  # how many elements are open within the one that is cut out
    _text: list[str] = field(default_factory=list)

    def go(self) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.ordered_attributes = True
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = lambda name, attributes: self._start(parser, name, attributes)
        parser.EndElementHandler = lambda _name: self._end(parser)
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(self.packet, True)
        except (expat.ExpatError, ValueError) as error:
            raise _NotReadError(str(error)) from error

    def _start(self, parser: expat.XMLParserType, tag: str, attributes: Sequence[str]) -> None:
        at = parser.CurrentByteIndex
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        if len(self._open) > _DEEPEST:
            raise ValueError("elements within elements without end")
        spaces = self._open[-1].spaces if self._open else {}
        new = {name.partition(":")[2]: uri for name, uri in pairs if name == "xmlns" or name.startswith("xmlns:")}
        spaces = {**spaces, **new} if new else spaces
        self._open.append(_Element(_resolved(tag, spaces), at, spaces))
        self._text.clear()
        if self._cutting or self._is_dropped(self._open[-1].name):
            self._cutting += 1
            return
        end = _tag_end(self.packet, at)
        for name, value in pairs:
            resolved = _resolved(name, spaces) if ":" in name else ("", name)
            if self._is_dropped(resolved):
                self.cuts += _attribute_places(self.packet, at, end, name)
            else:
                self.said.setdefault(resolved, []).append(value)

    def _end(self, parser: expat.XMLParserType) -> None:
        element = self._open.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if self._cutting:
            self._cutting -= 1
            if not self._cutting:
                at = parser.CurrentByteIndex
                is_empty = self.packet[at : at + 2] != b"</"  # <x/>: its end is told where it ends
                self.cuts.append((element.at, _tag_end(self.packet, element.at if is_empty else at)))
        elif text:
            owner = element.name
            if owner == (_RDF, "li") and len(self._open) >= 2:
                owner = self._open[-2].name
            self.said.setdefault(owner, []).append(text)

    def _is_dropped(self, name: Name) -> bool:
        return name in self.drops or (self.drops_positions and bool(_POSITION.search(name[1])))


def _refuse(*_doctype: object) -> None:
    raise ValueError("a packet that defines entities is not read")


def _resolved(name: str, spaces: Mapping[str, str]) -> Name:
    prefix, colon, local = name.rpartition(":")
    return spaces.get(prefix if colon else "", prefix), local


_TAG = re.compile(rb"""<[^>"']*(?:"[^"]*"[^>"']*|'[^']*'[^>"']*)*>""")


def _tag_end(packet: bytes, at: int) -> int:
    """Say where the tag that begins at *at* ends."""
    found = _TAG.match(packet, at)
    return found.end() if found else at


def _attribute_places(packet: bytes, at: int, end: int, name: str) -> Iterator[tuple[int, int]]:
    pattern = rb"""\s+""" + re.escape(name.encode()) + rb"""\s*=\s*(?:"[^"]*"|'[^']*')"""
    for found in re.finditer(pattern, packet[at:end]):
        yield at + found.start(), at + found.end()


def as_utf8(packet: bytes) -> bytes:
    """Return a packet in UTF-8, without what fills it up at its ends; empty where it is no text, or far too long."""
    if len(packet) > _MOST_BYTES:
        return b""
    for mark, encoding in (
        (b"\xfe\xff", "utf-16"),
        (b"\xff\xfe", "utf-16"),
        (b"\0<", "utf-16-be"),
        (b"<\0", "utf-16-le"),
    ):
        if packet.startswith(mark):
            return packet.decode(encoding, "replace").encode().strip(b"\0 \r\n\t")
    try:
        packet.decode()
    except UnicodeDecodeError:
        return b""
    return packet.strip(b"\0 \r\n\t")


def edited(packet: bytes, *, has_place: bool) -> bytes:
    """Return a packet as it is true of an upright cut-out; empty if it cannot be read."""
    if not packet:
        return b""
    walk = _Walk(
        packet, drops=_OF_THE_ORIGINAL if has_place else _OF_THE_ORIGINAL | _PLACES, drops_positions=not has_place
    )
    try:
        walk.go()
    except _NotReadError:
        return b""
    for begin, end in sorted(walk.cuts, reverse=True):
        packet = packet[:begin] + packet[end:]
    return packet


def copyright_alone(packet: bytes) -> bytes:
    """Return a packet that says who made the picture and whose it is; empty if this one says nothing of it."""
    walk = _Walk(packet)
    try:
        walk.go()
    except _NotReadError:
        return b""
    return write({spelled: walk.said[name] for name, spelled in _WHOSE.items() if name in walk.said})


def words(packet: bytes) -> dict[str, list[str]]:
    """Return what a packet says of its picture, by the names of its properties; nothing if it cannot be read."""
    walk = _Walk(as_utf8(packet), drops=_OF_OTHERS)
    try:
        walk.go()
    except _NotReadError:
        return {}
    return {spelled: walk.said[name] for name, spelled in _SPOKEN.items() if name in walk.said}


def write(words: Mapping[str, Sequence[str]]) -> bytes:
    """Write a packet that says these things, each by a property of Dublin Core, Photoshop, XMP rights or PLUS."""
    if not words:
        return b""
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    inside = "".join(_property(name, values) for name, values in words.items())
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""{spaces}>{inside}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    )
    return text.encode()


_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def _property(name: str, values: Sequence[str]) -> str:
    texts = ["".join(char for char in value.translate(_ESCAPED) if char >= " " or char in "\t\n") for value in values]
    if name in _IN_LANGUAGES:
        return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{texts[0]}</rdf:li></rdf:Alt></{name}>'
    for kind, names in (("Seq", _IN_ORDER), ("Bag", _IN_NO_ORDER)):
        if name in names:
            return f"<{name}><rdf:{kind}>" + "".join(f"<rdf:li>{t}</rdf:li>" for t in texts) + f"</rdf:{kind}></{name}>"
    return f"<{name}>{texts[0]}</{name}>"
