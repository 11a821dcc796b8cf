"""
What a file says of its picture, and how much of that is carried over to the cut-out.

The blocks are those that all formats share: an ICC profile, EXIF as a TIFF structure, XMP as a packet of
XML, IPTC as IIM records, and the resolution. The readers of the formats take them out of a file whole,
the writers put them into another one; no pixel is decoded for either.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from rembg_watch.pictures import exif, iptc, xmp

MOST_BYTES = 4 << 20
"""As much of one block as is read."""

_PROFILE_HEADER_BYTES = 128
_PROFILE_MARK = b"acsp"


class Keep(StrEnum):
    """How much is carried over; the colour profile always is, since without it the colours would be others."""

    ALL_AND_PLACE = "all+place"
    ALL = "all"  # but for where it was taken
    COPYRIGHT = "copyright"  # and resolution
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The blocks of one file; empty where it has none."""

    profile: bytes = b""  # ICC
    exif: bytes = b""  # from the mark of its byte order on
    xmp: bytes = b""
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.profile or self.exif or self.xmp or self.iptc or self.dpi)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """
    A file taken apart.

    Attributes:
        metadata: What it says of its picture.
        picture: Where the bytes are that make the picture, each from its first to behind its last.
        colours: The kind of colours of its pixels, by the name that ICC profiles use: ``RGB``, ``GRAY`` or ``CMYK``;
            empty if that is not known.
        states_colours: It says itself what its colours mean, by a profile or otherwise.
        comments: Words of no known purpose. They make no other picture of a file, but may tell two files apart.
        told: What makes the picture beside those bytes.
    """

    metadata: Metadata
    picture: tuple[tuple[int, int], ...]
    colours: str = ""
    states_colours: bool = False
    comments: bytes = b""
    told: bytes = b""


class Cut(NamedTuple):
    """A stretch of a file that is left out, and what comes in its place."""

    at: int
    until: int
    instead: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """What a file loses, whether something else comes in its place or not."""

    words: bool = False  # EXIF, XMP and IPTC
    profile: bool = False


def colours_of_profile(profile: bytes) -> str:
    """Return the kind of colours that an ICC profile describes; empty if it is none."""
    if len(profile) < _PROFILE_HEADER_BYTES or profile[36:40] != _PROFILE_MARK:
        return ""
    return profile[16:20].decode("latin-1").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """What a cut-out is, whatever its source says."""

    width: int  # as stored
    height: int
    orientation: int = 1


def kept(metadata: Metadata, keep: Keep, cutout: Cutout) -> Metadata:
    """
    Choose what is carried over to a cut-out.

    Never the original's orientation and sides, nor its previews: that would be wrong there.
    """
    metadata = replace(metadata, xmp=xmp.as_utf8(metadata.xmp))
    match keep:
        case Keep.NONE:
            words = exif.built({}, orientation=cutout.orientation)
            return Metadata(profile=metadata.profile, exif=words)
        case Keep.COPYRIGHT:
            return replace(
                metadata,
                exif=exif.copyright_alone(metadata.exif, dpi=metadata.dpi, orientation=cutout.orientation),
                xmp=xmp.copyright_alone(metadata.xmp),
                iptc=iptc.copyright_alone(metadata.iptc),
            )
        case _:
            has_place = keep is Keep.ALL_AND_PLACE
            return replace(
                metadata,
                exif=exif.edited(
                    metadata.exif,
                    has_place=has_place,
                    sides=(cutout.width, cutout.height),
                    dpi=metadata.dpi,
                    orientation=cutout.orientation,
                ),
                xmp=xmp.edited(metadata.xmp, has_place=has_place),
                iptc=metadata.iptc if has_place else iptc.without_place(metadata.iptc),
            )


def resolution(metadata_dpi: tuple[float, float] | None, exif_block: bytes) -> tuple[float, float] | None:
    """Choose the resolution that a file states, or else its EXIF."""
    return metadata_dpi if metadata_dpi is not None else exif.resolution(exif_block)


def words_of(metadata: Metadata) -> bytes:
    """Return the XMP of a file, or else one that says what its IPTC says, for formats that can hold XMP alone."""
    return metadata.xmp or xmp.write(iptc.words(metadata.iptc))
