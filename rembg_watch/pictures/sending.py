"""
In which way a picture is sent: as it is, set upright, or as a copy that the service surely understands.

A folder that makes deliverables needs the outline of what is bought, and not its colours or its size: so whatever
the service might not take, or might take otherwise than it is meant, goes as a plain picture of moderate size.
"""

from dataclasses import dataclass

from rembg_watch.pictures.carrying import is_told_adobe_rgb
from rembg_watch.pictures.formats import MAX_SIDE_PX, MAX_UPLOAD_BYTES, Kind, Look
from rembg_watch.pictures.metadata import Parts
from rembg_watch.pictures.profiles import ADOBE_RGB
from rembg_watch.pictures.srgb import is_like_srgb

AS_IT_IS, UPRIGHT = "as it is", "upright"

PROXY_MADE_AS = 1
"""Counts up when other copies come to be made of the same pictures: what is asked for then is another request."""

REVIEW = "review"
"""What a folder assumes whose pictures without a profile a person looks at: they are sent as sRGB all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """How the pictures of a folder are sent."""

    upright: bool = True  # one that its orientation turns is set upright
    px: int = 0  # the longest side of what is sent; 0: the folder makes no deliverables, and no such copies
    assume: str = "srgb"  # what colours mean that come without a profile

    @property
    def reads_more(self) -> bool:
        """Whether what the service does not take is read too."""
        return self.px > 0


PLAIN = Sends()
"""As folders send that make no deliverables."""


def way_of(look: Look, parts: Parts, size_bytes: int, sends: Sends) -> str:
    """Say in which way a picture is sent; the word is a part of the name of what is asked for, so it never changes."""
    if sends.px and needs_copy(look, parts, size_bytes, sends.px):
        return f"proxy {sends.px} v{PROXY_MADE_AS}"
    return UPRIGHT if sends.upright and look.orientation != 1 else AS_IT_IS


def is_copy(way: str) -> bool:
    """Say whether a way is that of a copy which the service surely understands."""
    return way.startswith("proxy ")


def needs_copy(look: Look, parts: Parts, size_bytes: int, px: int) -> bool:
    """Say whether a copy is sent in place of a picture: the service might refuse it, or take its colours for others."""
    if look.kind is None or size_bytes > MAX_UPLOAD_BYTES or max(look.width_px, look.height_px) > min(px, MAX_SIDE_PX):
        return True
    if look.kind in (Kind.JPEG, Kind.PNG) and (look.bits > 8 or look.colours == "CMYK"):
        return True
    profile = parts.metadata.profile
    return is_told_adobe_rgb(parts) or (bool(profile) and not is_like_srgb(profile))


def assumed(parts: Parts, sends: Sends) -> str:
    """Say what the colours of a picture mean if it has no profile."""
    return ADOBE_RGB if is_told_adobe_rgb(parts) else sends.assume
