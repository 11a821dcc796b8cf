"""
Write a finished picture in the format that is wanted, with its profile, its resolution and its words.

What a picture says of itself is put in at container level where this program knows the container; libvips writes
what it writes well. The file is made in a scratch file first: encoders want to turn back, and a file that comes out
too large is made once more.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rembg_watch.pictures import carrying, iptc
from rembg_watch.pictures.deliverable import LEAST_QUALITY, Deliverable, FileFormat
from rembg_watch.pictures.metadata import Cut, Cutout, Metadata, kept
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.tiff_words import add_words
from rembg_watch.pictures.vips import Picture, vips

OVER_MAX_KB = "over_max_kb"

LARGEST_SIDE_PX = {
    FileFormat.JPEG: 65_500,
    FileFormat.WEBP: 16_383,
    FileFormat.AVIF: 16_384,
    FileFormat.PNG: 200_000,
    FileFormat.TIFF: 200_000,
}
"""What each format, or each of its encoders, can hold."""

_LARGEST_TIFF_BYTES = (4 << 30) - (64 << 20)
_FULL_COLOUR_FROM = 90  # at this quality and above colours are as sharp as light
_COMPRESSION = {"none": "none", "deflate": "deflate", "zip": "deflate", "lzw": "lzw"}
_LOSSY = frozenset({FileFormat.JPEG, FileFormat.WEBP, FileFormat.AVIF})
_LARGE_PX = 16_000_000
"""Beyond this an encoder that thinks twice takes too much memory: it holds the whole picture for that."""

_UNSAID_DPI = (72.0, 72.0)  # TIFF has to name a resolution: the one that programs take where none is said
_MM_PER_INCH = 25.4
_PHOTOSHOP = b"Photoshop 3.0\0"
_SMALL_RESOURCE = 0xFFFF - 2 - len(_PHOTOSHOP)
_BLOCK_BYTES = 4 << 20
_SOI_BYTES, _CMYK_BANDS = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """
    A picture that only has to be written.

    Attributes:
        image: 8 or 16 bits, with its alpha as the last band where it is transparent.
        has_alpha: Whether it is.
        profile: ICC; empty: it gets none.
        metadata: Of the source, all of it.
        path: A clipping path, as Photoshop's image resources; empty: none.
    """

    image: Picture
    has_alpha: bool
    profile: bytes
    metadata: Metadata
    path: bytes = b""


def write(finished: Finished, wanted: Deliverable, output: int, scratch: int) -> tuple[str, ...]:
    """
    Write a picture to the file *output*, and nothing else; return remarks.

    Raises:
        OSError: The disk refused.
    """
    if wanted.max_kb is None or wanted.format not in _LOSSY:
        size = _written(finished, wanted, wanted.quality, output, scratch)
        is_over = wanted.max_kb is not None and size > wanted.max_kb * 1000
        return (OVER_MAX_KB,) if is_over else ()
    held = replace(finished, image=finished.image.copy_memory())
    most = wanted.max_kb * 1000
    if _written(held, wanted, wanted.quality, output, scratch) <= most:
        return ()
    least = min(LEAST_QUALITY, wanted.quality)
    if _written(held, wanted, least, output, scratch) > most:
        return (OVER_MAX_KB,)
    good, bad = least, wanted.quality
    while bad - good > 1:
        middle = (good + bad) // 2
        if _written(held, wanted, middle, output, scratch) <= most:
            good = middle
        else:
            bad = middle
    _written(held, wanted, good, output, scratch)
    return ()


def _written(finished: Finished, wanted: Deliverable, quality: int, output: int, scratch: int) -> int:
    """Write the file and say how long it is."""
    dpi = (wanted.dpi, wanted.dpi) if wanted.dpi else finished.metadata.dpi
    metadata = replace(finished.metadata, profile=b"", dpi=dpi)
    image = _telling(finished, wanted, metadata)
    if wanted.format in (FileFormat.TIFF, FileFormat.AVIF):
        _encode(image, wanted, quality, output, dpi)
        if wanted.format is FileFormat.TIFF:
            chosen = kept(metadata, wanted.metadata, _cutout(image))
            add_words(output, chosen.exif, chosen.iptc)
        return os.fstat(output).st_size
    _encode(image, wanted, quality, scratch, dpi)
    reader = Reader(lambda count, at: os.pread(scratch, count, at), os.fstat(scratch).st_size)
    cuts = carrying.cuts_for(reader, metadata, wanted.metadata)
    if wanted.format is FileFormat.JPEG:
        has_jfif = finished.image.bands != _CMYK_BANDS
        cuts = [*_jfif(reader, dpi if has_jfif else None), *cuts, *_path_cuts(finished.path)]
        cuts.sort(key=lambda one: (one.at, one.until))
    return _spliced(scratch, reader.size_bytes, cuts, output)


def _cutout(image: Picture) -> Cutout:
    return Cutout(width=image.width, height=image.height)


def _telling(finished: Finished, wanted: Deliverable, metadata: Metadata) -> Picture:
    """Return the picture with what libvips is to write beside its pixels."""
    blobs = {"icc-profile-data": finished.profile}
    if wanted.format in (FileFormat.TIFF, FileFormat.AVIF):
        chosen = kept(metadata, wanted.metadata, _cutout(finished.image))
        blobs["xmp-data"] = chosen.xmp
        if wanted.format is FileFormat.TIFF:
            resources = (iptc.as_photoshop(chosen.iptc) if chosen.iptc else b"") + finished.path
            blobs["photoshop-data"] = resources
        elif chosen.exif:
            blobs["exif-data"] = b"Exif\0\0" + chosen.exif
    image = finished.image.copy()
    for name, blob in blobs.items():
        if blob:
            image.set_type(vips().GValue.blob_type, name, blob)
    return image


def _encode(image: Picture, wanted: Deliverable, quality: int, file: int, dpi: tuple[float, float] | None) -> None:
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    across, down = dpi or _UNSAID_DPI
    image = image.copy(xres=across / _MM_PER_INCH, yres=down / _MM_PER_INCH)
    target = vips().Target.new_to_descriptor(file)
    sampling = "off" if quality >= _FULL_COLOUR_FROM else "on"
    is_large = image.width * image.height > _LARGE_PX
    match wanted.format:
        case FileFormat.TIFF:
            _tiff(image, wanted, target)
        case FileFormat.PNG:
            image.pngsave_target(target, compression=6, filter="all", keep="icc", bitdepth=_bits(image))
        case FileFormat.JPEG:
            image.jpegsave_target(target, Q=quality, subsample_mode=sampling, optimize_coding=not is_large, keep="icc")
        case FileFormat.WEBP:
            image.webpsave_target(target, Q=quality, alpha_q=100, smart_subsample=not is_large, effort=4, keep="icc")
        case FileFormat.AVIF:
            image.heifsave_target(
                target,
                Q=quality,
                compression="av1",
                effort=2 if is_large else 4,
                subsample_mode=sampling,
                bitdepth=8 if _bits(image) == 8 else 10,
                keep="icc|exif|xmp",
            )


def _bits(image: Picture) -> int:
    return 8 if image.format == "uchar" else 16


def _tiff(image: Picture, wanted: Deliverable, target: object) -> None:
    packing = _COMPRESSION.get(wanted.compression, "deflate")
    is_big = image.width * image.height * image.bands * (_bits(image) // 8) > _LARGEST_TIFF_BYTES
    image.tiffsave_target(
        target,
        compression=packing,
        predictor="none" if packing == "none" else "horizontal",
        bigtiff=is_big,
        resunit="inch",
        keep="all",
    )


def _jfif(reader: Reader, dpi: tuple[float, float] | None) -> list[Cut]:
    """Say the resolution where every program looks for it; libvips leaves it to EXIF, which not all pictures get."""
    if dpi is None or reader.read(2, 2) == b"\xff\xe0":
        return []
    dots = b"".join(min(round(one), 0xFFFF).to_bytes(2, "big") for one in dpi)
    return [Cut(_SOI_BYTES, _SOI_BYTES, b"\xff\xe0\0\x10JFIF\0\1\2\1" + dots + b"\0\0")]


def _path_cuts(path: bytes) -> list[Cut]:
    """Put a segment of Photoshop's beside the one that may hold the IPTC: readers join them."""
    if not path or len(path) > _SMALL_RESOURCE:
        return []
    segment = b"\xff\xed" + (len(_PHOTOSHOP + path) + 2).to_bytes(2, "big") + _PHOTOSHOP + path
    return [Cut(_SOI_BYTES, _SOI_BYTES, segment)]


def _spliced(file: int, size: int, cuts: Sequence[Cut], output: int) -> int:
    """Copy a file with its cuts; say how long the copy is."""
    os.ftruncate(output, 0)
    os.lseek(output, 0, os.SEEK_SET)
    at = 0
    for cut in cuts:
        _copied(file, at, cut.at, output)
        _all_written(output, cut.instead)
        at = cut.until
    _copied(file, at, size, output)
    return os.fstat(output).st_size


def _copied(file: int, at: int, until: int, output: int) -> None:
    while at < until:
        block = os.pread(file, min(until - at, _BLOCK_BYTES), at)
        if not block:
            raise OSError(None, "the scratch file ended too soon")
        _all_written(output, block)
        at += len(block)


def _all_written(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
