"""
What has to be installed to read a kind of picture, and is not.

Nothing is loaded for that: the libraries belong into the processes that decode, and nowhere else.
"""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

from rembg_watch.pictures.formats import Kind, Look, ReadKind, Refusal

NEEDS_EXTRA = "needs_extra"
"""Why a picture waits, for machines: it goes on by itself when the extra is installed and the daemon started anew."""

_LIBVIPS, _HEIF = "pictures", "heif"
_MODULES = {_LIBVIPS: "pyvips", _HEIF: "pillow_heif"}
_NEEDS_HEIF = frozenset({ReadKind.HEIC, ReadKind.HEIF})


@cache
def has_extra(extra: str) -> bool:
    """Say whether an extra is installed: ``pictures`` or ``heif``."""
    try:
        return find_spec(_MODULES[extra]) is not None
    except (ImportError, ValueError):
        return False


def missing_for(kinds: Iterable[Kind | ReadKind]) -> str:
    """Return the command that installs what is missing to make copies of such pictures; empty: nothing is."""
    needed = {_LIBVIPS} | ({_HEIF} if not _NEEDS_HEIF.isdisjoint(kinds) else set())
    if all(has_extra(extra) for extra in needed):
        return ""
    return f"pip install 'rembg-watch[{','.join(sorted(needed, reverse=True))}]'"


def why_not_installed(look: Look) -> Refusal | None:
    """Say what is missing for a picture of which a copy is to be sent; None: nothing is."""
    missing = missing_for([look.any_kind]) if look.any_kind is not None else ""
    if not missing:
        return None
    reason = f"It is {look.name}, and to read it needs the extra: {missing}, then start rembg-watch anew."
    return Refusal(code=NEEDS_EXTRA, reason=reason)


def why_not_made() -> str:
    """Say what is missing to make files of any picture; empty: nothing is."""
    missing = missing_for(())
    return f"Files are made with an extra that is not installed: {missing}, then start rembg-watch anew." * bool(
        missing
    )
