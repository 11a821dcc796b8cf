"""``credits``: the account, its period, its forecast and its history, for people and machines."""

import fcntl
import io
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rembg_watch.api.responses import Account, BillingCycle, BillingPeriod
from rembg_watch.cli.credits_view import (
    HISTORY_WIDTH,
    AccountView,
    BarCharacters,
    BarPart,
    UsageQuery,
    as_plain_values,
    balance_lines,
    bar,
    forecast,
    forecast_sentence,
    history_table,
    is_running,
    plain_lines,
    rows,
)
from rembg_watch.ledger import PastBalance
from rembg_watch.sandbox import Sandbox

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
TENTH_DAY = START + timedelta(days=10)

Call = Callable[..., Any]
Serve = Callable[..., Sandbox]


def cycle(
    *, app: str = "0", api: str = "0", included: str = "900", prepaid: str = "0", synced: bool = True
) -> BillingCycle:
    used = Decimal(app) + Decimal(api)
    return BillingCycle(
        period_start_at=START,
        period_end_at=END,
        app_usage=Decimal(app),
        api_usage=Decimal(api),
        included_credits=Decimal(included),
        prepaid_credits=Decimal(prepaid),
        used_included=used,
        remaining_included=max(Decimal(included) - used, Decimal(0)),
        stripe_billing_synced=synced,
    )


def view(
    of: BillingCycle | None, *, now: datetime = TENTH_DAY, query: UsageQuery | None = None, periods: Any = None
) -> AccountView:
    account = Account(
        membership="Premium-900",
        credits=Decimal(900),
        prepaid_credits=of.prepaid_credits if of else Decimal(7),
        app_usage=Decimal(30),
        api_usage=Decimal(70),
        billing_cycle=of,
    )
    return AccountView(account=account, query=query or UsageQuery(), now=now, periods=periods)


# --- the forecast ---------------------------------------------------------------------------------


def test_a_pace_that_ends_within_the_period_says_when() -> None:
    found = forecast(cycle(api="600"), TENTH_DAY)
    assert found is not None
    assert found.per_day == 60
    assert found.included_end_at == TENTH_DAY + timedelta(days=5)
    assert found.all_end_at == found.included_end_at
    assert found.left_at_renewal == 0


def test_a_pace_that_lasts_says_how_much_will_be_left() -> None:
    found = forecast(cycle(app="100", api="200"), TENTH_DAY)
    assert found is not None
    assert found.included_end_at is None
    assert found.all_end_at is None
    assert round(found.left_at_renewal) == 0, "30 a day for 30 days are just the 900 there are"
    assert forecast(cycle(api="150"), TENTH_DAY).left_at_renewal > 449  # type: ignore[union-attr]


def test_prepaid_credits_take_over_where_the_included_ones_end() -> None:
    found = forecast(cycle(api="600", prepaid="1000"), TENTH_DAY)
    assert found is not None
    assert found.included_end_at == TENTH_DAY + timedelta(days=5)
    assert found.all_end_at is None
    assert round(found.prepaid_needed) == 900
    short = forecast(cycle(api="600", prepaid="120"), TENTH_DAY)
    assert short is not None
    assert short.all_end_at == TENTH_DAY + timedelta(days=7)
    assert short.prepaid_needed == 120


ENDING = "at the present pace of 60 a day the included credits end on 2026-11-16 00:00 UTC, 15 d before the renewal;"

SENTENCES: list[tuple[str, BillingCycle, datetime, str]] = [
    (
        "ends before the renewal",
        cycle(api="600"),
        TENTH_DAY,
        f"{ENDING} nothing can be spent after that, since there are no prepaid ones",
    ),
    (
        "prepaid ones last",
        cycle(api="600", prepaid="1000"),
        TENTH_DAY,
        f"{ENDING} the prepaid ones cover the rest: about 900 credits of 1,000",
    ),
    (
        "prepaid ones end too",
        cycle(api="600", prepaid="120"),
        TENTH_DAY,
        f"{ENDING} the prepaid ones last until 2026-11-18 00:00 UTC at that pace",
    ),
    (
        "enough",
        cycle(api="15"),
        TENTH_DAY,
        "at the present pace of 1.5 a day about 855 credits will be left at the renewal",
    ),
    ("nothing used", cycle(), TENTH_DAY, "nothing is used so far: all 900 credits would be left at the renewal"),
    (
        "used up",
        cycle(api="900", prepaid="5000"),
        TENTH_DAY,
        "the included credits are used up; the prepaid ones cover the rest: about 1,800 credits of 5,000",
    ),
    (
        "used up and nothing else",
        cycle(api="900"),
        TENTH_DAY,
        "the included credits are used up; nothing can be spent after that, since there are no prepaid ones",
    ),
    ("just begun", cycle(api="5"), START + timedelta(minutes=59), "none yet: the period has just begun"),
    ("not begun by this clock", cycle(api="5"), START - timedelta(days=2), "none yet: the period has just begun"),
    ("over", cycle(api="5"), END + timedelta(seconds=1), "none: the period is over"),
    (
        "a plan without credits",
        cycle(included="0", prepaid="40"),
        TENTH_DAY,
        "nothing is used so far: all 0 credits would be left at the renewal",
    ),
]


@pytest.mark.parametrize(("of", "now", "sentence"), [row[1:] for row in SENTENCES], ids=[row[0] for row in SENTENCES])
def test_the_forecast_is_one_sentence(of: BillingCycle, now: datetime, sentence: str) -> None:
    assert forecast_sentence(of, now) == sentence


# --- bars -----------------------------------------------------------------------------------------

BARS: list[tuple[str, list[str], str, int, str]] = [
    ("halves", ["25", "25"], "100", 20, "aaaaabbbbb.........."),
    ("nothing", ["0", "0"], "100", 5, "....."),
    ("all of it", ["100", "0"], "100", 5, "aaaaa"),
    ("more than there is", ["80", "900"], "100", 10, "aaaaaaaabb"),
    ("a trace still shows", ["1", "0"], "1000000", 8, "a......."),
    ("two traces", ["1", "1"], "1000000", 8, "ab......"),
    ("of nothing", ["0", "0"], "0", 4, "...."),
    ("something of nothing", ["3", "0"], "0", 4, "a..."),
    ("a negative share", ["-5", "50"], "100", 4, "bb.."),
    ("no room", ["50", "50"], "100", 0, ""),
]


@pytest.mark.parametrize(("amounts", "whole", "width", "drawn"), [row[1:] for row in BARS], ids=[r[0] for r in BARS])
def test_a_bar_shows_each_share_of_the_whole(amounts: list[str], whole: str, width: int, drawn: str) -> None:
    parts = [BarPart(Decimal(amount), mark, "") for amount, mark in zip(amounts, "ab", strict=True)]
    assert bar(parts, Decimal(whole), width, rest=".").plain == drawn


def test_a_screen_that_knows_no_blocks_gets_letters() -> None:
    assert BarCharacters.of("utf-8") == BarCharacters()
    characters = BarCharacters.of("ascii")
    assert f"{characters.api}{characters.app}{characters.rest}".isascii()


# --- words ----------------------------------------------------------------------------------------


def words(of: AccountView) -> str:
    return "\n".join(plain_lines(of))


def test_the_lines_say_all_that_a_person_asks() -> None:
    assert plain_lines(view(cycle(app="100", api="200", prepaid="50"))) == [
        "Membership: Premium-900",
        "Can be spent: 650 credits: 600 included, 50 prepaid",
        "Period: 2026-11-01 00:00 UTC to 2026-11-30 23:59 UTC, day 11 of 30",
        "Included: 300 of 900 used (33 %): API 200, web editor 100",
        "Prepaid: 50 credits; they outlast the period",
        "Renewal: in 20 d, on 2026-12-01 00:00 UTC",
        "Forecast: at the present pace of 30 a day about 0 credits will be left at the renewal",
    ]


def test_a_period_that_is_not_the_enforced_one_is_said_to_be_a_stand_in() -> None:
    assert "stand-in" in words(view(cycle(synced=False)))
    assert "stand-in" not in words(view(cycle(synced=True)))


def test_an_answer_about_the_past_says_nothing_of_what_can_be_spent_today() -> None:
    past = view(cycle(api="30"), now=END + timedelta(days=40), query=UsageQuery(period_start_unix=1))
    assert "Included: 30 of 900 used" in words(past)
    assert not re.search("spent|Renewal|Forecast|Prepaid|day 1", words(past))
    values = as_plain_values(past)
    assert [values[name] for name in ("included", "prepaid", "spendable", "period_end")] == [None] * 4
    assert values["period"]["used"] == 30


def test_a_month_shows_its_own_usage_and_what_can_be_spent_today() -> None:
    lines = plain_lines(view(cycle(api="30"), query=UsageQuery(year=2026, month=9)))
    assert lines == [
        "Membership: Premium-900",
        "Can be spent: 870 credits: 870 included, 0 prepaid",
        "UTC month: 2026-09",
        "Used: 100 credits: API 70, web editor 30",
    ]


def test_an_account_without_a_billing_cycle_is_said_to_be_reckoned_by_the_month() -> None:
    text = words(view(None))
    assert "Can be spent: 807 credits; computed from the calendar month's usage" in text
    assert "said nothing about a billing period" in text
    assert as_plain_values(view(None))["period"] is None


def test_a_renewal_that_should_have_been_points_at_the_clock() -> None:
    assert "check this machine's clock" in words(view(cycle(), now=END + timedelta(days=3)))


def test_fractions_of_credits_are_not_rounded_away() -> None:
    assert "0.5 of 900 used" in words(view(cycle(api="0.5")))
    assert as_plain_values(view(cycle(api="0.5")))["spendable"] == 899.5


def test_a_running_period_is_told_give_or_take_what_clocks_differ_by() -> None:
    assert is_running(cycle(), END + timedelta(minutes=9))
    assert not is_running(cycle(), END + timedelta(minutes=11))
    assert not is_running(cycle(), START - timedelta(minutes=11))


def period(app: int, api: int, months_ago: int) -> BillingPeriod:
    start = START - timedelta(days=30 * months_ago)
    return BillingPeriod(
        period_start_at=start,
        period_end_at=start + timedelta(days=30, seconds=-1),
        app_usage=Decimal(app),
        api_usage=Decimal(api),
    )


@pytest.mark.parametrize("width", [HISTORY_WIDTH, 80, 120])
def test_the_history_fits_the_screen_with_the_largest_numbers(width: int) -> None:
    periods = [period(100_000, 200_000, n) for n in range(3)]
    screen = Console(width=width, record=True, file=io.StringIO())
    screen.print(history_table(periods, now=TENTH_DAY, width=width))
    lines = screen.export_text().splitlines()
    assert len(lines) == 4, "nothing is folded"
    assert all("…" not in line and "300,000" in line for line in lines[1:])
    assert any("█" in line for line in lines) is (width >= 80)


def test_no_history_is_said_in_words() -> None:
    assert plain_lines(view(cycle(), periods=()))[-1] == "No billing periods are listed."
    assert history_table([], now=TENTH_DAY, width=80).row_count == 0


def test_the_balances_past_is_its_last_word_of_each_day() -> None:
    held = [
        PastBalance(at=START + timedelta(hours=hour), included=Decimal(amount), prepaid=Decimal("0.5"))
        for hour, amount in ((0, "900"), (9, "800"), (30, "-1"))
    ]
    assert balance_lines(held) == [
        "2026-11-01: 800.5 credits: 800 included, 0.5 prepaid",
        "2026-11-02: 0.5 credits: 0 included, 0.5 prepaid",
    ]
    assert "No balances are kept" in balance_lines([])[0]


def test_what_the_daemon_read_is_listed(
    desk: Path, call: Call, serve: Serve, make_picture: Callable[..., bytes]
) -> None:
    serve(credits=50)
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\n[output]\nfree_space_reserve_mb = 0\n'
        f'[[folders]]\nname = "f"\ninput = "{desk / "in"}"\noutput = "{desk / "out"}"\n'
    )
    (desk / "in").mkdir()
    (desk / "in/1.jpg").write_bytes(make_picture())
    refused = call("credits", "--balances")
    assert refused.code != 0
    assert "there is no ledger" in refused.err
    assert call("once").code == 0
    (kept,) = json.loads(call("credits", "--balances", "--json").out)["balances"]
    assert (kept["included"], kept["prepaid"]) == (50, 0), "as it was read before the picture was sent"
    assert kept["period_end"]
    assert f"{datetime.now(UTC):%Y-%m}" in call("credits", "--balances").out.splitlines()[-1]
    assert "balances" not in json.loads(call("credits", "--json").out)


def test_a_bar_is_drawn_only_where_there_is_room() -> None:
    assert any("█" in text.plain for _, text in rows(view(cycle(api="9")), bar_width=20))
    assert not any("█" in text.plain for _, text in rows(view(cycle(api="9")), bar_width=3))


# --- the command ----------------------------------------------------------------------------------


def test_the_environment_alone_is_enough(call: Call, serve: Serve) -> None:
    sandbox = serve(credits=500, prepaid=20)
    sandbox.use_app(100)
    ended = call("credits")
    assert ended.code == 0
    assert "Can be spent: 420 credits: 400 included, 20 prepaid" in ended.out
    assert "█" not in ended.out, "a pipe gets words"
    assert ended.err == ""


def test_a_configuration_without_folders_is_enough(
    call: Call, serve: Serve, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    (desk / "key").write_text(os.environ["REMBG_WATCH_API__KEY"])
    monkeypatch.delenv("REMBG_WATCH_API__KEY")
    (desk / "my.toml").write_text('[api]\nkey_file = "key"\n')
    assert call("credits", "--config", "my.toml").code == 0


def test_json_has_everything_under_the_names_of_status(call: Call, serve: Serve) -> None:
    sandbox = serve(credits=500, prepaid=20)
    sandbox.use_app(100)
    sandbox.add_past_period(months_ago=1, app=3, api=4)
    found = json.loads(call("credits", "--json", "--history").out)
    assert (found["included"], found["prepaid"], found["spendable"]) == (400, 20, 420)
    assert datetime.fromisoformat(found["period_end"]) > datetime.now(UTC)
    assert found["period"]["used"] == 100
    assert found["period"]["synced"] is True
    assert found["period"]["forecast"]["per_day"] > 0
    assert [one["used"] for one in found["history"]] == [100, 7]
    assert "history" not in json.loads(call("credits", "--json").out)


def test_a_listed_period_can_be_asked_for(call: Call, serve: Serve) -> None:
    serve().add_past_period(months_ago=1, app=3, api=4)
    line = call("credits", "--history").out.splitlines()[-1]
    found = re.search(r"7 credits: API 4, web editor 3 \((--period) (\d+)\)", line)
    assert found is not None
    ended = call("credits", *found.groups())
    assert "Included: 7 of 500 used" in ended.out
    assert "Can be spent" not in ended.out


def test_a_month_can_be_asked_for(call: Call, serve: Serve) -> None:
    serve().use_app(9)
    assert "Used: 9 credits" in call("credits", "--month", f"{datetime.now(UTC):%Y-%m}").out
    assert "Used: 0 credits" in call("credits", "--month", "2020-2").out


def test_an_unsynced_account_is_told_so(call: Call, serve: Serve) -> None:
    serve(is_synced=False)
    assert "stand-in" in call("credits").out


BAD_TIMES = [
    ("no month", ["--month", "2026"], "--month takes a year and a month such as 2026-10, not '2026'"),
    ("words", ["--month", "last"], "--month takes"),
    ("a thirteenth month", ["--month", "2026-13"], "--month: 'month' must be between 1 and 12, got: 13"),
    ("the year nought", ["--month", "0000-01"], "--month: 'year' must be between 1 and 9999"),
    ("both", ["--month", "2026-10", "--period", "5"], "name two different times"),
    ("before time began", ["--period", "-1"], "--period: 'periodStartUnix' must be between 0"),
]


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in BAD_TIMES], ids=[row[0] for row in BAD_TIMES])
def test_a_time_that_is_none_is_wrong_usage_and_asks_nobody(
    arguments: list[str], words: str, call: Call, serve: Serve
) -> None:
    sandbox = serve()
    ended = call("credits", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert not sandbox.requests


def test_a_refused_key_ends_with_77_and_is_named_but_not_shown(
    call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setenv("REMBG_WATCH_API__KEY", "not-the-right-key")
    ended = call("credits")
    assert ended.code == 77
    assert "does not accept the key from REMBG_WATCH_API__KEY: invalid api key" in ended.err
    assert "not-the-right-key" not in ended.err + ended.out


def test_a_key_file_in_the_command_wins_over_every_other_key(
    call: Call, serve: Serve, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    (desk / "right").write_text(os.environ["REMBG_WATCH_API__KEY"] + "\n")
    (desk / "api_key").write_text("credential-of-another")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(desk))
    monkeypatch.setenv("rembg_watch_api__key", "not-the-right-key")
    assert call("credits").code == 77
    assert call("credits", "--key-file", "right").code == 0


def test_no_key_at_all_is_a_matter_of_configuration(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve()
    monkeypatch.delenv("REMBG_WATCH_API__KEY")
    ended = call("credits")
    assert ended.code == 78
    assert "there is no API key" in ended.err


def test_a_configuration_that_is_named_must_be_there(call: Call, serve: Serve) -> None:
    serve()
    ended = call("credits", "--config", "elsewhere.toml")
    assert ended.code == 78
    assert "elsewhere.toml: there is no such file" in ended.err


TROUBLES = [
    ("down", "status:status=503,route=/api/membership-usage", 75),
    ("a proxy's page", "html:route=/api/membership-usage", 75),
    ("too quick", "too_quick:route=/api/membership-usage", 75),
    ("garbage", "garbage:route=/api/membership-usage", 75),
    ("a failure that calls itself a success", "json:route=/api/membership-usage", 75),
    ("cut off", "cut_picture:route=/api/membership-usage", 75),
]


@pytest.mark.parametrize(("fault", "code"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_an_account_that_cannot_be_read_ends_with_a_sentence(fault: str, code: int, call: Call, serve: Serve) -> None:
    serve(faults=[fault])
    ended = call("credits")
    assert ended.code == code
    assert len(ended.err.splitlines()) == 1
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_no_way_to_the_server_may_pass(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve()
    monkeypatch.setenv("REMBG_WATCH_API__USAGE_URL", "http://127.0.0.1:1/usage")
    assert call("credits").code == 75


@pytest.mark.e2e
@pytest.mark.parametrize("columns", [80, 50])
def test_on_a_terminal_there_are_bars_and_no_line_is_wider_than_it(columns: int, serve: Serve) -> None:
    sandbox = serve(credits=18_500, prepaid=2_000)
    sandbox.use_app(4_000)
    sandbox.add_past_period(months_ago=1, app=3, api=4)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "rembg_watch", "credits", "--history"]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, env=environment, check=False, timeout=60)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed and all is read
        pass
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "")
    assert done.returncode == 0, text
    assert max(map(len, text.splitlines())) <= columns
    assert "▒▒▒" in text
    assert "4,000 of 18,500 used (22 %)" in text
