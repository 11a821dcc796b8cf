"""``run``, ``once`` and ``demo``: pictures are cut out."""

import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.configured import AsJson, ConfigFile, settings_for
from rembg_watch.cli.console import ERR, OUT, note, say, say_json
from rembg_watch.cli.progress import PlainProgress, Progress, TerminalProgress
from rembg_watch.config import FOR_RUN, Settings, find
from rembg_watch.daemon import Daemon
from rembg_watch.daemon.estimate import estimate
from rembg_watch.errors import ExitCode
from rembg_watch.host.memory import settle_heaps, settle_objects
from rembg_watch.report.events import Reporter
from rembg_watch.report.logs import Logs, OncePerCondition
from rembg_watch.report.sinks import choose_output


def run(config: ConfigFile = None) -> None:
    """Watch the folders until SIGTERM; SIGHUP reloads."""
    settle_heaps()
    path = find(config)
    settings = settings_for(path, tolerate=FOR_RUN)
    logs = _logs(settings)

    def heed(changed: Settings) -> None:
        logs.set_level(changed.log.level)
        if changed.api.key is not None:
            logs.redactor.add(changed.api.key.get_secret_value())

    daemon = Daemon(settings, report=OncePerCondition(logs), reload_from=path, on_settings=heed)
    settle_objects()
    with logs, daemon.signals(), daemon:
        daemon.main_loop()


def once(
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent and cost.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors alone.")] = False,
) -> None:
    """Do everything that is there now, then end."""
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
    progress: Progress = TerminalProgress(ERR) if bar and not (quiet or as_json) else PlainProgress()
    logs = _logs(settings, level="error" if quiet else "warning" if bar else None)
    report: Reporter = OncePerCondition(progress.around(logs))
    daemon = Daemon(settings, report=report)
    settle_objects()
    with logs, daemon.signals(), daemon, progress if not quiet else nullcontext():
        code = daemon.run_once(on_tick=progress.show)
        snapshot = daemon.snapshot()
        sentence = progress.summary(daemon)
    if as_json:
        say_json(snapshot)
    elif not quiet:
        say(sentence)
    raise typer.Exit(code)


def demo(
    keep: Annotated[
        Path | None, typer.Option("--folder", help="Where to make the demo's folders; else a new temporary one.")
    ] = None,
) -> None:
    """Show it all in a minute, with sample pictures and no key."""
    from rembg_watch.demo.tour import run_demo

    raise typer.Exit(run_demo(keep, say=say, note=note, console=ERR))


def _logs(settings: Settings, *, level: str | None = None) -> Logs:
    key = settings.api.key.get_secret_value() if settings.api.key else ""
    chosen = level or settings.log.level
    output = choose_output(settings.log.format, stream=sys.stderr)
    logging.raiseExceptions = False
    return Logs(output, level=chosen, secrets=[key] if key else [])
