"""
Where commands write: answers to standard output, everything else to standard error.

On a terminal with colours and bars, elsewhere as plain lines, so that a log file or a
pipe holds nothing but words.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console


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
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
