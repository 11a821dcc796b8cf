"""``web``: the page, in a process of its own, without the key."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.console import note, say
from rembg_watch.config import find
from rembg_watch.errors import UsageError
from rembg_watch.host.memory import limit_heaps

_KEY = "REMBG_WATCH_API__KEY"


def web(
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config",
            "-c",
            help="The configuration file; several times: several daemons on one page. The first one says where.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the page: what the daemon does, and what came of each picture."""
    _leave_key_behind()
    limit_heaps()
    configs = [find(one) for one in config] if config else [find()]
    try:
        from rembg_watch.web.server import serve
    except ModuleNotFoundError as error:
        if error.name not in {"starlette", "jinja2", "uvicorn", "anyio"}:
            raise
        raise UsageError(f"the page needs {error.name}: pip install 'rembg-watch[web]'") from error
    serve(configs, os.environ, on_listening=lambda address: say(f"listening on {address}"), tell=note)


def _leave_key_behind() -> None:
    """Begin anew without the key in the environment, where it would stay readable for as long as this process lives."""
    left = {name: value for name, value in os.environ.items() if name.upper() != _KEY}
    if len(left) != len(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], left)  # noqa: S606 - ourselves, as we are
