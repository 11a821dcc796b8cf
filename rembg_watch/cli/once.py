"""``once``: everything that is there now, with a bar on a terminal; or what it would cost."""

import sys
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from rembg_watch import state_dirs
from rembg_watch.account.causes import Cause
from rembg_watch.cli.configured import AsJson, ConfigFile, logs_for
from rembg_watch.cli.console import ERR, OUT, note, say, say_json
from rembg_watch.cli.progress import PlainProgress, TerminalProgress, summary
from rembg_watch.config import FOR_RUN, find
from rembg_watch.daemon import Daemon
from rembg_watch.daemon.estimate import Estimate, estimate
from rembg_watch.daemon.first_look import LET_GO, answer
from rembg_watch.errors import ExitCode
from rembg_watch.host.memory import limit_heaps
from rembg_watch.report.events import MadeOtherwise, Reporter
from rembg_watch.report.logs import OncePerCondition
from rembg_watch.report.screen import passed_over_text
from rembg_watch.report.status import passed_over_view, stamp
from rembg_watch.report.words import count_text, credits_number, credits_text, show, size_text, span_text, utc_text


def once(
    config: ConfigFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be sent and what it would cost.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only errors.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask: pay for all that a new folder holds, however much it is.")
    ] = False,
) -> None:
    """Process everything that is there now, then exit."""
    limit_heaps()
    path = find(config)
    settings = state_dirs.load(path, tolerate=frozenset() if dry_run else FOR_RUN)
    if dry_run:
        found = estimate(settings)
        if as_json:
            say_json(_as_json(found))
        else:
            for line in _lines(found):
                say(line)
        raise typer.Exit(ExitCode.OK)
    state_dirs.remember(settings, path)
    bar = OUT.is_terminal or ERR.is_terminal
    progress = TerminalProgress(ERR) if bar and not (quiet or as_json) else PlainProgress()
    logs = logs_for(settings, level="error" if quiet else "warning" if bar else None)
    report: Reporter = OncePerCondition(progress.around(logs))
    daemon = Daemon(settings, report=report, agrees=yes)
    with logs, daemon.signals(), daemon:
        with progress if not quiet else nullcontext():
            code = daemon.run_once(on_tick=progress.show)
        if not (as_json or quiet) and _agreed(daemon):
            with progress:
                code = daemon.run_once(on_tick=progress.show)
        snapshot = daemon.snapshot()
        sentence = summary(daemon)
    if as_json:
        say_json(snapshot)
    elif not quiet:
        say(sentence)
    raise typer.Exit(code)


def _agreed(daemon: Daemon) -> bool:
    """Ask about new folders that hold many pictures, where there is somebody to ask; say if any is let go."""
    waiting = [hold for hold in daemon.parts.governor.gate.folders if hold.cause is Cause.BRAKE]
    if not waiting or not sys.stdin.isatty() or daemon.stopping.is_set():
        return False
    agreed = []
    for hold in waiting:
        note(f"{hold.folder}: {hold.text}")
        if typer.confirm("Pay for them now?", err=True):
            agreed.append(hold.folder)
    answer(daemon.parts.ledger, agreed, LET_GO)
    daemon.parts.first_looks.obey()
    return bool(agreed)


def _as_json(found: Estimate) -> dict[str, Any]:
    """Return all of it as JSON holds it."""
    return {
        "pictures": found.pictures,
        "known": found.known,
        "doubles": found.doubles,
        "made_otherwise": dict(found.made_otherwise),
        "lacking": [one.view() for one in found.lacking],
        "now": found.now,
        "later": found.later,
        "limits": list(found.limits),
        "gate": {
            "open": found.hold is None,
            "reason": found.hold.cause.value if found.hold else None,
            "until": stamp(found.hold.ends_at) if found.hold else None,
        },
        "bytes": found.size_bytes,
        "credits": credits_number(found.credits),
        "spendable": None if found.spendable is None else credits_number(found.spendable),
        "time_s": round(found.time_s, 1),
        "pace_is_learned": found.is_learned,
        "unsettled": found.unsettled,
        "unsettled_files": [{"folder": f, "source": show(s), "reason": r} for f, s, r in found.unsettled_files],
        "passed_over": passed_over_view(found.passed_over),
        "rejected": [{"folder": f, "source": show(s), "reason": r} for f, s, r in found.rejected],
    }


def _lines(found: Estimate) -> list[str]:
    """Say it to a person."""
    lines = [f"{count_text(found.pictures, 'picture')}, {size_text(found.size_bytes)} to send"]
    if found.known:
        lines.append(f"{found.known:,} of them paid for before: they cost nothing")
    if found.doubles:
        lines.append(f"{found.doubles:,} of them the same as another one: not paid")
    lines.append(f"{credits_text(found.credits)} needed" + _spendable(found))
    lines += _waiting(found)
    if found.now:
        basis = "at the pace learned so far" if found.is_learned else "at the first, cautious pace; it may go faster"
        lines.append(f"about {span_text(max(1.0, found.time_s))} {basis}")
    lines += [MadeOtherwise(folder=name, count=count).sentence() for name, count in found.made_otherwise.items()]
    lines += [one.text() for one in found.lacking]
    if found.unsettled:
        lines.append(f"{count_text(found.unsettled, 'file')} not whole yet and not counted")
    lines += [f"{folder}/{show(source)} would not be sent yet: {why}" for folder, source, why in found.unsettled_files]
    passed_over = passed_over_view(found.passed_over)
    if passed_over["count"]:
        lines.append(passed_over_text(passed_over, most=10))
    lines += [f"{folder}/{show(source)} would not be sent: {why}" for folder, source, why in found.rejected]
    return lines


def _waiting(found: Estimate) -> list[str]:
    if not found.later:
        return []
    if found.hold is not None:
        until = f"; next try {utc_text(found.hold.ends_at)}" if found.hold.ends_at else ""
        return [f"nothing would be sent now: {found.hold.reason}{until}"]
    return [f"{found.now:,} would be sent now, {found.later:,} would wait", *found.limits]


def _spendable(found: Estimate) -> str:
    if found.spendable is None:
        return f"; the account could not be read: {found.account_trouble}"
    short = found.credits - found.spendable
    missing = f": {credits_text(short)} too few, the rest would wait" if short > 0 else ""
    return f", {credits_text(found.spendable)} can be spent{missing}"
