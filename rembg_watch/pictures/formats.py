"""
Say what a file is: its kind, its size in pixels, how it is to be turned, and whether it is whole.

Each of the four formats that the service takes has a reader of its own, which goes from part to part
by their lengths, and so has each that is read here where a folder makes deliverables; for everything else
there is a name. No pixel is decoded here: a picture may look whole from outside and still be broken
within, and one that lacks its end mark may still be decoded.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from rembg_watch.pictures import bmp, foreign, heif, jpeg, png, psd, raws, tiff, webp
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.structure import BLANK_END, Structure

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
"""The service's "50 MB", read generously: it refuses what is too large by itself and at no cost."""

MAX_SIDE_PX = 10_000
"""The widest and the tallest picture that the service takes."""

MOST_READ_PX, MOST_READ_SIDE_PX = 500_000_000, 65_000
"""The largest picture of which a copy is made to be sent: more than any camera gives, and what a JPEG can hold."""


class Kind(StrEnum):
    """What the service takes; the words are the service's own names of the formats."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    BMP = "bmp"


class ReadKind(StrEnum):
    """What the service does not take and is read here: a copy of it is sent."""

    TIFF = "tiff"
    PSD = "psd"
    PSB = "psb"
    HEIC = "heic"
    HEIF = "heif"
    AVIF = "avif"


NAMES: dict[Kind | ReadKind, str] = {
    Kind.JPEG: "a JPEG picture",
    Kind.PNG: "a PNG picture",
    Kind.WEBP: "a WebP picture",
    Kind.BMP: "a BMP picture",
    ReadKind.TIFF: "a TIFF picture",
    ReadKind.PSD: "a Photoshop document",
    ReadKind.PSB: "a large Photoshop document",
    ReadKind.HEIC: "a HEIC picture",
    ReadKind.HEIF: "a HEIF picture",
    ReadKind.AVIF: "an AVIF picture",
}
SUFFIXES: dict[Kind, str] = {Kind.JPEG: ".jpg", Kind.PNG: ".png", Kind.WEBP: ".webp", Kind.BMP: ".bmp"}
"""The ending that says each kind, for a file that is named as another kind than it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What can be said of a file from outside."""

    kind: Kind | None  # what the service would take it for; None if it would refuse it
    name: str  # what it is, with its article, for a sentence
    width_px: int = 0  # as stored, before any orientation; 0 if the header does not say
    height_px: int = 0
    orientation: int = 1  # as EXIF counts it, 1 to 8; 1 if there is none, or if nobody asked
    is_whole: bool = False  # nothing is missing at its end
    why: str = ""  # what is missing, for a sentence; empty if it is whole
    is_foreign: bool = False  # surely of a kind that the service refuses, not merely unfinished
    is_hopeless: bool = False  # not whole, and a decoder that takes it all the same would be wrong
    read_kind: ReadKind | None = None  # what it is if the service would refuse it and it is read here
    bits: int = 8  # of each sample
    colours: str = ""  # by the name that ICC profiles use; empty if that is not known
    pages: int = 1  # how many pictures there are, one after the other; the first one counts
    unfit: str = ""  # why nothing can be made of it although it is whole, and what to do, for a sentence

    @property
    def any_kind(self) -> Kind | ReadKind | None:
        """What it is, whoever reads it."""
        return self.kind or self.read_kind

    @property
    def is_all_there(self) -> bool:
        """Whether it is whole, if nobody is still writing: one with a black edge or in one colour may end blank."""
        return self.is_whole or (self.kind in {Kind.BMP, Kind.WEBP} and self.why == BLANK_END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a picture is not sent: a word for machines and a sentence for a photographer."""

    code: str
    reason: str


BROKEN_HEADER = "its header is broken or missing"


def inspect(reader: Reader, *, wants_orientation: bool = False, reads_more: bool = False) -> Look:
    """
    Say what a file is; never raise, whatever the bytes are.

    Args:
        reader: The file.
        wants_orientation: Look for it too, which takes a way through the whole of a PNG.
        reads_more: Look into what the service does not take, too; else that has a name alone.
    """
    head = reader.head
    if not head:
        return Look(kind=None, name="an empty file", why="it is empty")
    found = _sendable(reader, wants_orientation=wants_orientation)
    if found is None and reads_more:
        found = _read_here(reader)
    if found is not None:
        return found
    other = foreign.inspect(head)
    return Look(kind=None, name=other.name, why=other.why, is_foreign=other.is_sure)


def kind_of(head: bytes) -> Kind | None:
    """Say by its first bytes what kind of picture the service takes a file for."""
    if head.startswith(jpeg.MAGIC):
        return Kind.JPEG
    if head.startswith(png.MAGIC):
        return Kind.PNG
    if webp.is_webp(head):
        return Kind.WEBP
    return Kind.BMP if head.startswith(bmp.MAGIC) else None


def _sendable(reader: Reader, *, wants_orientation: bool) -> Look | None:
    match kind := kind_of(reader.head):
        case Kind.JPEG:
            return _picture(kind, jpeg.inspect(reader, wants_orientation=wants_orientation))
        case Kind.PNG:
            return _picture(kind, png.inspect(reader, wants_orientation=wants_orientation))
        case Kind.WEBP:
            return _picture(kind, webp.inspect(reader, wants_orientation=wants_orientation))
        case Kind.BMP if (found := bmp.inspect(reader)) is not None:
            return _picture(kind, found)
        case _:
            return None


def _read_here(reader: Reader) -> Look | None:
    """Look at what is read where a folder makes deliverables; a camera's raw picture is named and not read."""
    head = reader.head
    if tiff.is_tiff(head):
        raw = raws.name_of(reader)
        return (
            Look(kind=None, name=raw, why=f"it is {raw}", is_foreign=True)
            if raw
            else _picture(ReadKind.TIFF, tiff.inspect(reader))
        )
    if head.startswith(psd.MAGIC) and (found := psd.inspect(reader)) is not None:
        return _picture(ReadKind.PSB if head[4:6] == b"\0\2" else ReadKind.PSD, found)
    if brand := heif.brand(head):
        return _picture(ReadKind(brand), heif.inspect(reader))
    return None


def _picture(kind: Kind | ReadKind, found: Structure) -> Look:
    return Look(
        kind=kind if isinstance(kind, Kind) else None,
        read_kind=kind if isinstance(kind, ReadKind) else None,
        name=NAMES[kind],
        width_px=found.width_px,
        height_px=found.height_px,
        orientation=found.orientation,
        is_whole=not found.why,
        why=found.why,
        is_hopeless=found.is_hopeless,
        bits=found.bits,
        colours=found.colours,
        pages=found.pages,
        unfit=found.unfit,
    )


def may_be_decoded(look: Look, size_bytes: int, *, reads_more: bool = False) -> bool:
    """Say if a picture that does not look whole is worth a try to decode it: nothing else is against it."""
    if look.is_whole or look.is_hopeless or (look.kind is None and not reads_more) or look.any_kind is None:
        return False
    return (why_not_readable(finished(look)) if reads_more else why_not_sendable(finished(look), size_bytes)) is None


def why_not_sendable(look: Look, size_bytes: int) -> Refusal | None:
    """Say why the service would refuse a picture, or None: then it is worth sending."""
    if look.kind is None or not look.is_whole:
        return why_not_a_picture(look)
    if size_bytes > MAX_UPLOAD_BYTES:
        return Refusal(
            code="too_large",
            reason=f"The file has {size_bytes / 1024 / 1024:.1f} MB and the service takes at most "
            f"{MAX_UPLOAD_BYTES >> 20} MB: export it smaller or with a lower quality.",
        )
    return _why_sides_refused(look)


def why_not_readable(look: Look) -> Refusal | None:
    """Say why nothing can be made of a picture in a folder that makes deliverables; None: it, or a copy, is sent."""
    if look.kind is None and look.is_foreign:
        return Refusal(code="wrong_type", reason=f"It is {look.name}, and {_READ_HERE} is read here: {_DEVELOP}.")
    if look.any_kind is None or not look.is_whole:
        return why_not_a_picture(look)
    if look.unfit:
        return Refusal(code="unfit", reason=f"It is {look.name}, but {look.unfit}.")
    width, height = look.width_px, look.height_px
    if width < 1 or height < 1:
        return Refusal(code="broken", reason=f"The picture cannot be read: {BROKEN_HEADER}. Export it again.")
    if width * height <= MOST_READ_PX and max(width, height) <= MOST_READ_SIDE_PX:
        return None
    most = f"{MOST_READ_PX // 1_000_000} megapixels and {MOST_READ_SIDE_PX} pixels each way"
    return Refusal(
        code="too_large",
        reason=f"The picture is {width} x {height} pixels and at most {most} are read here: export it smaller.",
    )


_READ_HERE = "nothing but JPEG, PNG, WebP, BMP, TIFF, PSD, PSB, HEIC, HEIF and AVIF"
_DEVELOP = "develop or export it as one of these, a TIFF for example"


def _why_sides_refused(look: Look) -> Refusal | None:
    width, height = look.width_px, look.height_px
    if width < 1 or height < 1:
        return Refusal(code="broken", reason=f"The picture cannot be read: {BROKEN_HEADER}. Export it again.")
    if width <= MAX_SIDE_PX and height <= MAX_SIDE_PX:
        return None
    return Refusal(
        code="too_wide" if width > MAX_SIDE_PX else "too_tall",
        reason=f"The picture is {width} x {height} pixels and the service takes at most {MAX_SIDE_PX} each way: "
        "export it smaller.",
    )


def finished(look: Look) -> Look:
    """Return *look* as whole: it can be decoded, whatever its parts say."""
    return replace(look, is_whole=True, why="")


def why_not_a_picture(look: Look) -> Refusal | None:
    """Say why a file is not taken for a whole picture, or None if it is one."""
    if look.kind is None and look.is_foreign:
        return Refusal(
            code="wrong_type",
            reason=f"It is {look.name}, whatever its name says, and the service takes JPEG, PNG, WebP and BMP only: "
            "export it as one of these.",
        )
    if look.any_kind is None:
        return Refusal(code="not_a_picture", reason=f"It is not a picture: {look.why}. Export or copy it again.")
    if not look.is_whole:
        return Refusal(
            code="not_whole", reason=f"It is {look.name}, but {look.why}. Copy or export it again under the same name."
        )
    return None
