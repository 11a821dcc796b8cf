"""``init``: a commented configuration, or a drop-in that fits one."""

from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, find, load, template
from rembg_watch.errors import UsageError
from rembg_watch.host.mounts import shares
from rembg_watch.host.processors import MANY_WORKERS
from rembg_watch.host.systemd import drop_in


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("rembg-watch.toml"),
    input_: Annotated[Path | None, typer.Option("--input", "-i", help="Where pictures are dropped.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where cut-outs appear.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The file that contains the API key.")] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Instead, print a systemd drop-in for the folders of a configuration.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Write a commented configuration."""
    if systemd:
        settings = load(find(config), tolerate=FOR_LOOKING)
        is_crowded = settings.pool.workers >= MANY_WORKERS
        folders = [folder.folder() for folder in settings.folders]
        say(drop_in(folders, shares=shares(), chooses_processor=is_crowded).rstrip("\n"))
        return
    if path.exists():
        raise UsageError(f"{path} already exists and is left unchanged: name another file, or move it away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}: create it, or name another file")
    source = (input_ or Path(typer.prompt("Folder where pictures are dropped"))).expanduser().absolute()
    target = (output or Path(typer.prompt("Folder where cut-outs appear"))).expanduser().absolute()
    path.write_text(template(input=source, output=target, key_file=key_file), encoding="utf-8")
    say(f"written: {path}")
    note(f"Next: set the API key (see key_file in the file), then run: rembg-watch check --config {path}")
