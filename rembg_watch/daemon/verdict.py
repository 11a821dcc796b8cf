"""Whether all is well, in one line and an exit code, as cron, Nagios and Uptime Kuma ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from rembg_watch.account.causes import CauseRow
from rembg_watch.account.views import UNDECIDED, row_of
from rembg_watch.report.screen import headline
from rembg_watch.report.status import Liveness, Snapshot
from rembg_watch.report.words import WallClock, count_text


class Health(IntEnum):
    """How it stands; the numbers are the exit codes that Nagios gave these words."""

    OK = 0
    WARNING = 1  # something waits: it passes by itself, or concerns a part
    CRITICAL = 2  # nobody is at work, or nothing goes on before a person has acted


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a monitor is told."""

    health: Health
    sentence: str
    figures: str  # as Nagios reads them: ``queued=3 failed=0``

    @property
    def line(self) -> str:
        """All of it in one line; what stands behind the bar is for a graph."""
        words = " ".join(self.sentence.replace("|", "/").split())
        return f"REMBG-WATCH {self.health.name} - {words} | {self.figures}"


def verdict(snapshot: Snapshot, *, alive: Liveness, clock: WallClock) -> Verdict:
    """
    Judge how things stand.

    Pictures that failed for good are told and counted, and no reason for alarm: their reasons were reported as they
    failed, and a state that nobody has to end would hide the next alarm.
    """
    head = headline(snapshot, alive=alive, clock=clock)
    return Verdict(
        health=max([_of_the_whole(snapshot, alive), _of_the_parts(snapshot)]),
        sentence="; ".join(one.rstrip(".") for one in (head.sentence, *head.details, *_waits_for_a_person(snapshot))),
        figures=" ".join(f"{name}={value}" for name, value in _figures(snapshot)),
    )


def _of_the_whole(snapshot: Snapshot, alive: Liveness) -> Health:
    if alive is not Liveness.LIVE:
        return Health.CRITICAL
    if snapshot["gate"]["open"]:
        return Health.OK
    row = row_of(snapshot)
    return Health.WARNING if row is None else of_pause(row)


def of_pause(row: CauseRow) -> Health:
    """Judge a pause of everything: whether somebody has to act, or it passes by itself."""
    if row.needs_person:
        return Health.CRITICAL
    return Health.OK if row.pause.is_pacing else Health.WARNING


def _of_the_parts(snapshot: Snapshot) -> Health:
    is_kept = any(folder["state"] != "watching" for folder in snapshot.get("folders", ()))
    return Health.WARNING if is_kept or any(_waits_for_a_person(snapshot)) else Health.OK


def _waits_for_a_person(snapshot: Snapshot) -> Iterator[str]:
    for state in UNDECIDED:
        words = "held until you decide" if state == "held" else state.replace("_", " ")
        if number := snapshot["jobs"][state]:
            yield f"{count_text(number, 'picture')} {words} (rembg-watch jobs --state {state})"


def _figures(snapshot: Snapshot) -> Iterator[tuple[str, object]]:
    for state in ("queued", "sending", "received", "done", "failed", "held", "in_doubt"):
        yield state, snapshot["jobs"][state]
    yield "unsettled", snapshot["unsettled"]
    spendable = snapshot["credits"]["spendable"]
    yield "credits", "U" if spendable is None else spendable  # U: not known, to Nagios
