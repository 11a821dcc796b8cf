"""
A TIFF by its directories: its sides, how its pixels are kept, its orientation, and whether all of it is there.

Classic and BigTIFF. What counts is the first picture; the others, and the descriptions, only have to be there
too, since a file that lacks a part of them is still being copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rembg_watch.pictures.directories import MAGICS, Directory, Field, Tiff
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, CUT_SHORT, MOST_PARTS, NO_PICTURE, Structure, has_blank_end

KIND, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, OLD_JPEG, OLD_JPEG_BYTES = 273, 279, 324, 325, 513, 514
ORIENTATION, SAMPLES, ROWS, PLANAR, TILE_WIDTH, TILE_HEIGHT = 274, 277, 278, 284, 322, 323
SUB, EXIF, GPS, INK_SET, EXTRA, SAMPLE_FORMAT = 330, 34665, 34853, 332, 338, 339

UNPACKED, OLD_JPEGS, PACK_BITS = 1, 6, 32773
_COLOURS = {0: "GRAY", 1: "GRAY", 2: "RGB", 3: "RGB", 5: "CMYK", 6: "RGB", 8: "Lab", 9: "Lab", 10: "Lab"}
_REDUCED, _MASK = 1, 4
_CMYK_INKS = 1
_MOST_DIRECTORIES = 1000
_MOST_STRIPS = 300_000
"""Of one picture are looked at: as many as rows of the tallest there is, in four planes."""

_EIGHT = 8
_BITS = frozenset({1, 2, 4, 8, 16, 32})
_NO_LIGHT = frozenset({2, 5, 6})
NO_MEANING = "it does not say what its samples mean (gray, RGB, ...): export it again, with another program if need be"
PREVIEW_FIRST = "its first picture is a preview alone: export it as a plain TIFF"


def is_tiff(head: bytes) -> bool:
    """Say if a file begins as a TIFF does, or as one of the many kinds of files that are built like one."""
    return head.startswith(MAGICS)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Where the strips or tiles of a picture are."""

    places: tuple[tuple[int, int], ...]  # of each its offset and its bytes, in the order of the picture
    are_all: bool  # there are as many as the sides need, and each says how long it is


def inspect(reader: Reader) -> Structure:
    """Say what a TIFF is."""
    tiff = Tiff(reader)
    first = tiff.directory(tiff.first_at)
    if not first.fields:
        return Structure(why=CUT_SHORT)
    orientation = tiff.number(first, ORIENTATION, 1)
    why, end = _missing(tiff, first)
    is_blank = not why and has_blank_end(reader, end, end)
    return Structure(
        width_px=tiff.number(first, WIDTH),
        height_px=tiff.number(first, HEIGHT),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        why=BLANK_END if is_blank else why,
        is_hopeless=is_blank and tiff.number(first, COMPRESSION, UNPACKED) != UNPACKED,  # a black edge is packed
        bits=max(bits_of(tiff, first)),
        colours=colours_of(tiff, first),
        pages=_pages(tiff),
        unfit=_unfit(tiff, first),
    )


def _unfit(tiff: Tiff, first: Directory) -> str:
    if is_preview(tiff, first):
        return PREVIEW_FIRST
    bits = max(bits_of(tiff, first))
    if bits not in _BITS or (bits < _EIGHT and tiff.number(first, SAMPLES, 1) > 1):
        return f"it has {bits} bits for each sample, which few programs read: export it with 8 or 16"
    if tiff.number(first, SAMPLE_FORMAT, 1) in _NO_LIGHT:
        return "its samples are signed or complex numbers and no light: export it with 8 or 16 bits"
    return "" if PHOTOMETRIC in first.fields else NO_MEANING


def bits_of(tiff: Tiff, directory: Directory) -> tuple[int, ...]:
    """Return how many bits each sample has."""
    found = tuple(bits for bits, _ in zip(tiff.numbers(directory.fields.get(BITS)), range(8), strict=False))
    return found or (1,)


def colours_of(tiff: Tiff, directory: Directory) -> str:
    """Return the kind of colours, as ICC profiles name it; empty if it is none of those."""
    found = _COLOURS.get(tiff.number(directory, PHOTOMETRIC, -1), "")
    return "" if found == "CMYK" and tiff.number(directory, INK_SET, _CMYK_INKS) != _CMYK_INKS else found


def is_preview(tiff: Tiff, first: Directory) -> bool:
    """Say if the first directory is a small picture of a larger one that stands in a directory below it."""
    return bool(tiff.number(first, KIND) & _REDUCED) and SUB in first.fields


def directories(tiff: Tiff) -> Iterator[Directory]:
    """Yield the directories in a row, each once."""
    seen: set[int] = set()
    at = tiff.first_at
    while at and at not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(at)
        found = tiff.directory(at)
        yield found
        at = found.next_at


def below(tiff: Tiff, directory: Directory) -> Iterator[Directory]:
    """Yield the directories that fields of another one point to: further sizes, EXIF, the place."""
    for tag in (SUB, EXIF, GPS):
        for at, _ in zip(tiff.numbers(directory.fields.get(tag)), range(100), strict=False):
            yield tiff.directory(at)


def _pages(tiff: Tiff) -> int:
    kinds = [tiff.number(one, KIND) for one in directories(tiff) if one.fields]
    return max(1, sum(not kind & (_REDUCED | _MASK) for kind in kinds))


# --- whether all is there -------------------------------------------------------------------------


def _missing(tiff: Tiff, first: Directory) -> tuple[str, int]:
    """Say what is missing, and where the last that is needed ends."""
    own = pieces(tiff, first)
    if not own.places:
        return NO_PICTURE, 0
    end, left = 0, MOST_PARTS
    for directory in directories(tiff):
        for one in (directory, *below(tiff, directory)):
            if one.is_cut or not all(tiff.is_there(field) for field in one.fields.values()):
                return CUT_SHORT, 0
            places = pieces(tiff, one).places if left > 0 else ()
            left -= len(places)
            end = max([end, *(at + size for at, size in places), *(field.end for field in one.fields.values())])
    return ("" if own.are_all and end <= tiff.reader.size_bytes else CUT_SHORT), end


def pieces(tiff: Tiff, directory: Directory) -> Pieces:
    """Find the strips or tiles of a picture; offsets that lead nowhere come along, and are beyond the file."""
    for at_tag, bytes_tag in ((TILES, TILE_BYTES), (STRIPS, STRIP_BYTES), (OLD_JPEG, OLD_JPEG_BYTES)):
        offsets, sizes = directory.fields.get(at_tag), directory.fields.get(bytes_tag)
        if offsets is not None and tiff.is_there(offsets):
            return _pieces(tiff, directory, offsets, sizes)
    return Pieces((), are_all=False)


def _pieces(tiff: Tiff, directory: Directory, offsets: Field, sizes: Field | None) -> Pieces:
    needed = min(_needed(tiff, directory, is_tiled=offsets.tag == TILES), _MOST_STRIPS)
    starts = [at for at, _ in zip(tiff.numbers(offsets), range(needed), strict=False)]
    lengths = [size for size, _ in zip(tiff.numbers(sizes), range(needed), strict=False)]
    is_unpacked = tiff.number(directory, COMPRESSION, UNPACKED) == UNPACKED
    if len(lengths) < len(starts) and is_unpacked and len(starts) == 1:  # the length of all follows from the sides
        lengths = [_unpacked_bytes(tiff, directory)]
    places = tuple(zip(starts, lengths, strict=False))
    are_all = len(places) == needed and all(at > 0 and size > 0 for at, size in places)
    if is_unpacked and offsets.tag == STRIPS and needed < _MOST_STRIPS:
        are_all = are_all and sum(lengths) >= _unpacked_bytes(tiff, directory)
    return Pieces(places or tuple((at, 0) for at in starts), are_all=are_all)


def _needed(tiff: Tiff, directory: Directory, *, is_tiled: bool) -> int:
    """Say how many strips or tiles the sides need."""
    width, height = tiff.number(directory, WIDTH), tiff.number(directory, HEIGHT)
    planes = tiff.number(directory, SAMPLES, 1) if tiff.number(directory, PLANAR, 1) == 2 else 1
    if not is_tiled:
        rows = tiff.number(directory, ROWS, height) or height or 1
        return max(1, -(-height // rows)) * planes
    wide, tall = tiff.number(directory, TILE_WIDTH) or 1, tiff.number(directory, TILE_HEIGHT) or 1
    return -(-width // wide) * -(-height // tall) * planes


def _unpacked_bytes(tiff: Tiff, directory: Directory) -> int:
    """Say how long the picture is if it is not packed; of one whose colours are stored more coarsely, at the least."""
    bits, samples = bits_of(tiff, directory), tiff.number(directory, SAMPLES, 1)
    if tiff.number(directory, PHOTOMETRIC) == 6:
        samples = 1
    row = (tiff.number(directory, WIDTH) * samples * min(bits) + 7) // 8
    return row * tiff.number(directory, HEIGHT)
