"""
What is wrong with deliverables before any picture is paid for: what no picture could give, and what has no effect.

A recipe that cannot be made of any picture would cost a credit for each and give nothing, so it is an error.
"""

from collections import defaultdict
from collections.abc import Iterator

from rembg_watch.config.delivering import DeliverableSettings
from rembg_watch.config.findings import FindingKind, Severity
from rembg_watch.config.origins import Loc
from rembg_watch.config.settings import Settings
from rembg_watch.pictures.deliverable import FileFormat
from rembg_watch.pictures.framing import FramingError, margin_px
from rembg_watch.pictures.metadata import colours_of_profile
from rembg_watch.pictures.naming import tokens_of
from rembg_watch.pictures.profiles import WrongProfileError, read_profile

Row = tuple[Severity, FindingKind, Loc, str, str]

_WORDS = frozenset({"source", "srgb", "adobe-rgb", "review"})
_OF_MANY = frozenset({"dir", "folder", "deliverable", "date", "width", "height", "ext", "exif.date"})
"""Tokens that are the same for many pictures of a folder."""

_ONLY_FOR = {
    "quality": (FileFormat.JPEG, FileFormat.WEBP, FileFormat.AVIF),
    "compression": (FileFormat.TIFF,),
    "clipping_path": (FileFormat.JPEG, FileFormat.TIFF),
}
"""Settings that mean something for these formats alone."""


def on_paper(settings: Settings) -> Iterator[Row]:
    """List what the values alone show."""
    used = {name for folder in settings.folders for name in folder.deliver}
    for name, one in settings.deliverables.items():
        loc: Loc = ("deliverables", name)
        if problem := _no_place(one):
            todo = "make the canvas larger, or what stays free smaller"
            yield Severity.ERROR, FindingKind.SETTING, (*loc, "margin"), problem, todo
        yield from _without_effect(one, loc)
        if name in used and not set(tokens_of(one.path)) - _OF_MANY:
            what = f'path = "{one.path}" says nothing of the picture: files of all would share a name, and get numbers'
            yield Severity.WARNING, FindingKind.SETTING, (*loc, "path"), what, "put {stem} into it, or a token of yours"
    yield from _one_place(settings)


def _no_place(one: DeliverableSettings) -> str:
    if not isinstance(one.canvas, tuple) or one.fill is not None:
        return ""
    side = min(one.canvas)
    try:
        free = margin_px(one.margin, side)
    except FramingError:  # told already
        return ""
    if side - 2 * free >= 1:
        return ""
    return f'margin = "{one.margin}" on both sides leaves no place on a canvas of {one.canvas[0]} x {one.canvas[1]} px'


def _without_effect(one: DeliverableSettings, loc: Loc) -> Iterator[Row]:
    for name, formats in _ONLY_FOR.items():
        is_chosen = getattr(one, name) != type(one).model_fields[name].default
        if is_chosen and one.format not in formats:
            what = f"{name} means nothing for {one.format.upper()} files"
            others = " or ".join(f'format = "{other}"' for other in formats)
            yield Severity.WARNING, FindingKind.SETTING, (*loc, name), what, f"remove it, or set {others}"


def _one_place(settings: Settings) -> Iterator[Row]:
    """Tell which files of one picture would have the same name."""
    for number, folder in enumerate(settings.folders):
        by_place: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name in dict.fromkeys(folder.deliver):
            one = settings.deliverables.get(name)
            if one is not None and "deliverable" not in tokens_of(one.path):
                by_place[one.path.casefold(), one.format.extension].append(name)
        for names in by_place.values():
            if len(names) > 1:
                what = f"{' and '.join(names)} have the same path, so that nobody could tell their files apart"
                todo = "put {deliverable} into their paths, or give each a folder of its own"
                yield Severity.ERROR, FindingKind.SETTING, ("folders", number, "deliver"), what, todo


def on_disk(settings: Settings) -> Iterator[Row]:
    """List the colour profiles that cannot be read, or that the format cannot hold."""
    used = {name for folder in settings.folders for name in folder.deliver}
    for name, one in settings.deliverables.items():
        loc: Loc = ("deliverables", name, "colour")
        kind, problem = _kind_of(one.colour)
        if problem and name in used:
            yield Severity.ERROR, FindingKind.SETTING, loc, problem, "correct the path"
        elif kind and kind not in one.format.colours:
            what = f"{one.format.upper()} files cannot hold the colours of {one.colour} ({kind})"
            yield Severity.ERROR, FindingKind.SETTING, loc, what, "choose another format or colour"
    for number, folder in enumerate(settings.folders):
        kind, problem = _kind_of(folder.assume)
        if kind and kind != "RGB":
            what = f"{folder.assume} is a profile of {kind} colours, and pictures without one are RGB or gray"
            yield Severity.ERROR, FindingKind.SETTING, ("folders", number, "assume"), what, "name one of RGB colours"
        if problem and folder.deliver:
            yield Severity.ERROR, FindingKind.SETTING, ("folders", number, "assume"), problem, "correct the path"


def _kind_of(colour: str) -> tuple[str, str]:
    """Return the kind of colours of a profile, and why it cannot be read; empty for what is no path."""
    if colour in _WORDS:
        return "", ""
    try:
        return colours_of_profile(read_profile(colour)), ""
    except WrongProfileError as wrong:
        return "", str(wrong)
    except OSError as error:
        return "", f"the colour profile {colour} cannot be read: {error.strerror}"
