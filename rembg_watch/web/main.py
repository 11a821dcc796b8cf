"""
The page's process from its first line: what is not needed to look is never loaded here, the API's client above all.

``rembg-watch web`` becomes this process; it prints where it listens, and why it ends.
"""

import io
import os
import sys
from pathlib import Path

from rembg_watch.errors import RembgWatchError, UsageError, exit_code
from rembg_watch.host.memory import limit_heaps

_EXTRA = frozenset({"anyio", "jinja2", "starlette", "uvicorn"})


def main() -> None:
    """Serve the page of the configurations that are named on the command line."""
    limit_heaps()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name in a sentence may be more than a terminal can show
    try:
        _serve([Path(one) for one in sys.argv[1:]])
    except RembgWatchError as error:
        for line in str(error).splitlines():
            _note(line)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(0)


def _serve(configs: list[Path]) -> None:
    try:
        from rembg_watch.web.server import serve
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UsageError(f"the page needs {error.name}: pip install 'rembg-watch[web]'") from error
    serve(configs, os.environ, on_listening=_say, tell=_note)


def _say(address: str) -> None:
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


def _note(words: str) -> None:
    sys.stderr.write(f"rembg-watch: {words}\n")
