"""
What is asked of whoever makes the small copy of a source that is sent, and what comes of it: values alone.

``pictures.proxy`` makes it, and is loaded by the process that does.
"""

from dataclasses import dataclass

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.formats import Kind, ReadKind
from rembg_watch.pictures.profiles import SRGB

HELD_BYTES_PER_PX: dict[Kind | ReadKind, int] = {
    Kind.JPEG: 6,  # a progressive one; others stream
    Kind.PNG: 1,
    Kind.WEBP: 8,
    Kind.BMP: 8,
    ReadKind.TIFF: 1,
    ReadKind.PSD: 8,
    ReadKind.PSB: 8,
    ReadKind.HEIC: 8,
    ReadKind.HEIF: 8,
    ReadKind.AVIF: 8,
}
"""What a picture takes while a copy is made of it: much where its decoder gives out nothing but the whole."""

WRONG_PROFILE = "wrong_profile"

_COPY_BYTES_PER_PX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """
    How a copy is made.

    Attributes:
        kind: What the source is.
        px: How long its longer side is at most.
        assume: What colours mean that come without a profile: ``srgb``, ``adobe-rgb`` or the path of a profile.
        largest_bytes: Where a copy comes out larger, it is saved again at a lower quality.
        keeps_alpha: The copy of what can be transparent is a PNG that is so, too, where it is not too large for that.
    """

    kind: Kind | ReadKind
    px: int
    assume: str = SRGB
    largest_bytes: int
    keeps_alpha: bool = False

    def needed_bytes(self, px: int) -> int:
        """Say how much memory a source of so many pixels takes, about."""
        return px * HELD_BYTES_PER_PX[self.kind] + self.px**2 * _COPY_BYTES_PER_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A copy that was written, with its sides, and what was lost of the source, as codes."""

    width: int
    height: int
    remarks: tuple[str, ...] = ()


class NoProxyError(RembgWatchError):
    """
    No copy comes out of a source; the sentence says why and what to do.

    Attributes:
        code: For machines: ``unreadable``, ``broken``, ``too_large``, ``missing_library``, or ``WRONG_PROFILE``, which
            is no fault of the picture's.
    """

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.code = code
