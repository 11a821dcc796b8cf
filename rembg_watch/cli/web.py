"""``web``: the page, in a process of its own, without the key."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import rembg_watch
from rembg_watch.config import find

_KEY = "REMBG_WATCH_API__KEY"
_PROGRAM = "from rembg_watch.web.main import main; main()"


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
    configs = [find(one) for one in config] if config else [find()]
    _become([str(one) for one in configs])


def _become(configs: list[str]) -> NoReturn:
    """
    Become the page's process: it keeps its number, which systemd knows it by, and nothing else of this one.

    Neither the client, which is loaded here, nor a key in the environment can then be found in it.
    """
    environ = {name: value for name, value in os.environ.items() if name.upper() != _KEY}
    home = str(Path(rembg_watch.__path__[0]).parent)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [environ.get("PYTHONPATH"), home]))
    sys.stdout.flush()
    words = [sys.executable, "-P", *(f"-W{one}" for one in sys.warnoptions), "-c", _PROGRAM, *configs]
    os.execve(sys.executable, words, environ)  # noqa: S606 - ourselves
