"""
Content encodings: which ones an answer names, and a short body with them undone, within a limit.

A client that undoes whatever a server names can be made to unpack gigabytes from a few
kilobytes, most of all if encodings are nested. So a picture is never unpacked at all, and
words only up to a limit that holds for each layer.
"""

import codecs
import re
import zlib
from collections.abc import Mapping, Sequence

MOST_LAYERS = 4
"""How many encodings one body may have; no server nests more than two."""

_WINDOWS: dict[str, tuple[int, ...]] = {
    "gzip": (zlib.MAX_WBITS | 16,),
    "x-gzip": (zlib.MAX_WBITS | 16,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # some servers leave out the head that belongs to it
}
"""Each encoding that can be undone here, with zlib's window sizes to try."""

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,32}")
_NONE = frozenset({"", "identity"})


def encodings_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """List the encodings that *headers*, under lower-case names, state: in the order in which they were applied."""
    named = (name.strip().lower() for name in headers.get("content-encoding", "").split(","))
    return tuple(name for name in named if name not in _NONE)


def spoken(encodings: Sequence[str]) -> str:
    """Name *encodings* in a sentence, whatever a server wrote there."""
    names = [name if _NAME.fullmatch(name) else "something unknown" for name in encodings[:MOST_LAYERS]]
    return ", then ".join(names) + (" and more" if len(encodings) > MOST_LAYERS else "")


def plain(body: bytes, encodings: Sequence[str], *, limit_bytes: int) -> bytes | None:
    """
    Return *body* without its encodings, cut off after *limit_bytes*.

    A body that is text as it came is taken as it came: gateways unpack what they pass on
    and leave the header where it was.

    Args:
        body: What came over the wire, or its beginning.
        encodings: In the order in which they were applied.
        limit_bytes: How much any layer may unpack to.

    Returns:
        None if an encoding is not known here, or the body does not have it.
    """
    found: bytes | None = body
    for name in reversed(encodings if len(encodings) <= MOST_LAYERS else [""]):
        found = None if found is None else _unpacked(found, _WINDOWS.get(name, ()), limit_bytes)
    return body if found is None and _is_text(body) else found


def _unpacked(body: bytes, windows: Sequence[int], limit_bytes: int) -> bytes | None:
    for window in windows:
        try:
            return zlib.decompressobj(window).decompress(body, limit_bytes)
        except zlib.error:
            continue
    return None


def _is_text(body: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
