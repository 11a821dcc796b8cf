"""The balance's past: what is written down of it, and when."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from rembg_watch.account.credits import is_to_be_kept
from rembg_watch.account.history import History
from rembg_watch.host.clocks import Clocks
from rembg_watch.ledger import Ledger, LedgerUnavailableError, PastBalance, open_ledger
from rembg_watch.report.events import CreditsRead

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)


def held(minutes: float = 0, included: str = "10", prepaid: str = "0", end: datetime | None = END) -> PastBalance:
    at = NOON + timedelta(minutes=minutes)
    return PastBalance(at=at, included=Decimal(included), prepaid=Decimal(prepaid), period_end_at=end)


@pytest.mark.parametrize(
    ("now", "known", "is_kept"),
    [
        pytest.param(held(), None, True, id="the first one"),
        pytest.param(held(600), held(), False, id="nothing has changed"),
        pytest.param(held(59, "9"), held(), False, id="within the hour"),
        pytest.param(held(60, "9"), held(), True, id="an hour later"),
        pytest.param(held(60, prepaid="5"), held(), True, id="bought"),
        pytest.param(held(60, end=None), held(), True, id="of another period"),
        pytest.param(held(-1, "9"), held(), True, id="the clock was set back"),
        pytest.param(held(-1), held(), False, id="the clock was set back and nothing has changed"),
    ],
)
def test_a_balance_is_kept_where_it_changed_and_at_most_hourly(
    now: PastBalance, known: PastBalance | None, is_kept: bool
) -> None:
    assert is_to_be_kept(now, known=known) is is_kept


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOON
        self.clocks = Clocks(now=lambda: self.at)


def read(included: str) -> CreditsRead:
    amount = Decimal(included)
    return CreditsRead(included=amount, prepaid=Decimal(0), spendable=amount, period_end_at=END)


def follow(history: History, watch: Watch, *readings: tuple[float, str]) -> None:
    for minutes, included in readings:
        watch.at = NOON + timedelta(minutes=minutes)
        history(read(included))


def kept(ledger: Ledger) -> list[tuple[float, int]]:
    return [((one.at - NOON).total_seconds() / 60, int(one.included)) for one in ledger.balances()]


def test_what_changes_within_the_hour_is_kept_after_it_over_restarts_too(tmp_path: Path) -> None:
    watch = Watch()
    with open_ledger(tmp_path) as ledger:
        follow(History(ledger, watch.clocks), watch, (0, "10"), (1, "9"), (30, "8"), (61, "8"), (200, "8"))
        assert kept(ledger) == [(0, 10), (61, 8)]
    with open_ledger(tmp_path) as ledger:
        follow(History(ledger, watch.clocks), watch, (201, "8"), (202, "7"), (203, "6"))
        assert kept(ledger) == [(0, 10), (61, 8), (202, 7)]


def test_a_ledger_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    watch = Watch()
    with open_ledger(tmp_path) as ledger:
        history = History(ledger, watch.clocks)
    with pytest.raises(LedgerUnavailableError):
        ledger.keep_balance(held())
    follow(history, watch, (0, "10"))


class Full:
    """A ledger whose disk is full for a while."""

    def __init__(self) -> None:
        self.is_full = True
        self.kept: list[Decimal] = []

    def last_balance(self) -> None:
        return None

    def keep_balance(self, balance: PastBalance) -> None:
        if self.is_full:
            raise LedgerUnavailableError("the disk is full")
        self.kept.append(balance.included)


def test_what_could_not_be_kept_is_kept_with_the_next_reading() -> None:
    watch, ledger = Watch(), Full()
    history = History(ledger, watch.clocks)  # type: ignore[arg-type]
    follow(history, watch, (0, "10"))
    ledger.is_full = False
    follow(history, watch, (1, "10"), (2, "9"))
    assert ledger.kept == [10]
