"""
What the colours of a deliverable mean: which profile it gets, and how those of the picture come into it.

Colours are converted by LittleCMS, relatively with black point compensation: paper white becomes white, which a
shop's page is, and shadows keep their steps instead of drowning. It is what Photoshop does unless told otherwise.
"""

import io
from dataclasses import dataclass, replace

from PIL import ImageCms

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures.deliverable import Deliverable
from rembg_watch.pictures.metadata import colours_of_profile
from rembg_watch.pictures.opening import Opened
from rembg_watch.pictures.profiles import ADOBE_RGB, SRGB, WrongProfileError, adobe_rgb, read_profile
from rembg_watch.pictures.sending import REVIEW
from rembg_watch.pictures.vips import Picture, as_file, vips

SOURCE = "source"
_BANDS = {"GRAY": 1, "RGB": 3, "CMYK": 4}
_PILLOW = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
TO_SRGB, BAD_PROFILE, UNTAGGED, OUT_OF_GAMUT = "converted_to_srgb", "bad_profile", "untagged", "out_of_gamut"

_SAME = 1.5 / 255
"""Two profiles that give no colour a value further apart are one: programs write sRGB in a dozen ways."""

_VISIBLE_DE = 4.0
_OUT_OF_GAMUT_SHARE = 0.01


class ColourError(RembgWatchError):
    """Colours cannot become what is wanted; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """
    What is done with the colours of a picture.

    Attributes:
        given: The profile of the picture; empty: there is none.
        given_kind: The kind of its colours.
        made: The profile that the deliverable gets; empty: none.
        made_kind: The kind of its colours.
        is_converted: They are not the same.
        remarks: Codes.
    """

    given: bytes
    given_kind: str
    made: bytes
    made_kind: str
    is_converted: bool
    remarks: tuple[str, ...] = ()


def srgb() -> bytes:
    """Return the profile of sRGB that comes with libvips."""
    return bytes(vips().Image.profile_load("srgb"))


def chosen(wanted: Deliverable, opened: Opened, assume: str) -> Colours:
    """
    Decide which colours a deliverable gets.

    Args:
        wanted: The deliverable.
        opened: The picture.
        assume: What a picture without a profile has: ``srgb``, ``adobe-rgb`` or the path of a profile; ``review``: a
            person is to know, and it counts as sRGB.

    Raises:
        ColourError: The profile that is wanted is none, or the format cannot hold its colours.
    """
    given, remarks = _given(opened, assume)
    kind, held = opened.colours, wanted.format.colours
    colours = Colours(given=given, given_kind=kind, made=given, made_kind=kind, is_converted=False, remarks=remarks)
    if wanted.colour == SOURCE:
        if kind in held and not (kind == "GRAY" and _is_coloured(wanted.background)):
            return colours
        remarks = (*remarks, TO_SRGB) if kind == "CMYK" else remarks
        return replace(colours, made=srgb(), made_kind="RGB", is_converted=True, remarks=remarks)
    made = srgb() if wanted.colour == SRGB else _read(wanted.colour)
    made_kind = colours_of_profile(made)
    if made_kind not in held:
        raise ColourError(
            f"{wanted.format.upper()} files cannot hold the colours of {wanted.colour} ({made_kind or 'unknown'}): "
            "choose another `format` or `colour`."
        )
    if kind == made_kind and (given == made or are_same(given, made, kind)):
        return colours
    return replace(colours, made=made, made_kind=made_kind, is_converted=True)


def _read(path: str) -> bytes:
    try:
        return adobe_rgb() if path == ADOBE_RGB else read_profile(path)
    except (OSError, WrongProfileError) as error:
        raise ColourError(f"The colour profile cannot be read ({error}): name another one in `colour`.") from error


def _given(opened: Opened, assume: str) -> tuple[bytes, tuple[str, ...]]:
    is_doubtful = assume == REVIEW and not opened.profile
    assume = SRGB if assume == REVIEW else assume
    if opened.profile:
        if _is_usable(opened.profile, opened.colours):
            return opened.profile, ()
        return _assumed(opened.colours, assume), (BAD_PROFILE,)
    return _assumed(opened.colours, assume), (UNTAGGED,) if is_doubtful else ()


def _assumed(kind: str, assume: str) -> bytes:
    profile = srgb() if assume == SRGB else _read(assume)
    return profile if colours_of_profile(profile) == kind else b""


def _is_usable(profile: bytes, kind: str) -> bool:
    """Say whether LittleCMS takes a profile: libvips takes another one where it does not, without a word."""
    try:
        read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(read, ImageCms.createProfile("sRGB"), _PILLOW[kind], "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return True


def are_same(one: bytes, other: bytes, kind: str) -> bool:
    """Say whether two profiles mean the same by the same numbers, as far as anybody can see."""
    if not one or not other or kind != "RGB":
        return one == other
    steps = _steps(kind)
    how = Colours(given=one, given_kind=kind, made=other, made_kind=kind, is_converted=True)
    there = converted(steps, how)
    return bool((there.cast("float") - steps).abs().max() <= _SAME * 65535)


def _steps(kind: str) -> Picture:
    """Return a small picture of 16 bits with colours from all over."""
    bands = _BANDS[kind]
    xy = vips().Image.xyz(25, 5)
    planes = [(xy[0] % 5), (xy[0] / 5).floor(), xy[1], xy[1] * 0]
    image = planes[0].bandjoin(planes[1:bands]) if bands > 1 else planes[0]
    return (image * (65535 / 4)).cast("ushort").copy(interpretation=_names(kind)[1])


def _names(kind: str) -> tuple[str, str]:
    return {"GRAY": ("b-w", "grey16"), "RGB": ("srgb", "rgb16"), "CMYK": ("cmyk", "cmyk")}[kind]


def converted(image: Picture, how: Colours, *, depth: int = 16) -> Picture:
    """Return colours, without alpha, as they are in another profile."""
    if not how.is_converted:
        return image
    if not how.given and how.given_kind == "GRAY":
        rgb = image.colourspace("srgb" if depth == 8 else "rgb16")
        return rgb if how.made_kind == "RGB" else image
    how = how if how.given else replace(how, given=_builtin(how.given_kind))
    with as_file(how.made) as path, as_file(how.given) as given_path:
        made = image.copy(interpretation=_names(how.given_kind)[image.format == "ushort"]).icc_transform(
            path,
            input_profile=given_path,
            intent="relative",
            black_point_compensation=True,
            depth=depth,
            pcs="lab",
        )
    made = made.copy()
    made.remove("icc-profile-data")
    return made.copy(interpretation=_names(how.made_kind)[made.format == "ushort"])


def _builtin(kind: str) -> bytes:
    return bytes(vips().Image.profile_load("cmyk" if kind == "CMYK" else "srgb"))


def named(image: Picture, kind: str) -> Picture:
    """Say of numbers which colours they are; an alpha may stand behind them."""
    return image.copy(interpretation=_names(kind)[image.format == "ushort"])


def is_worth_a_look(how: Colours) -> bool:
    """Whether colours may be lost."""
    return how.is_converted and bool(how.given)


# --- the background -----------------------------------------------------------------------------


def read_colour(text: str) -> tuple[int, int, int]:
    """
    Read ``#rrggbb``.

    Raises:
        ColourError: It is no such thing.
    """
    digits = text.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError as error:
        raise ColourError(f"{text!r} is no colour: write it as '#ffffff'.") from error
    return red, green, blue


def _is_coloured(background: str | None) -> bool:
    return background is not None and len(set(read_colour(background))) > 1


def background_of(text: str, how: Colours, *, most: int) -> list[float]:
    """
    Return a background as the numbers of a deliverable: it looks as it does in sRGB.

    White is full in whatever profile: shops measure it. Black is empty, where colours are light and no ink.
    """
    rgb = read_colour(text)
    if how.made_kind == "CMYK" and rgb == (255, 255, 255):
        return [0.0] * 4
    if how.made_kind == "GRAY" and len(set(rgb)) == 1:
        return [rgb[0] / 255 * most]
    if rgb in ((255, 255, 255), (0, 0, 0)) and how.made_kind == "RGB":
        return [value / 255 * most for value in rgb]
    ours = srgb()
    if how.made_kind == "RGB" and (not how.made or are_same(ours, how.made, "RGB")):
        return [value / 255 * most for value in rgb]
    dot = (vips().Image.black(1, 1, bands=3) + [value * 257 for value in rgb]).cast("ushort")
    made = how.made or _builtin(how.made_kind)
    there = converted(dot, Colours(given=ours, given_kind="RGB", made=made, made_kind=how.made_kind, is_converted=True))
    scale = most / (65535 if there.format == "ushort" else 255)
    return [value * scale for value in there(0, 0)]


# --- what gets lost -----------------------------------------------------------------------------


def is_out_of_gamut(small: Picture, alpha: Picture, how: Colours) -> bool:
    """Say if the colours of more than one pixel in a hundred of the object become visibly others."""
    if not how.is_converted or not how.given:
        return False
    with as_file(how.given) as given, as_file(how.made) as made:
        lab = small.copy(interpretation=_names(how.given_kind)[small.format == "ushort"]).icc_import(
            input_profile=given, intent="relative", pcs="lab"
        )
        back = lab.icc_export(output_profile=made, intent="relative", pcs="lab", depth=16).icc_import(
            input_profile=made, intent="relative", pcs="lab"
        )
    solid = alpha > alpha.max() / 2
    lost = (lab.dE76(back) > _VISIBLE_DE) & solid
    whole = solid.avg()
    return bool(whole and lost.avg() / whole > _OUT_OF_GAMUT_SHARE)
