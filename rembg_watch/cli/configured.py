"""What most commands share: the configuration that is meant, and the ledger that belongs to it."""

from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.config import FOR_LOOKING, Settings, find, load
from rembg_watch.config.findings import Kind
from rembg_watch.ledger import Access, Ledger, open_ledger

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration; else ./rembg-watch.toml, the user's, or /etc/rembg-watch/config.toml.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]


def settings_for(config: Path | None, *, tolerate: frozenset[Kind]) -> Settings:
    """
    Read the configuration that is meant.

    Raises:
        ConfigError: There is none, or it cannot be used for this.
    """
    return load(find(config), tolerate=tolerate)


def ledger_of(config: Path | None, access: Access) -> tuple[Settings, Ledger]:
    """Open the ledger of a configuration, beside a daemon that may be running."""
    settings = settings_for(config, tolerate=FOR_LOOKING)
    return settings, open_ledger(settings.state_dir, access)
