"""
A WebP taken apart: what it says of its picture, and which of its chunks make that picture; and put together anew.

The extended header does not count as picture: programs put one in to add words. WebP: RFC 9649.
"""

from rembg_watch.pictures.exif import built, without_prefix
from rembg_watch.pictures.metadata import MOST_BYTES, Cut, Drops, Metadata, Parts, resolution, words_of
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.webp import Chunk, chunks, sides

_HEADER_BYTES, _CHUNK_BYTES = 12, 8
_EXTENDED_BYTES = 10
_EXTENDED, _PROFILE, _EXIF, _XMP = b"VP8X", b"ICCP", b"EXIF", b"XMP "
_FLAGS = {_PROFILE: 0x20, _EXIF: 0x08, _XMP: 0x04}
_ALPHA, _LOSSLESS, _LOSSLESS_ALPHA_BIT = 0x10, b"VP8L", 28
_NO_PICTURE = frozenset({_EXTENDED, _EXIF, _XMP})


def read(reader: Reader) -> Parts:
    """Take a WebP apart; one that breaks off is all picture."""
    found = _chunks(reader)
    if not found:
        return Parts(metadata=Metadata(), picture=((0, reader.size_bytes),))
    exif = without_prefix(_block(reader, found, _EXIF))
    metadata = Metadata(
        profile=_block(reader, found, _PROFILE), exif=exif, xmp=_block(reader, found, _XMP), dpi=resolution(None, exif)
    )
    picture = tuple((one.at - _CHUNK_BYTES, one.at + one.size) for one in found if one.name not in _NO_PICTURE)
    return Parts(metadata=metadata, picture=picture, colours="RGB", states_colours=bool(metadata.profile))


def _chunks(reader: Reader) -> list[Chunk]:
    """List all chunks; nothing of a file that is not all there."""
    (length,) = reader.unpack("<I", 4) or (0,)
    found = list(chunks(reader, 8 + length))
    is_there = bool(found) and 8 + length <= reader.size_bytes and found[-1].at + found[-1].size <= reader.size_bytes
    return found if is_there else []


def _block(reader: Reader, found: list[Chunk], name: bytes) -> bytes:
    chunk = next((one for one in found if one.name == name), None)
    return reader.read(chunk.at, min(chunk.size, MOST_BYTES)) if chunk else b""


def cuts(reader: Reader, metadata: Metadata, drops: Drops) -> list[Cut]:
    """Say how *metadata* come into a WebP, which has no place for IPTC and resolution but in XMP and EXIF."""
    found = _chunks(reader)
    new = _new(metadata)
    gone = {_EXIF, _XMP} if drops.words or new[_EXIF] or new[_XMP] else set()
    gone |= {_PROFILE} if drops.profile or new[_PROFILE] else set()
    if not found or not (any(one.name in gone for one in found) or any(new.values())):
        return []
    stays = [one for one in found if one.name not in gone and one.name != _EXTENDED]
    flags = sum(flag for name, flag in _FLAGS.items() if new[name] or any(one.name == name for one in stays))
    front, back = _chunk(_PROFILE, new[_PROFILE]), _chunk(_EXIF, new[_EXIF]) + _chunk(_XMP, new[_XMP])
    made = [Cut(one.at - _CHUNK_BYTES, min(one.end, reader.size_bytes)) for one in found if one.name in gone]
    if found[0].name == _EXTENDED:
        (old,) = reader.unpack("B", found[0].at) or (0,)
        made.append(Cut(found[0].at, found[0].at + 1, bytes((old & ~sum(_FLAGS.values()) | flags,))))
        made.append(Cut(found[0].end, found[0].end, front))
    else:
        made.append(Cut(_HEADER_BYTES, _HEADER_BYTES, _extended(reader, found[0], flags) + front))
    end = found[-1].end
    is_short = end > reader.size_bytes and found[-1].name not in gone  # the last chunk lacks the byte that evens it
    made.append(Cut(min(end, reader.size_bytes), reader.size_bytes, b"\0" * is_short + back))
    chunks_bytes = sum(_CHUNK_BYTES + one.end - one.at for one in stays) + _CHUNK_BYTES + _EXTENDED_BYTES
    length = len(b"WEBP") + chunks_bytes + len(front) + len(back)
    made.append(Cut(4, 8, length.to_bytes(4, "little")))
    return sorted((one for one in made if one.until > one.at or one.instead), key=lambda one: (one.at, one.until))


def _new(metadata: Metadata) -> dict[bytes, bytes]:
    exif = metadata.exif or (built({}, dpi=metadata.dpi) if metadata.dpi else b"")
    return {_PROFILE: metadata.profile, _EXIF: exif, _XMP: words_of(metadata)}


def _extended(reader: Reader, picture: Chunk, flags: int) -> bytes:
    if picture.name == _LOSSLESS:
        (bits,) = reader.unpack("<I", picture.at + 1) or (0,)
        flags |= _ALPHA * (bits >> _LOSSLESS_ALPHA_BIT & 1)
    wide, tall = (max(0, side - 1).to_bytes(3, "little") for side in sides(reader))
    return _chunk(_EXTENDED, bytes((flags, 0, 0, 0)) + wide + tall)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2) if data else b""
