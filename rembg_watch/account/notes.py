"""
What is written down of the account, for the next start: the one reader and writer of these notes.

Every note is described once, by a model that reads and writes it. Notes of earlier versions are
understood; what makes no sense is left out, never an error: a note must not stop a start.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from rembg_watch.account.causes import CAUSES, Cause, Probe
from rembg_watch.account.credits import AccountReading, OtherUse
from rembg_watch.account.gate import Gate
from rembg_watch.account.holds import FolderHold, Hold, noted
from rembg_watch.account.measures import Learned
from rembg_watch.account.pacing import HIGHEST_RATE, LOWEST_RATE
from rembg_watch.account.pauses import Pauses

GATE, PACE, BASELINE, OTHER_USE = "gate", "pacer", "account", "other_use"
"""The names of the notes: the holds, the pace, the last reading of an account at rest, and what others spent."""
PAUSES = "paused"
"""The note by which ``pause`` and ``resume`` tell every daemon of this ledger what is paused."""

RESUME = "resume"
"""The note by which ``retry`` asks a running daemon to try every hold at once."""

# --- what stands in a note ------------------------------------------------------------------------


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(f"not an aware moment: {value!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"no moment in UTC: {value!r}") from error


def _amount(value: object) -> object:
    if not isinstance(value, str | Decimal):
        raise ValueError(f"not an amount: {value!r}")  # noqa: TRY004  # pydantic turns ValueError alone into a finding
    return value


def _or(default: object) -> WrapValidator:
    """Take *default* for what makes no sense."""

    def read(value: object, read_on: ValidatorFunctionWrapHandler) -> object:
        try:
            return read_on(value)
        except ValidationError:
            return default

    return WrapValidator(read)


Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(datetime.isoformat)]
Amount = Annotated[Decimal, BeforeValidator(_amount)]
Count = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Words = Annotated[str | None, _or(None)]
Rate = Annotated[float | None, Field(strict=True, ge=LOWEST_RATE, le=HIGHEST_RATE), _or(None)]


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)

    @classmethod
    def read(cls, note: object) -> Self | None:
        """Read a note, or a row of one; None if it makes no sense."""
        try:
            return cls.model_validate(note) if isinstance(note, Mapping) else None
        except ValidationError:
            return None

    @classmethod
    def write(cls, value: object) -> dict[str, Any]:
        """Write a value down as JSON can hold it."""
        return cls.model_validate(value).model_dump(mode="json")


N = TypeVar("N", bound=_Note)


def _rows(model: type[N], note: object, name: str) -> list[N]:
    found = note.get(name) if isinstance(note, Mapping) else None
    rows = (model.read(row) for row in found) if isinstance(found, list) else ()
    return [row for row in rows if row is not None]


# --- the gate -------------------------------------------------------------------------------------


class _HoldNote(_Note):
    cause: Cause
    since: Moment
    probe: Probe
    probe_at: Moment | None
    until: Moment | None
    step: Count
    refused: Count
    is_confirmed: Flag = False
    text: Words
    is_answered: Flag = False
    picture_at: Moment | None = None
    spendable: Annotated[Amount | None, _or(None)] = None

    def can_end(self) -> bool:
        """Say whether anything would ever end this hold: an unknown schedule must not shut the gate for good."""
        if self.probe is Probe.PICTURE:
            row = CAUSES[self.cause]
            return self.probe_at is not None and (row.is_hourly or row.steps_s is not None)
        return self.probe_at is not None or self.probe is Probe.PERSON


class _FolderNote(_Note):
    folder: str
    options: str
    since: Moment
    text: Words
    cause: Cause = Cause.PARAMETERS


def gate_to_note(gate: Gate) -> dict[str, Any]:
    """Write down the holds; what belongs to the running process alone is left out."""
    passing = (Cause.BACKOFF, Cause.LEDGER)
    holds = (noted(hold, gate.canary_at) for hold in gate.holds if hold.cause not in passing)
    return {
        "holds": [_HoldNote.write(hold) for hold in holds],
        "folders": [_FolderNote.write(hold) for hold in gate.folders],
    }


def gate_from_note(note: object) -> Gate:
    """Read back the holds; each that makes no sense is left out."""
    holds = {row.cause: Hold(**dict(row)) for row in _rows(_HoldNote, note, "holds") if row.can_end()}
    rows = _rows(_FolderNote, note, "folders")
    folders = {(row.folder, row.cause is Cause.PAUSED): FolderHold(**dict(row)) for row in rows}
    return Gate(holds=tuple(holds.values()), folders=tuple(folders.values()))


# --- what is paused -------------------------------------------------------------------------------


class _PausesNote(_Note):
    all_at: Moment | None = None
    folders: dict[str, Moment] = {}


def pauses_to_note(pauses: Pauses) -> dict[str, Any]:
    """Write down what a person has paused."""
    return _PausesNote.write(pauses)


def pauses_from_note(note: object) -> Pauses:
    """Read back what a person has paused."""
    found = _PausesNote.read(note)
    return Pauses() if found is None else Pauses(all_at=found.all_at, folders=found.folders)


# --- the pace -------------------------------------------------------------------------------------


class _PaceNote(_Note):
    rate: Rate = None
    good: Rate = None
    held: Rate = None
    back_to: Rate = None
    is_starting: Flag = False
    call_s: Annotated[float | None, Field(strict=True, gt=0, lt=86_400), _or(None)] = None
    failures_cost: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceNote:
    """What is known of the calls: their rate, how long one takes, and whether failures cost credits."""

    learned: Learned | None = None
    call_s: float | None = None  # upload and answer; None: none was made yet
    failures_cost: bool = False  # failures of the server were seen to cost credits


def pace_to_note(pace: PaceNote) -> dict[str, Any]:
    """Write down what is known of the calls."""
    learned = asdict(pace.learned) if pace.learned else {}
    return _PaceNote.write({**learned, "call_s": pace.call_s, "failures_cost": pace.failures_cost})


def pace_from_note(note: object) -> PaceNote:
    """Read back what is known of the calls."""
    found = _PaceNote.read(note) or _PaceNote()
    if found.rate is None:
        return PaceNote(call_s=found.call_s, failures_cost=found.failures_cost)
    learned = Learned(found.rate, found.good, found.held, found.back_to, is_starting=found.is_starting)
    return PaceNote(learned=learned, call_s=found.call_s, failures_cost=found.failures_cost)


# --- the account ----------------------------------------------------------------------------------


class _ReadingNote(_Note):
    included_remaining: Amount
    prepaid: Amount
    app_used: Amount
    api_used: Amount
    synced: Flag = False
    read_at: Moment
    period_start_at: Annotated[Moment | None, _or(None)] = None
    period_end_at: Annotated[Moment | None, _or(None)] = None


def reading_to_note(reading: AccountReading, *, last_call: int | None = None) -> dict[str, Any]:
    """Write down a reading, and the last call that it had in it, whatever the clock said."""
    note = _ReadingNote.write(reading)
    return note if last_call is None else {**note, "last_call": last_call}


def reading_from_note(note: object) -> AccountReading | None:
    """Read back a reading; None if it makes no sense."""
    found = _ReadingNote.read(note)
    return None if found is None else AccountReading(**dict(found))


def last_call_from_note(note: object) -> int | None:
    """Read back the last call that a reading had in it; None if an older version left it."""
    found = note.get("last_call") if isinstance(note, Mapping) else None
    return found if type(found) is int else None


class _UseNote(_Note):
    since: Moment
    by_app: Amount
    more: Amount
    fewer: Amount
    told: Annotated[Amount, _or(Decimal(0))] = Decimal(0)  # the sum that was reported last


def use_to_note(use: OtherUse, *, reported: Decimal) -> dict[str, Any]:
    """Write down what others spent, and how much of it was reported."""
    return {**_UseNote.write(use), "told": str(reported)}


def use_from_note(note: object) -> tuple[OtherUse | None, Decimal]:
    """Read back what others spent, and how much of it was reported; None if there is nothing that makes sense."""
    found = _UseNote.read(note)
    if found is None:
        return None, Decimal(0)
    return OtherUse(since=found.since, by_app=found.by_app, more=found.more, fewer=found.fewer), found.told
