"""Which shoot somebody means, by its name, or by the number or name of a picture in it. It only looks."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from os import fsencode

from rembg_watch.errors import RembgWatchError, UsageError
from rembg_watch.jobs import Job
from rembg_watch.ledger import Ledger, Which
from rembg_watch.ledger.pages import Shoot, shoot_of
from rembg_watch.report.words import show

_AT_ONCE = 500
_LATELY = 300
_NAMESAKES = 1_000
_NAMED = 5
_LONGEST_ID = 18  # digits; a longer number is none of ours


def full_name(shoot: Shoot) -> str:
    """Name a shoot with its folder, as lists do."""
    return f"{shoot.folder}/{show(shoot.path)}" if shoot.path else shoot.folder


def pictures_of(ledger: Ledger, shoot: Shoot) -> Iterator[Job]:
    """Yield the pictures of a shoot by name, read a page at a time."""
    start: bytes | None = None
    while True:
        page = ledger.members(shoot, start=start, limit=_AT_ONCE)
        yield from page.jobs
        if page.next is None:
            return
        start = page.next


def latest(ledger: Ledger, depths: Mapping[str, int]) -> Shoot:
    """
    Return the shoot that changed last, of folders with so many levels of sub-folders for one.

    Raises:
        RembgWatchError: There is no picture yet.
    """
    for one in ledger.lately(limit=_LATELY):
        if one.folder in depths:
            return shoot_of(one.folder, one.source, depth=depths[one.folder])
    raise RembgWatchError("there is no picture in the ledger yet, so there is nothing to show")


def named(ledger: Ledger, text: str, depths: Mapping[str, int]) -> Shoot:
    """
    Return the shoot that *text* means: ``folder/shoot``, or a picture's number or name.

    Args:
        ledger: Where it is looked for.
        text: What was typed.
        depths: For each folder that is watched, how many levels of sub-folders name a shoot.

    Raises:
        UsageError: There is none, or there are several.
    """
    found = _in_a_folder(ledger, text, depths) or _numbered(ledger, text, depths)
    if found is not None:
        return found
    several = _namesakes(ledger, text, depths)
    if len(several) == 1:
        return several[0]
    if several:
        names = ", ".join(full_name(one) for one in several[:_NAMED])
        raise UsageError(f"{text!r} may mean several shoots: {names}{', ...' if len(several) > _NAMED else ''}")
    raise UsageError(
        f"there is no shoot and no picture {text!r}: name it as folder/shoot, where folder is one of "
        f"{', '.join(depths)}; `rembg-watch jobs` lists the pictures"
    )


def _in_a_folder(ledger: Ledger, text: str, depths: Mapping[str, int]) -> Shoot | None:
    for folder in sorted(depths, key=len, reverse=True):  # a name may begin with another one and a slash
        if text.rstrip("/") == folder:
            return _if_any(ledger, Shoot(folder, b"", is_flat=depths[folder] > 0))
        if text.startswith(f"{folder}/"):
            rest = text.removeprefix(f"{folder}/").rstrip("/")
            if (found := _below(ledger, folder, rest, depths[folder])) is not None:
                return found
    return None


def _below(ledger: Ledger, folder: str, rest: str, depth: int) -> Shoot | None:
    path = fsencode(rest)
    job = ledger.find(folder, path)
    if job is not None:
        return shoot_of(folder, path, depth=depth)
    found = _if_any(ledger, Shoot(folder, path, is_flat=path.count(b"/") + 1 < depth))
    return found or _as_written(ledger, folder, rest, depth)


def _as_written(ledger: Ledger, folder: str, rest: str, depth: int) -> Shoot | None:
    """Find a shoot whose name cannot be typed, by the escapes with which lists write it."""
    start: bytes | None = b""
    while "\\" in rest and start is not None:
        page = ledger.shoots(folder, depth=depth, start=start, limit=_AT_ONCE)
        for one in page.found:
            if show(one.shoot.path) == rest:
                return one.shoot
        start = page.next
    return None


def _if_any(ledger: Ledger, shoot: Shoot) -> Shoot | None:
    return shoot if next(pictures_of(ledger, shoot), None) is not None else None


def _numbered(ledger: Ledger, text: str, depths: Mapping[str, int]) -> Shoot | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_ID):
        return None
    job = ledger.get(int(text))
    if job is None:
        return None
    if job.folder not in depths:
        raise UsageError(
            f"picture {text} belongs to {job.folder!r}, which the configuration does not name any more: "
            "nobody knows where its files stand"
        )
    return shoot_of(job.folder, job.source, depth=depths[job.folder])


def _namesakes(ledger: Ledger, text: str, depths: Mapping[str, int]) -> Sequence[Shoot]:
    """Find what has this name without its folder: a shoot, or a picture wherever it lies."""
    path = fsencode(text.strip("/"))
    shoots = [Shoot(name, path, is_flat=path.count(b"/") + 1 < depth) for name, depth in depths.items() if path]
    found = dict.fromkeys(one for one in shoots if _if_any(ledger, one) is not None)
    for pattern in (glob.escape(text), f"*/{glob.escape(text)}"):
        for job in ledger.jobs(Which(pattern=pattern, folders=frozenset(depths)), limit=_NAMESAKES):
            found[shoot_of(job.folder, job.source, depth=depths[job.folder])] = None
    return list(found)
