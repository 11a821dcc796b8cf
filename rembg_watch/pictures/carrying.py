"""
What of a source's metadata comes into its cut-out, and which bytes of a file make its picture; whatever the formats.

Nothing is decoded. That a profile fits the pixels is known by the kind of colours alone: a cut-out that says
itself what its colours mean keeps that, and one that says it wrongly loses it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rembg_watch.pictures import exif, formats, heif_parts, jpeg_parts, png_parts, psd_parts, tiff_parts, webp_parts
from rembg_watch.pictures.formats import Kind, Look, ReadKind
from rembg_watch.pictures.metadata import (
    Cut,
    Cutout,
    Drops,
    Keep,
    Metadata,
    Parts,
    colours_of_profile,
    kept,
)
from rembg_watch.pictures.orientation import orientation
from rembg_watch.pictures.reader import Reader


@dataclass(frozen=True, slots=True)
class _Format:
    read: Callable[[Reader], Parts]
    cuts: Callable[[Reader, Metadata, Drops], list[Cut]]


_FORMATS: Mapping[Kind, _Format] = {
    Kind.JPEG: _Format(jpeg_parts.read, jpeg_parts.cuts),
    Kind.PNG: _Format(png_parts.read, png_parts.cuts),
    Kind.WEBP: _Format(webp_parts.read, webp_parts.cuts),
}
"""Those that can hold more than pixels; a BMP is all picture."""

HOLDS_METADATA = frozenset(_FORMATS)

_NOTHING = Metadata()

_READERS: Mapping[Kind | ReadKind | None, Callable[[Reader], Parts]] = {
    **{kind: known.read for kind, known in _FORMATS.items()},
    ReadKind.TIFF: tiff_parts.read,
    ReadKind.PSD: psd_parts.read,
    ReadKind.PSB: psd_parts.read,
    ReadKind.HEIC: heif_parts.read,
    ReadKind.HEIF: heif_parts.read,
    ReadKind.AVIF: heif_parts.read,
}


def parts_of(reader: Reader, kind: Kind | ReadKind | None) -> Parts:
    """Take a file apart; what cannot hold metadata is all picture."""
    read = _READERS.get(kind)
    return read(reader) if read else Parts(metadata=Metadata(), picture=((0, reader.size_bytes),))


def told_besides(parts: Parts, look: Look) -> bytes:
    """Return what makes a picture beside its pixels: how it is to be turned, and what EXIF says of its colours."""
    return b"%d%b%b" % (look.orientation, b" adobe rgb" * is_told_adobe_rgb(parts), parts.told)


def is_told_adobe_rgb(parts: Parts) -> bool:
    """Say whether EXIF alone tells that the colours are Adobe RGB."""
    return not parts.states_colours and exif.is_adobe_rgb(parts.metadata.exif)


def cuts_without_words(cutout: Reader) -> list[Cut]:
    """Say how a cut-out loses the words that were carried into it, to serve as an answer again."""
    kind = formats.kind_of(cutout.head)
    known = _FORMATS.get(kind) if kind is not None else None
    return known.cuts(cutout, Metadata(), Drops(words=True)) if known else []


def cuts_for(answer: Reader, metadata: Metadata, keep: Keep) -> list[Cut]:
    """
    Say how the metadata of a source come into the answer to it.

    Args:
        answer: The cut-out as it came.
        metadata: Of the source, all of it.
        keep: How much of it is carried over.
    """
    kind = formats.kind_of(answer.head)
    known = _FORMATS.get(kind) if kind is not None else None
    if known is None:
        return []
    own = known.read(answer)
    is_wrong = bool(own.metadata.profile) and colours_of_profile(own.metadata.profile) != own.colours
    turned = orientation(own.metadata.exif or None, own.metadata.xmp)
    if metadata == _NOTHING and turned == 1 and not is_wrong:
        return []
    look = formats.inspect(answer)
    chosen = kept(metadata, keep, Cutout(width=look.width_px, height=look.height_px, orientation=turned))
    fits = colours_of_profile(chosen.profile) == own.colours and (is_wrong or not own.states_colours)
    chosen = replace(chosen, profile=chosen.profile if fits else b"")
    return known.cuts(answer, chosen, Drops(profile=is_wrong))
