"""
``metrics.prom``: figures for Prometheus, written whole every 15 s for a textfile collector.

Every series is there from the first writing on, at zero, so that a first failure is a rise that an alert can
see. No label is ever a path, or a text that the API sends.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rembg_watch import __version__
from rembg_watch.account.causes import CAUSES, Cause
from rembg_watch.account.views import credits_view
from rembg_watch.daemon.assembly import Parts
from rembg_watch.delivery.spool import SPOOL_NAME
from rembg_watch.jobs import State
from rembg_watch.ledger import FILE_NAME
from rembg_watch.report import events
from rembg_watch.report.exposition import MISSING, Durations, Family, is_available, render
from rembg_watch.report.status import FOLDER_STATES, CreditsView, Snapshot
from rembg_watch.report.tallies import CALL_CODES, FAILURES, NOTICES, OUTCOMES, THROTTLES, WARNINGS, Labels, Tally

INTERVAL_S = 15.0
_SLOW_S = 60.0  # so rarely the ledger is asked for what takes it longer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slow:
    """What is asked of the ledger rarely."""

    doubtful: float = 0.0
    oldest_at: Mapping[str, datetime | None]  # by folder: when what waits longest came


class MetricsFile:
    """Write the figures now and then; used by the main loop alone."""

    def __init__(self, parts: Parts, state_dir: Path, *, textfile: Path, copy: Path | None, is_asked_for: bool) -> None:
        self._parts = parts
        self._state_dir = state_dir
        self._paths = [textfile, *([copy] if copy is not None else [])]
        self._is_available = is_available()
        self._trouble: str | None = None
        self._at_s = self._slow_at_s = float("-inf")
        self._slow = _Slow(oldest_at={})
        if not self._is_available and is_asked_for:
            self._tell(MISSING)

    def write(self, snapshot: Snapshot, *, is_last: bool = False) -> None:
        """
        Write them if it is time again, or for the last time; *snapshot* is the last that ``status.json`` got.

        Raises:
            LedgerUnavailableError: It cannot be read now.
        """
        now_s = self._parts.ports.clocks.monotonic()
        if not self._is_available or (now_s - self._at_s < INTERVAL_S and not is_last):
            return
        self._at_s = now_s
        if now_s - self._slow_at_s >= _SLOW_S:
            self._slow_at_s, self._slow = now_s, self._ask()
        text = render(families(self._parts, self._state_dir, snapshot, self._slow))
        trouble = None
        for path in self._paths:
            try:
                _replace(path, text)
            except OSError as error:
                trouble = f"{path}: {(error.strerror or type(error).__name__).lower()}"
        self._tell(trouble)

    def _tell(self, trouble: str | None) -> None:
        """Report that the figures cannot be written, or can again, once."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        self._parts.ports.report(events.MetricsWritten() if trouble is None else events.MetricsNotWritten(why=trouble))

    def _ask(self) -> _Slow:
        ledger, now = self._parts.ledger, self._parts.ports.clocks.now()
        names = list(self._parts.ports.in_force.plan.recipes)
        oldest = {name: ledger.backlog(now, [name]).oldest_at for name in names if ledger.queued([name])}
        return _Slow(doubtful=float(ledger.spending().doubtful), oldest_at=oldest)


def _replace(path: Path, text: bytes) -> None:
    """Replace the file whole; no collector reads half of one, or the unfinished one."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.write_bytes(text)
        staging.chmod(0o644)
        staging.replace(path)
    except OSError:
        with suppress(OSError):
            staging.unlink()
        raise


# --- the families ---------------------------------------------------------------------------------


def families(parts: Parts, state_dir: Path, snapshot: Snapshot, slow: _Slow) -> Iterator[Family | Durations]:
    """Put everything that is known into families, each with all of its series."""
    names = list(parts.ports.in_force.plan.recipes)
    tally, now = parts.tallies.read(), parts.ports.clocks.now()
    yield _gauge("build_info", "Which version runs.", {(__version__,): 1}, "version")
    yield _one("written_timestamp_seconds", "When this file was written.", _at(now))
    yield _one("start_time_seconds", "When the process began to count.", _at(tally.since))
    yield from _of_folders(parts, names, tally, snapshot, slow)
    yield from _of_pictures(names, tally)
    yield from _of_calls(parts, names, tally, slow)
    yield from _of_account(credits_view(parts.balance.reading, left=parts.balance.left()))
    yield from _of_holds(parts)
    yield from _of_disk(state_dir)
    notices = [(outcome,) for outcome in NOTICES.values()]
    yield _counter("notices", "Notices sent or given up, and tries that failed.", tally, notices, "outcome")


def _of_folders(
    parts: Parts, names: Sequence[str], tally: Tally, snapshot: Snapshot, slow: _Slow
) -> Iterator[Family | Durations]:
    counts = parts.ledger.counts_by_folder()
    jobs: dict[Labels, float] = {
        (name, state.value): counts.get(name, {}).get(state, 0) for name in names for state in State
    }
    yield _gauge("jobs", "Pictures that the ledger knows.", jobs, "folder", "state")
    unsettled = parts.watcher.unsettled_by_folder
    yield _by_folder("unsettled", "Files that are not whole yet.", names, unsettled)
    oldest = {name: _at(at) for name, at in slow.oldest_at.items()}
    yield _by_folder(
        "oldest_waiting_timestamp_seconds", "When what waits longest got in line; 0: nothing waits.", names, oldest
    )
    delivered = {name: _at(at) for name, at in tally.delivered_at.items()}
    yield _by_folder(
        "last_delivered_timestamp_seconds",
        "When something was delivered last; 0: not since the start.",
        names,
        delivered,
    )
    scanned = {name: _at(at) for name, at in tally.scanned_at.items()}
    yield _by_folder(
        "last_scan_timestamp_seconds", "When it was last looked through; 0: not since the start.", names, scanned
    )
    yield _by_folder("scan_duration_seconds", "How long that took.", names, tally.scan_s)
    states = {(one["name"], one["state"]): 1.0 for one in snapshot.get("folders", ())}
    known: dict[Labels, float] = {
        (name, state): states.get((name, state), 0.0) for name in names for state in FOLDER_STATES
    }
    yield _gauge("folder_state", "1 for the state that the folder is in.", known, "folder", "state")


def _of_pictures(names: Sequence[str], tally: Tally) -> Iterator[Family | Durations]:
    enqueued = [(name,) for name in names]
    yield _counter("enqueued", "Pictures that got in line.", tally, enqueued, "folder")
    delivered = [(name, how) for name in names for how in ("call", "reuse")]
    yield _counter(
        "delivered", "Pictures delivered, with a call of their own or without.", tally, delivered, "folder", "how"
    )
    failed = [(name, code) for name in names for code in FAILURES]
    yield _counter("failed", "Pictures given up.", tally, failed, "folder", "code")
    odd = [(name, warning) for name in names for warning in WARNINGS]
    yield _counter("odd", "Cut-outs delivered that should be looked at.", tally, odd, "folder", "warning")
    yield Durations(
        name="delivery_duration_seconds", help="From the line to the delivered cut-out.", histogram=tally.delivery
    )


def _of_calls(parts: Parts, names: Sequence[str], tally: Tally, slow: _Slow) -> Iterator[Family | Durations]:
    ends = [(outcome, code) for outcome in OUTCOMES[1:] for code in CALL_CODES]
    calls = [("answered", ""), *ends]
    yield _counter("calls", "Calls that may cost a credit, by what they came to.", tally, calls, "outcome", "code")
    yield Durations(name="call_duration_seconds", help="Calls that got an answer.", histogram=tally.call)
    in_flight = tally.counters.get("in_flight", {}).get((), 0)
    yield _one("calls_in_flight", "Calls under way.", in_flight)
    yield _one("workers", "Calls that may be under way at once.", parts.workers)
    yield _one(
        "pace_per_second", "Calls a second that the account bears, as far as was learned.", parts.governor.rate_per_s
    )
    throttles = [(kind,) for kind in THROTTLES]
    yield _counter("throttles", "Refusals with status 429.", tally, throttles, "kind")
    yield _counter("retries", "Calls that are to be made again.", tally, [()])
    yield _counter("doubts", "Calls that may have been charged without an answer.", tally, [()])
    yield _counter("sent_bytes", "Bytes of pictures sent.", tally, [()])
    yield _counter("answer_bytes", "Bytes of cut-outs received.", tally, [()])
    charged = [(name,) for name in names]
    yield _counter("credits_charged", "Credits surely taken.", tally, charged, "folder", of="charged")
    yield _one("credits_doubtful", "Credits perhaps taken, calls under way included.", slow.doubtful)


def _of_account(account: CreditsView) -> Iterator[Family]:
    for name, amount in (
        ("spendable", account.spendable),
        ("included", account.included),
        ("prepaid", account.prepaid),
    ):
        help_ = f"Credits {name}, as the account was read and counted on since; NaN: not read yet."
        yield _one(f"credits_{name}", help_, float("nan") if amount is None else float(amount))
    yield _one(
        "period_end_timestamp_seconds", "When the billing period ends; 0: not known.", _at(account.period_end_at)
    )
    yield _one("account_read_timestamp_seconds", "When the account was read; 0: not yet.", _at(account.read_at))


def _of_holds(parts: Parts) -> Iterator[Family]:
    hold, held = parts.governor.standstill, {one.cause for one in parts.governor.gate.holds}
    causes = held | ({hold.cause} if hold is not None else set())
    of_all = [cause for cause in Cause if not CAUSES[cause].is_of_folder]
    yield _gauge(
        "hold", "1 while nothing is sent for that cause.", {(c.value,): float(c in causes) for c in of_all}, "cause"
    )
    yield _one(
        "hold_since_timestamp_seconds", "Since when nothing is sent; 0: all is open.", _at(hold.since if hold else None)
    )
    yield _one(
        "hold_until_timestamp_seconds",
        "When it ends, or is looked at next; 0: not known.",
        _at(hold.ends_at if hold else None),
    )


def _of_disk(state_dir: Path) -> Iterator[Family]:
    ledger = sum(_size(state_dir / f"{FILE_NAME}{ending}") for ending in ("", "-wal"))
    yield _one("spool_bytes", "Answers that wait to be delivered.", _content_bytes(state_dir / SPOOL_NAME))
    yield _one("ledger_bytes", "The ledger on disk.", ledger)
    free = float("nan")
    with suppress(OSError):
        found = os.statvfs(state_dir)
        free = float(found.f_bavail * found.f_frsize)
    yield _gauge("free_bytes", "Room on the disk of the state directory.", {("state",): free}, "place")


def _content_bytes(path: Path) -> float:
    total = 0
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            with suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    return float(total)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _at(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


def _gauge(name: str, help_: str, values: Mapping[Labels, float], *labels: str) -> Family:
    return Family(name=name, help=help_, kind="gauge", labels=labels, values=values)


def _one(name: str, help_: str, value: float) -> Family:
    return _gauge(name, help_, {(): value})


def _by_folder(name: str, help_: str, names: Iterable[str], values: Mapping[str, float]) -> Family:
    return _gauge(name, help_, {(one,): values.get(one, 0.0) for one in names}, "folder")


def _counter(
    name: str, help_: str, tally: Tally, known: Iterable[Labels], *labels: str, of: str | None = None
) -> Family:
    counted = tally.counters.get(of or name, {})
    return Family(name=name, help=help_, kind="counter", labels=labels, values={**dict.fromkeys(known, 0.0), **counted})
