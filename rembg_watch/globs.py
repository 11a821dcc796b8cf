"""
Match the names of files against globs; patterns know no case and no Unicode form.

Names on disk are bytes that need not be UTF-8; relative ones have ``/`` between their parts.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=256)
def subtrees(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """From ``a/**`` take ``a`` and all below: nothing in there needs a look."""
    roots = [pattern[:-3] for pattern in patterns if pattern.endswith("/**")]
    return tuple(itertools.chain(roots, (f"{root}/**" for root in roots)))


def matches(patterns: tuple[str, ...], text: str) -> bool:
    """Say if any of the patterns matches a path, which ``plain`` has made of its bytes."""
    return any(_compiled(pattern).fullmatch(text) for pattern in patterns)


def decode(name: bytes) -> str:
    """Return a name as text from which its bytes can be had again."""
    return name.decode("utf-8", "surrogateescape")


def plain(name: bytes) -> str:
    """Return a name as text without case and Unicode form."""
    return fold(decode(name))


def fold(text: str) -> str:
    """Bring spellings together that people and file systems take for one name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


_GLOB = re.compile(
    r"(?P<any>(?:\*\*/)+)|(?P<rest>\*\*)|(?P<part>\*)|(?P<one>\?)|\[(?P<not>[!^]?)(?P<set>\]?[^\]]*)\]", re.DOTALL
)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a glob: ``*`` and ``?`` stay within one name, ``**`` is any number of directories, or all below."""
    out, at, pattern = [], 0, fold(pattern)
    for found in _GLOB.finditer(pattern):
        out += [re.escape(pattern[at : found.start()]), _translate(found)]
        at = found.end()
    return re.compile("".join(out) + re.escape(pattern[at:]), re.DOTALL)


def _translate(found: re.Match[str]) -> str:
    plain = {"any": "(?:[^/]+/)*", "rest": ".*", "part": "[^/]*", "one": "[^/]"}.get(found.lastgroup or "")
    if plain is not None:
        return plain
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", found["set"])
    inside = f"[{'^/' if found['not'] else ''}{members}]"
    try:
        re.compile(inside)
    except re.error:  # "[z-a]": no set, so it means itself
        return re.escape(found.group())
    return inside


# --- what a pattern can match ---------------------------------------------------------------------


def can_end(pattern: str, ending: str) -> bool:
    """Say if a glob for one name can match a name that ends so, with something before it."""
    return _can_end([_token(found) for found in _TOKEN.finditer(fold(pattern))], ending)


_TOKEN = re.compile(r"\*+|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)


def _token(found: re.Match[str]) -> re.Pattern[str] | None:
    """Return what one character may be; None: any number of them."""
    text = found.group()
    return None if text.startswith("*") else _compiled(text)


def _can_end(tokens: Sequence[re.Pattern[str] | None], ending: str) -> bool:
    """Say if a name that these stand for can end so, with something before it."""
    if not ending:
        return bool(tokens)
    if not tokens:
        return False
    if tokens[-1] is None:
        return True  # it can be the ending itself, and what is before it
    return tokens[-1].fullmatch(ending[-1]) is not None and _can_end(tokens[:-1], ending[:-1])
