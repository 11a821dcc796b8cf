"""
A PNG taken apart: what it says of its picture, and which of its chunks make that picture; and put together anew.

Chunks of words, of the time and of the resolution do not count as picture; all others do, those of unknown
programs too. PNG: W3C, third edition; profiles as texts: as ImageMagick and exiftool write them.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from rembg_watch.pictures import iptc, xmp
from rembg_watch.pictures.exif import sensible_dpi, without_prefix
from rembg_watch.pictures.metadata import MOST_BYTES, Cut, Drops, Metadata, Parts, resolution
from rembg_watch.pictures.png import GRAYS, MAGIC, Chunk, chunks
from rembg_watch.pictures.reader import Reader

_AROUND_BYTES = 8, 4  # length and name before the data, a checksum behind
_IHDR_END = len(MAGIC) + 8 + 13 + 4
_WORDS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_STATES_COLOURS = frozenset({b"iCCP", b"sRGB", b"cICP", b"gAMA", b"cHRM"})
_XMP_KEY, _IPTC_KEY, _EXIF_KEYS = (
    b"XML:com.adobe.xmp",
    b"Raw profile type iptc",
    (b"Raw profile type exif", b"Raw profile type APP1"),
)
_RAW_XMP_KEY = b"Raw profile type xmp"
_BLOCKS = frozenset({_XMP_KEY, _IPTC_KEY, *_EXIF_KEYS, _RAW_XMP_KEY, b"exif"})
_PLAIN = {b"Title": "dc:title", b"Author": "dc:creator", b"Description": "dc:description", b"Copyright": "dc:rights"}
"""What the key of a text is called in XMP."""
_REGISTERED = frozenset(b"Creation Time|Software|Disclaimer|Warning|Source|Comment|Collection".split(b"|"))
"""Further keys of the PNG specification; a text under any other may be anything."""

_METRE = 0.0254


@dataclass(slots=True)
class _Found:
    """What the chunks have said."""

    picture: list[tuple[int, int]] = field(default_factory=list)
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    profile: bytes = b""
    dpi: tuple[float, float] | None = None
    plain: dict[str, list[str]] = field(default_factory=dict)
    words: list[Chunk] = field(default_factory=list)
    colours: list[Chunk] = field(default_factory=list)
    size: Chunk | None = None
    comments: bytes = b""
    is_ended: bool = False


def read(reader: Reader) -> Parts:
    """Take a PNG apart; one that breaks off is all picture."""
    found = _found(reader)
    if not found.is_ended:
        return Parts(metadata=Metadata(), picture=((0, reader.size_bytes),))
    (kind,) = reader.unpack("B", 25) or (2,)
    metadata = Metadata(
        profile=found.profile,
        exif=found.exif,
        xmp=found.xmp or xmp.write(found.plain),
        iptc=found.iptc,
        dpi=resolution(found.dpi, found.exif),
    )
    return Parts(
        metadata=metadata,
        picture=tuple(found.picture),
        colours="GRAY" if kind in GRAYS else "RGB",
        states_colours=bool(found.colours),
        comments=found.comments,
    )


def _found(reader: Reader) -> _Found:
    found, before, after = _Found(), *_AROUND_BYTES
    for chunk in chunks(reader):
        if chunk.name in _WORDS:
            _take_words(reader, chunk, found)
            continue
        if chunk.name in _STATES_COLOURS:
            found.colours.append(chunk)
            if chunk.name == b"iCCP":
                found.profile = _profile(reader, chunk)
        found.picture.append((chunk.at - before, chunk.at + chunk.size + after))
        found.is_ended = chunk.name == b"IEND"
    found.picture = _joined(found.picture)
    return found


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join what lies side by side: a picture has thousands of chunks."""
    joined: list[tuple[int, int]] = []
    for begin, end in places:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def _take_words(reader: Reader, chunk: Chunk, found: _Found) -> None:
    if chunk.name == b"pHYs":
        found.size = chunk
        wide, tall, unit = reader.unpack(">IIB", chunk.at) or (0, 0, 0)
        found.dpi = sensible_dpi(*(_dots(one) for one in (wide, tall))) if unit == 1 else None
    elif chunk.name == b"eXIf":
        found.words.append(chunk)
        found.exif = without_prefix(reader.read(chunk.at, min(chunk.size, MOST_BYTES))) or found.exif
    elif chunk.name in _TEXTS:
        _take_text(reader, chunk, found)


def _dots(per_metre: int) -> float:
    """Return dots per inch; metres know no whole inches, so what is nearly whole is meant to be."""
    dots = per_metre * _METRE
    return float(round(dots)) if abs(dots - round(dots)) < 0.02 else dots


def _take_text(reader: Reader, chunk: Chunk, found: _Found) -> None:
    data = reader.read(chunk.at, min(chunk.size, MOST_BYTES))
    key, _, rest = data.partition(b"\0")
    if key in _BLOCKS:
        found.words.append(chunk)
    elif key not in _PLAIN:
        found.comments += b"" if key in _REGISTERED else data
        return
    text = _text(chunk.name, rest)
    if key in (_XMP_KEY, _RAW_XMP_KEY):
        found.xmp = (text if key == _XMP_KEY else _from_hex(text)) or found.xmp
    elif key == _IPTC_KEY:
        raw = _from_hex(text)
        found.iptc = iptc.of_photoshop(raw) or raw
    elif key in _EXIF_KEYS or key == b"exif":
        found.exif = found.exif or without_prefix(_from_hex(text) if key in _EXIF_KEYS else text)
    elif value := text.decode("utf-8" if chunk.name == b"iTXt" else "latin-1", "replace").strip():
        found.plain.setdefault(_PLAIN[key], []).append(value)


def _text(name: bytes, rest: bytes) -> bytes:
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return _inflated(rest[1:])
    parts = rest[2:].split(b"\0", 2)
    text = parts[2] if len(parts) == 3 else b""
    return _inflated(text) if rest[:1] == b"\1" else text


def _profile(reader: Reader, chunk: Chunk) -> bytes:
    data = reader.read(chunk.at, min(chunk.size, MOST_BYTES))
    return _inflated(data.partition(b"\0")[2][1:])


def _inflated(data: bytes) -> bytes:
    """Inflate a block that is as large as it may be, at most; nothing of a larger one."""
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(data, MOST_BYTES)
    except zlib.error:
        return b""
    return b"" if inflating.unconsumed_tail else found


def _from_hex(text: bytes) -> bytes:
    """Read a raw profile: a line end, its name, its length, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.strip().split(b"\n")[2:]).decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return b""


def cuts(reader: Reader, metadata: Metadata, drops: Drops) -> list[Cut]:
    """Say how *metadata* come into a PNG; see ``jpeg_parts.cuts``."""
    found, before, after = _found(reader), *_AROUND_BYTES
    if not found.is_ended:
        return []
    gone = list(found.words) if drops.words or metadata.exif or metadata.xmp or metadata.iptc else []
    gone += found.colours if metadata.profile or drops.profile else []
    gone += [found.size] if metadata.dpi and found.size is not None else []
    made = [Cut(one.at - before, one.at + one.size + after) for one in gone]
    new = b"".join(_written(metadata))
    made += [Cut(_IHDR_END, _IHDR_END, new)] if new else []
    return sorted(made, key=lambda one: (one.at, one.until))


def _written(metadata: Metadata) -> Iterator[bytes]:
    if metadata.profile:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.profile))
    if metadata.dpi:
        wide, tall = (round(one / _METRE).to_bytes(4, "big") for one in metadata.dpi)
        yield _chunk(b"pHYs", wide + tall + b"\1")
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield _chunk(b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + metadata.xmp)
    if metadata.iptc:
        raw = iptc.as_photoshop(metadata.iptc)
        digits = raw.hex().encode()
        lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        text = b"\niptc\n%8d\n%b\n" % (len(raw), lines)
        yield _chunk(b"zTXt", _IPTC_KEY + b"\0\0" + zlib.compress(text))


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
