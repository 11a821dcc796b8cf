"""``demo``: the tour."""

from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.console import ERR, note, say


def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to make the demo's folders; else a new temporary one.")
    ] = None,
) -> None:
    """Show it all in a minute, with sample pictures and no key."""
    from rembg_watch.demo.tour import run_demo

    raise typer.Exit(run_demo(folder, say=say, note=note, console=ERR))
