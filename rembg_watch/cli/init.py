"""``init``: a commented configuration, or a drop-in that fits one."""

import os
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch import state_dirs
from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, find, template
from rembg_watch.config.foreign import why_foreign
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
        settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
        is_crowded = settings.pool.workers >= MANY_WORKERS
        folders = [folder.folder() for folder in settings.folders]
        say(drop_in(folders, shares=shares(), chooses_processor=is_crowded).rstrip("\n"))
        return
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists and is left unchanged: name another file, or move it away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}: create it, or name another file")
    source = _text_of(input_ or Path(typer.prompt("Folder where pictures are dropped")), "--input")
    target = _text_of(output or Path(typer.prompt("Folder where cut-outs appear")), "--output")
    key = None if key_file is None else _text_of(key_file, "--key-file", is_relative=True)
    try:
        path.write_text(template(input=source, output=target, key_file=key), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error
    say(f"written: {path}")
    note(f"Next: set the API key (see key_file in the file), then run: rembg-watch check --config {path}")


def _text_of(path: Path, option: str, *, is_relative: bool = False) -> str:
    """
    Write *path* as it stands in a configuration, which is UTF-8 whatever the locale is.

    Raises:
        UsageError: It is no path of this machine, or its name cannot be written.
    """
    if why := why_foreign(str(path)):
        raise UsageError(f"{option} {why}")
    try:
        return os.fsencode(path if is_relative else path.expanduser().absolute()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: the name is not UTF-8, so no configuration can hold it: rename it") from error
