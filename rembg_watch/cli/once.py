"""``once``: everything that is there now, with a bar on a terminal; or what it would cost."""

from contextlib import nullcontext
from typing import Annotated

import typer

from rembg_watch.cli.configured import AsJson, ConfigFile, logs_for, settings_for
from rembg_watch.cli.console import ERR, OUT, say, say_json
from rembg_watch.cli.progress import PlainProgress, TerminalProgress, summary
from rembg_watch.config import FOR_RUN
from rembg_watch.daemon import Daemon
from rembg_watch.daemon.estimate import estimate
from rembg_watch.errors import ExitCode
from rembg_watch.host.memory import settle_heaps
from rembg_watch.report.events import Reporter
from rembg_watch.report.logs import OncePerCondition


def once(
    config: ConfigFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be sent and what it would cost.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only errors.")] = False,
) -> None:
    """Process everything that is there now, then exit."""
    settle_heaps()
    settings = settings_for(config, tolerate=frozenset() if dry_run else FOR_RUN)
    if dry_run:
        found = estimate(settings)
        if as_json:
            say_json(found.as_json())
        else:
            for line in found.lines():
                say(line)
        raise typer.Exit(ExitCode.OK)
    bar = OUT.is_terminal or ERR.is_terminal
    progress = TerminalProgress(ERR) if bar and not (quiet or as_json) else PlainProgress()
    logs = logs_for(settings, level="error" if quiet else "warning" if bar else None)
    report: Reporter = OncePerCondition(progress.around(logs))
    daemon = Daemon(settings, report=report)
    with logs, daemon.signals(), daemon, progress if not quiet else nullcontext():
        code = daemon.run_once(on_tick=progress.show)
        snapshot = daemon.snapshot()
        sentence = summary(daemon)
    if as_json:
        say_json(snapshot)
    elif not quiet:
        say(sentence)
    raise typer.Exit(code)
