"""The progress of ``once``: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from rembg_watch.account.holds import Hold
from rembg_watch.daemon import Daemon
from rembg_watch.jobs import State
from rembg_watch.report.events import Event, Reporter
from rembg_watch.report.metrics import Figures
from rembg_watch.report.screen import kept_folders, passed_over_text
from rembg_watch.report.status import passed_over_view
from rembg_watch.report.words import count_text, credits_text, local_text, rate_text, span_text


class PlainProgress:
    """Nothing but the log's own lines; for files and pipes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def around(self, report: Reporter) -> Reporter:
        """Return *report* as it is: there is no bar."""
        return report

    def show(self, daemon: Daemon) -> None:
        """Show nothing: each picture has a line in the log."""


class TerminalProgress(PlainProgress):
    """A bar with count, rate, credits left and time to go."""

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", style="dim"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("scanning", total=None, facts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def around(self, report: Reporter) -> Reporter:
        """Return *report* with the bar out of its way while it writes."""

        def report_beside(event: Event) -> None:
            with self._bar._lock:  # rich offers no other way to write beside a live bar to stderr
                report(event)

        return report_beside

    def show(self, daemon: Daemon) -> None:
        """Show count, rate, credits left and time to go, or the reason for a wait."""
        figures, counts = daemon.parts.metrics.read(), daemon.parts.ledger.counts()
        left = counts[State.QUEUED] + counts[State.SENDING] + counts[State.RECEIVED]
        finished = figures.delivered + figures.reused + figures.failed
        hold = daemon.parts.governor.standstill
        kept = kept_folders(daemon.status.last, since=local_text, until=local_text)
        is_still = hold or (kept and not daemon.parts.under_way)
        word = "waiting" if is_still else "cutting out" if left else "scanning"
        self._bar.update(
            self._task,
            description=word,
            completed=finished,
            total=finished + left or None,
            facts="; ".join(kept) if kept and not hold else _facts(daemon, figures, hold),
        )


def _facts(daemon: Daemon, figures: Figures, hold: Hold | None) -> str:
    if hold is not None:
        return hold.reason
    parts = []
    if figures.short_rate_per_s:
        parts.append(rate_text(figures.short_rate_per_s))
    credits_left = daemon.parts.balance.left()
    if credits_left is not None:
        parts.append(f"{credits_text(credits_left)} left")
    to_go_s = daemon.status.last.get("eta_s")
    if to_go_s:
        parts.append(f"{span_text(to_go_s)} to go")
    if daemon.parts.watcher.unsettled:
        parts.append(f"{count_text(daemon.parts.watcher.unsettled, 'file')} not whole yet")
    return ", ".join(parts)


def _asks(counts: Mapping[State, int]) -> str:
    """Say what tells why pictures wait, each for a reason of its own."""
    state = next((one for one in (State.HELD, State.QUEUED, State.RECEIVED) if counts[one]), None)
    return f" (rembg-watch jobs --state {state} says why)" if state else ""


def summary(daemon: Daemon) -> str:
    """Write in one line what a run achieved, and what is left and why."""
    figures, counts = daemon.parts.metrics.read(), daemon.parts.ledger.counts()
    parts = [f"{figures.delivered + figures.reused:,} delivered"]
    if figures.reused:
        parts.append(f"{figures.reused:,} of them without a call")
    if figures.failed:
        parts.append(f"{figures.failed:,} failed (rembg-watch jobs --state failed says why)")
    parts.append(f"{credits_text(figures.charged)} used")
    left, snapshot = daemon.parts.balance.left(), daemon.snapshot()
    if left is not None:
        is_read = (snapshot["credits"]["read_at"] or "") >= snapshot["since"]  # else an earlier run did
        parts.append(f"{credits_text(left)} left" + ("" if is_read else " when they were last read"))
    waiting = sum(counts[state] for state in (State.QUEUED, State.SENDING, State.RECEIVED, State.HELD))
    hold = daemon.parts.governor.standstill
    kept = kept_folders(snapshot, since=local_text, until=local_text)
    if waiting:
        why = hold.reason if hold else "; ".join(kept)
        parts.append(f"{waiting:,} wait{'s' if waiting == 1 else ''}" + (f": {why}" if why else _asks(counts)))
    if counts[State.IN_DOUBT]:
        parts.append(f"{counts[State.IN_DOUBT]:,} in doubt (rembg-watch retry --state in_doubt sends them again)")
    if daemon.parts.watcher.unsettled:
        parts.append(f"{daemon.parts.watcher.unsettled:,} not whole yet (rembg-watch jobs --unsettled)")
    passed_over = passed_over_view(daemon.parts.watcher.passed_over)
    if passed_over["count"]:
        parts.append(passed_over_text(passed_over))
    return ", ".join(parts)
