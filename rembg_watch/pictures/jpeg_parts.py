"""
A JPEG taken apart: what it says of its picture, and which of its bytes make that picture; and put together anew.

Segments that no decoder needs for the pixels (EXIF, XMP, Photoshop's, comments) do not count as picture; all
others do, those of unknown programs too. JFIF: ITU-T T.871; ICC: ICC.1 annex B.4; XMP: ISO 16684-3.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rembg_watch.pictures import iptc
from rembg_watch.pictures.exif import built, sensible_dpi, without_prefix
from rembg_watch.pictures.jpeg import APP1, APP2, COLOURS, EOI, EXIF, FRAMES, MARKER_BYTES, SCAN, XMP, Segment, segments
from rembg_watch.pictures.metadata import MOST_BYTES, Cut, Drops, Metadata, Parts, resolution
from rembg_watch.pictures.reader import BITE_BYTES, Reader

_APP0, _APP13, _ADOBE, _COMMENT = 0xE0, 0xED, 0xEE, 0xFE
_JFIF, _PROFILE, _PHOTOSHOP = b"JFIF\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_END = b"\xff\xd9"
_MOST_IN_A_SEGMENT = 0xFFFF - 2
_INCHES, _CENTIMETRES, _CM = 1, 2, 2.54


@dataclass(slots=True)
class _Found:
    """What the segments before the compressed picture have said."""

    picture: list[tuple[int, int]] = field(default_factory=list)
    exif: list[bytes] = field(default_factory=list)
    xmp: bytes = b""
    photoshop: bytes = b""
    profile: dict[int, bytes] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    colours: str = ""
    jfif: Segment | None = None
    words: list[Segment] = field(default_factory=list)  # EXIF, XMP and Photoshop's
    profiles: list[Segment] = field(default_factory=list)
    comments: bytes = b""
    data_at: int = 0  # where the compressed picture begins; 0: there is none

    def add(self, begin: int, end: int) -> None:
        """Add a stretch to the picture; one that follows the last is one with it."""
        if self.picture and self.picture[-1][1] == begin:
            begin, _ = self.picture.pop()
        self.picture.append((begin, end))

    @property
    def metadata(self) -> Metadata:
        pieces = [piece if not number else piece[len(EXIF) :] for number, piece in enumerate(self.exif)]
        exif = without_prefix(b"".join(pieces))
        return Metadata(
            profile=b"".join(piece for _, piece in sorted(self.profile.items())),
            exif=exif,
            xmp=self.xmp,
            iptc=iptc.of_photoshop(self.photoshop),
            dpi=resolution(self.dpi, exif),
        )


def read(reader: Reader) -> Parts:
    """Take a JPEG apart; one that breaks off before its picture is all picture."""
    found = _found(reader)
    if not found.data_at:
        return Parts(metadata=Metadata(), picture=((0, reader.size_bytes),))
    found.add(found.data_at, _end(reader, found.data_at))
    return Parts(
        metadata=found.metadata,
        picture=tuple(found.picture),
        colours=found.colours,
        states_colours=bool(found.profile),
        comments=found.comments,
    )


def _found(reader: Reader) -> _Found:
    found = _Found()
    for segment in segments(reader, 2):
        if segment.marker == SCAN:
            found.data_at = segment.at - MARKER_BYTES if segment.end <= reader.size_bytes else 0
            break
        if not _take(reader, segment, found):
            found.add(segment.at - MARKER_BYTES, segment.end)
    return found


def _take(reader: Reader, segment: Segment, found: _Found) -> bool:
    """Take what a segment says; say if it is no part of the picture."""
    match segment.marker:
        case 0xE0 if reader.read(segment.at, len(_JFIF)) == _JFIF:
            found.jfif = found.jfif or segment
            found.add(segment.at, segment.at + len(_JFIF))  # that it is there says how colours are kept
            found.dpi = found.dpi or _dpi(reader, segment)
        case 0xE1:
            return _take_words(reader, segment, found)
        case 0xE2 if reader.read(segment.at, len(_PROFILE)) == _PROFILE:
            _take_profile(reader, segment, found)
            return False
        case 0xED if reader.read(segment.at, len(_PHOTOSHOP)) == _PHOTOSHOP:
            found.words.append(segment)
            found.photoshop += _after(reader, segment, _PHOTOSHOP)
        case 0xFE:
            found.comments += reader.read(segment.at, segment.size)
        case _:
            if segment.marker in FRAMES:
                (planes,) = reader.unpack("B", segment.at + 5) or (0,)
                found.colours = found.colours or COLOURS.get(planes, "")
            return False
    return True


def _take_words(reader: Reader, segment: Segment, found: _Found) -> bool:
    begin = reader.read(segment.at, min(segment.size, len(_MORE_XMP)))
    if begin.startswith(EXIF):
        if sum(map(len, found.exif)) < MOST_BYTES:
            found.exif.append(reader.read(segment.at, segment.size))
    elif begin.startswith(XMP):
        found.xmp = _after(reader, segment, XMP)
    elif begin != _MORE_XMP:
        return False
    found.words.append(segment)
    return True


def _take_profile(reader: Reader, segment: Segment, found: _Found) -> None:
    found.profiles.append(segment)
    number = reader.read(segment.at + len(_PROFILE), 1)
    if number and sum(map(len, found.profile.values())) < MOST_BYTES:
        found.profile.setdefault(number[0], reader.read(segment.at, segment.size)[len(_PROFILE) + 2 :])


def _after(reader: Reader, segment: Segment, prefix: bytes) -> bytes:
    return reader.read(segment.at + len(prefix), max(0, segment.size - len(prefix)))


def _dpi(reader: Reader, segment: Segment) -> tuple[float, float] | None:
    unit, wide, tall = reader.unpack(">BHH", segment.at + 7) or (0, 0, 0)
    if unit not in (_INCHES, _CENTIMETRES):
        return None
    factor = _CM if unit == _CENTIMETRES else 1
    return sensible_dpi(wide * factor, tall * factor)


def _end(reader: Reader, data_at: int) -> int:
    """Say where the picture ends: at the end of the file, but for what cameras and programs append."""
    tail, _ = reader.tail(BITE_BYTES)
    if tail.endswith(_END):
        return reader.size_bytes
    ends = (segment.at for segment in segments(reader, data_at) if segment.marker == EOI)
    return next(ends, reader.size_bytes)


def cuts(reader: Reader, metadata: Metadata, drops: Drops) -> list[Cut]:
    """
    Say how *metadata* come into a JPEG.

    Args:
        reader: The file.
        metadata: What is put in; blocks that are empty leave those of the file alone.
        drops: What of the file goes, whether something else comes in its place or not.
    """
    found = _found(reader)
    made: list[Cut] = []
    gone = found.words if drops.words or metadata.exif or metadata.xmp or metadata.iptc else []
    gone = [*gone, *(found.profiles if metadata.profile or drops.profile else [])]
    made += [Cut(one.at - MARKER_BYTES, one.end) for one in gone]
    at = found.jfif.end if found.jfif is not None else 2
    if metadata.dpi is not None and found.jfif is not None:
        begin = found.jfif.at + 7
        made.append(Cut(begin, begin + 5, b"\1" + b"".join(_whole(dots) for dots in metadata.dpi)))
    elif metadata.dpi is not None and not metadata.exif:
        metadata = _with_resolution(metadata)
    new = b"".join(_written(metadata))
    return sorted([*made, Cut(at, at, new)] if new else made, key=lambda one: (one.at, one.until))


def _with_resolution(metadata: Metadata) -> Metadata:
    """Say the resolution by EXIF: a JFIF segment that is put in would change how the colours are read."""
    return Metadata(profile=metadata.profile, exif=built({}, dpi=metadata.dpi), xmp=metadata.xmp, iptc=metadata.iptc)


def _whole(dots: float) -> bytes:
    return min(round(dots), 0xFFFF).to_bytes(2, "big")


def _written(metadata: Metadata) -> Iterator[bytes]:
    if metadata.exif and len(EXIF + metadata.exif) <= _MOST_IN_A_SEGMENT:
        yield _segment(APP1, EXIF + metadata.exif)
    if metadata.xmp and len(XMP + metadata.xmp) <= _MOST_IN_A_SEGMENT:
        yield _segment(APP1, XMP + metadata.xmp)
    if metadata.iptc:
        rest, room = iptc.as_photoshop(metadata.iptc), _MOST_IN_A_SEGMENT - len(_PHOTOSHOP)
        yield from (_segment(_APP13, _PHOTOSHOP + rest[at : at + room]) for at in range(0, len(rest), room))
    profile, room = metadata.profile, _MOST_IN_A_SEGMENT - len(_PROFILE) - 2
    pieces = [profile[at : at + room] for at in range(0, len(profile), room)]
    if len(pieces) <= 0xFF:
        for number, piece in enumerate(pieces, 1):
            yield _segment(APP2, _PROFILE + bytes((number, len(pieces))) + piece)


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
