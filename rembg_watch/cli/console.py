"""
Where commands write: answers to standard output, everything else to standard error.

On a terminal with colours and bars, elsewhere as plain lines, so that a log file or a
pipe holds nothing but words.
"""

import codecs
import io
import json
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console

_LOOKALIKE = "rembg_watch.lookalike"
_LOOKALIKES = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "·": "-", "…": "...", "×": "x", "✗": "x", "→": "->"}
)


def _lookalike(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding lacks by what looks alike, or by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = error.object[error.start : error.end].translate(_LOOKALIKES)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(_LOOKALIKE, _lookalike)


def accept_any_text() -> None:
    """Make standard output and error take every character, whatever their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_LOOKALIKE)


def _console(stream: TextIO | None, *, is_err: bool = False) -> Console:
    """Make a console for a stream, which is None where the caller closed it; a name such as ``:cat:`` stays one."""
    is_terminal = stream is not None and stream.isatty()
    return Console(stderr=is_err, highlight=False, emoji=False, soft_wrap=not is_terminal)


OUT = _console(sys.stdout)
ERR = _console(sys.stderr, is_err=True)


def say(text: str = "") -> None:
    """Write an answer."""
    OUT.print(text, markup=False)


def note(text: str) -> None:
    """Write what is no answer but worth knowing."""
    ERR.print(text, markup=False)


def say_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Write one JSON value, a line for machines."""
    sys.stdout.write(json_text(value, encoding=sys.stdout.encoding) + "\n")
    sys.stdout.flush()


def json_text(value: Mapping[str, Any] | list[Any], *, encoding: str | None = "utf-8") -> str:
    """
    Return JSON that harms no terminal: what is no plain visible character is escaped.

    Names on disk may hold characters that turn the direction of a line around, or halves of
    characters. An *encoding* that is not Unicode gets ASCII alone.
    """
    is_unicode = (encoding or "").lower().replace("_", "-").startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode)
    return _ODD.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


_ODD = re.compile(r"[^\x20-\x7e]")
