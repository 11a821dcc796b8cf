"""
Why the account stands still: one row for each cause, with everything that is known of it.

The gate, the log, ``status``, the line of ``systemctl`` and the daemon read the same row, so a
new cause is a member of ``Cause`` and a row of ``CAUSES``; what shuts the gate for it is in ``retry`` or ``gate``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rembg_watch.report.events import Level, Pause


class Cause(StrEnum):
    """Why the gate is shut; these words are in the ledger, the log and ``status``."""

    BACKOFF = "backoff"  # two to four calls failed in a row
    CIRCUIT = "circuit"  # the API does not answer, or fails
    RATE = "short_term"  # every call has been refused as too quick for a while: the pacer waits, and keeps it
    UNKNOWN = "unknown_refusal"  # a 429, or another refusal of the account, in words we do not know
    DAILY = "daily_limit"  # the API says that the daily limit is reached
    MONTHLY = "monthly_limit"  # the API says that the credits are spent
    CREDITS = "credits"  # the account says so, before anything was refused
    BUDGET = "daily_budget"  # our own limit for a day
    KEY = "key_refused"
    EMAIL = "email_not_verified"
    DISK = "disk_full"
    PAUSED = "paused"  # by a person
    PARAMETERS = "parameters_refused"  # of one folder
    SURPRISES = "unexpected_answers"  # of one folder: several answers in a row were not of the size that was expected
    TRIAL = "unproven_answers"  # of one folder: the first answers of a new kind are nothing that files are made of
    LEDGER = "ledger_lost"  # the ledger was removed or replaced under the running daemon
    BRAKE = "first_look"  # of one new folder: it holds more pictures than are paid for without being asked
    DELIVERED = "seems_delivered"  # of one new folder: its output seems to hold their cut-outs
    TAKEN = "in_use"  # of one folder: another process watches it


class Probe(StrEnum):
    """What looks whether a hold may end."""

    TIME = "time"  # nothing: it ends by itself
    ACCOUNT = "account"  # a free reading of the account
    PICTURE = "picture"  # the next real job, as a canary
    DISK = "disk"  # a look at the free space
    PERSON = "person"  # nothing: somebody must act


class Outcome(StrEnum):
    """What the end of a call says about the account and the service."""

    ACCEPTED = "accepted"
    ANSWERED = "answered"  # the API lives; nothing more is known
    TROUBLE = "trouble"  # the API, or the way to it, failed
    DOUBT = "doubt"  # the same, and it may have cost a credit
    UNSENT = "unsent"  # the call never went out
    UNKNOWN = "unknown"
    DAILY = "daily"
    MONTHLY = "monthly"
    KEY = "key"
    EMAIL = "email"
    PARAMETERS = "parameters"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """All that is known of one cause."""

    pause: Pause  # what a person reads of it
    answered: Pause | None = None  # the same where the API answers, and fails; None: that makes no difference
    outcome: Outcome | None = None  # the end of a call that shuts the gate for it at once
    first_probe: Probe | None = None  # what looks first after such an end
    steps_s: tuple[float, float] | None = None  # the wait before the first canary, doubled each time, and the longest
    is_hourly: bool = False  # its canaries go by the hours of a day instead
    is_ended_by_canary: bool = False  # a canary that brings its picture ends it
    passes: bool = False  # it may be over in a minute, without anybody's help
    is_of_folder: bool = False  # it never concerns all
    needs_person: bool = False  # nothing goes on before somebody has acted who may not know: no pause of their own
    is_about_credits: bool = False  # there is nothing that could be spent
    is_said_by_api: bool = True  # the words that come with it are an answer of the API
    outlasts_retry: bool = False  # it is not tried anew with every other pause: it ends by itself, or by its name
    lets_deliver: bool = False  # of one folder, and only about what is bought: what is paid for is delivered


CAUSES: Final[Mapping[Cause, CauseRow]] = {
    Cause.BACKOFF: CauseRow(
        pause=Pause("several calls in a row have failed", "They are sent again by themselves.", is_pacing=True),
        passes=True,
        is_said_by_api=False,
    ),
    Cause.CIRCUIT: CauseRow(
        pause=Pause("the API cannot be reached or fails", "It is tried again; check this machine's network."),
        answered=Pause("the API fails", "It is tried again, and work goes on by itself; the trouble is the vendor's."),
        steps_s=(5.0, 300.0),
        passes=True,
        is_said_by_api=False,
    ),
    Cause.RATE: CauseRow(
        pause=Pause(
            "the API refuses every call as too quick",
            "One at a time tries it, and work goes on by itself.",
            is_pacing=True,
        ),
    ),
    Cause.UNKNOWN: CauseRow(
        pause=Pause("the API refuses calls in words that are not known", "It is tried again."),
        outcome=Outcome.UNKNOWN,
        first_probe=Probe.PICTURE,
        steps_s=(30.0, 900.0),
        is_ended_by_canary=True,
        passes=True,
    ),
    Cause.DAILY: CauseRow(
        pause=Pause(
            "the API counts these calls as anonymous, and its daily limit is reached",
            "Check the key: with a valid one there is no daily limit.",
        ),
        outcome=Outcome.DAILY,
        first_probe=Probe.ACCOUNT,
        is_hourly=True,
        is_ended_by_canary=True,
    ),
    Cause.MONTHLY: CauseRow(
        pause=Pause("the credits of this billing period are spent", "Buy credits, or wait: work goes on by itself."),
        outcome=Outcome.MONTHLY,
        first_probe=Probe.ACCOUNT,
        steps_s=(60.0, 3600.0),
        is_ended_by_canary=True,
        needs_person=True,
        is_about_credits=True,
    ),
    Cause.CREDITS: CauseRow(
        pause=Pause(
            "too few credits are left to spend", "Buy credits, or lower credits.reserve; work goes on by itself."
        ),
        steps_s=(60.0, 3600.0),
        is_ended_by_canary=True,
        needs_person=True,
        is_about_credits=True,
        is_said_by_api=False,
    ),
    Cause.BUDGET: CauseRow(
        pause=Pause(
            "the daily budget of the configuration is spent", "Raise credits.daily_budget, or wait for the next day."
        ),
        is_about_credits=True,
        is_said_by_api=False,
    ),
    Cause.KEY: CauseRow(
        pause=Pause(
            "the API does not accept the key",
            "Put the right key in its place and reload; nothing is sent until then.",
            level=Level.ERROR,
        ),
        outcome=Outcome.KEY,
        first_probe=Probe.ACCOUNT,
        steps_s=(900.0, 3600.0),
        is_ended_by_canary=True,
        needs_person=True,
    ),
    Cause.EMAIL: CauseRow(
        pause=Pause(
            "the account's e-mail address is not verified",
            "Open the vendor's mail and confirm the address.",
            level=Level.ERROR,
        ),
        outcome=Outcome.EMAIL,
        first_probe=Probe.PICTURE,
        steps_s=(900.0, 3600.0),
        is_ended_by_canary=True,
        needs_person=True,
    ),
    Cause.DISK: CauseRow(
        pause=Pause("the disk is full", "Free some space; work goes on by itself."),
        passes=True,
        needs_person=True,
        is_said_by_api=False,
    ),
    Cause.PAUSED: CauseRow(
        pause=Pause("somebody has paused it", '"rembg-watch resume" lets it go on; what is paid for is delivered.'),
        is_said_by_api=False,
        outlasts_retry=True,
        lets_deliver=True,
    ),
    Cause.PARAMETERS: CauseRow(
        pause=Pause("the API does not accept the folder's options", "Correct them and reload."),
        is_of_folder=True,
        needs_person=True,
        lets_deliver=True,
    ),
    Cause.SURPRISES: CauseRow(
        pause=Pause(
            "the folder's answers are not of the size that was expected",
            'Look at them: "rembg-watch accept --folder" takes such answers from now on, "retry" tries again.',
        ),
        is_of_folder=True,
        needs_person=True,
        is_said_by_api=False,
        lets_deliver=True,
    ),
    Cause.TRIAL: CauseRow(
        pause=Pause(
            "the folder's first answers are not what its files could be made of",
            'Look at them: "rembg-watch jobs" says what is odd. Mend the options of the folder if they ask for it, or '
            '"rembg-watch retry --folder" tries one more.',
        ),
        is_of_folder=True,
        needs_person=True,
        is_said_by_api=False,
        lets_deliver=True,
    ),
    Cause.LEDGER: CauseRow(
        pause=Pause(
            "the ledger was removed or replaced while it was in use",
            "Stop rembg-watch, put the ledger back in its place, and start it again.",
            level=Level.ERROR,
        ),
        is_said_by_api=False,
        needs_person=True,
        outlasts_retry=True,
    ),
    Cause.BRAKE: CauseRow(
        pause=Pause("the new folder holds many pictures", '"rembg-watch retry --folder" lets them go.'),
        is_of_folder=True,
        needs_person=True,
        is_said_by_api=False,
        outlasts_retry=True,
    ),
    Cause.DELIVERED: CauseRow(
        pause=Pause(
            "the new folder's pictures seem to be delivered already",
            '"rembg-watch adopt" takes them over, "retry --folder" sends them.',
        ),
        is_of_folder=True,
        needs_person=True,
        is_said_by_api=False,
        outlasts_retry=True,
    ),
    Cause.TAKEN: CauseRow(
        pause=Pause("another process watches the folder", "It goes on by itself when that one lets go."),
        is_of_folder=True,
        is_said_by_api=False,
        outlasts_retry=True,
    ),
}

REFUSALS: Final[Mapping[Outcome, Cause]] = {
    row.outcome: cause for cause, row in CAUSES.items() if row.outcome is not None
}
"""Which ends of a call shut the gate, and for what."""


def words(pause: Pause, text: str | None) -> str:
    """Say why nothing goes, in a sentence for a person; *text* is what the API said, or the error."""
    return f"{pause.what} ({text})" if text else pause.what


def pause_of(cause: Cause, *, is_answered: bool = False) -> Pause:
    """Return what a person reads of a pause; nobody can mend an API that answers, and fails."""
    row = CAUSES[cause]
    return row.answered if is_answered and row.answered is not None else row.pause
