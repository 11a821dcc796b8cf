"""``check``: everything that could go wrong, before the first picture is paid for."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from rembg_watch import state_dirs
from rembg_watch.check import findings, over_network, verdict
from rembg_watch.cli.configured import AsJson, ConfigFile
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import Severity, find
from rembg_watch.report.words import count_text

_MARKS = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTE: ("·", "dim")}


def check(
    config: ConfigFile = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not read the account, although that is free.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report everything that could go wrong; costs nothing."""
    found = findings(state_dirs.read(find(config)), ask=None if offline else over_network())
    if as_json:
        is_ok = not any(one.severity is Severity.ERROR for one in found)
        say_json({"ok": is_ok, "findings": [asdict(one) for one in found]})
        raise typer.Exit(verdict(found))
    for one in found:
        mark, style = _MARKS[one.severity]
        OUT.print(Text(f"{mark} ", style=style) + Text(str(one)))
    errors = sum(one.severity is Severity.ERROR for one in found)
    warnings = sum(one.severity is Severity.WARNING for one in found)
    counts = f"{count_text(errors, 'error')}, {count_text(warnings, 'warning')}"
    say(counts if errors or warnings else "all is well")
    raise typer.Exit(verdict(found))
