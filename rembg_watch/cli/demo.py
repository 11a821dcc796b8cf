"""``demo``: the tour."""

from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.console import ERR, note, say


def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Where to create the demo's folders; by default a new temporary folder."),
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="Keep the page open after the tour, until Ctrl-C.")] = False,
) -> None:
    """Take a one-minute tour with sample pictures and no key."""
    from rembg_watch.demo.tour import run_demo

    raise typer.Exit(run_demo(folder, say=say, note=note, console=ERR, stays=page))
