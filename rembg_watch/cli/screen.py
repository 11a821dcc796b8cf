"""
Where commands write: answers to standard output, everything else to standard error.

On a terminal with colours and bars, elsewhere as plain lines, so that a log file or a
pipe holds nothing but words.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

OUT = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
ERR = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


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
