"""``report``, as a user calls it: what it says is what the account and the ledger say."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.sandbox import Sandbox

Call = Callable[..., Any]


@pytest.fixture
def studio(desk: Path, serve: Callable[..., Sandbox], call: Call, make_picture: Callable[..., bytes]) -> Path:
    """Two shoots and a loose picture, cut out; one of them twice paid for, and one refused."""
    sandbox = serve()
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[watch]\nsettle_s = 0.1\n[output]\nfree_space_reserve_mb = 0\n'
        f'[[folders]]\nname = "f"\ninput = "{desk / "in"}"\noutput = "{desk / "out"}"\n'
    )
    for number, name in enumerate(("Acme/a/1.jpg", "Acme/b/2.jpg", "=Beta/3.jpg", "4.jpg")):
        path = desk / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_picture(60 + number, 50))
    sandbox.add_fault("status", count=1)
    assert call("once").code == 0
    assert call("redo", "Acme/a/1.jpg", "--yes").code == 0
    assert call("once").code == 0
    return desk


def rows_of(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out, newline=""), strict=True))


def test_every_division_comes_to_what_the_account_and_the_ledger_say(studio: Path, call: Call) -> None:
    billed = json.loads(call("credits", "--json").out)["usage"]["api"]
    spending = json.loads(call("status", "--json").out)["spending"]
    assert billed == spending["charged"] == 5
    for by in ("folder", "shoot", "day", "picture"):
        found = json.loads(call("report", "--by", by, "--json").out)
        names = {"delivered": 4, "calls": spending["calls"], "charged": 5, "repeats": 1}
        assert {name: found["total"][name] for name in names} == names
        for name, amount in found["total"].items():
            assert sum(row[name] for row in found["rows"]) == amount
        rows = rows_of(call("report", "--by", by, "--csv").raw.decode())
        assert sum(int(row["charged"]) for row in rows) == billed
        assert sum(int(row["refused"]) for row in rows) == spending["refused"] == 1
        assert found["days"] == "UTC"


def test_shoots_are_sub_folders_of_the_depth_that_is_set(studio: Path, call: Call) -> None:
    assert [row["shoot"] for row in rows_of(call("report", "--by", "shoot", "--csv").out)] == [".", "'=Beta", "Acme"]
    with (studio / "rembg-watch.toml").open("a") as file:
        file.write("shoot_depth = 2\n")
    rows = rows_of(call("report", "--by", "shoot", "--csv").out)
    assert [(row["shoot"], row["charged"]) for row in rows] == [
        (".", "1"), ("'=Beta", "1"), ("Acme/a", "2"), ("Acme/b", "1"),
    ]  # fmt: skip
    assert call("report", "--by", "shoot", "--csv").raw.count(b"\r\n") == 5


def test_a_table_says_its_days_and_its_sums(studio: Path, call: Call) -> None:
    shown = call("report", "--by", "shoot").out
    this = datetime.now(UTC)
    assert re.match(rf"{this:%Y-%m}-01 to {this:%Y-%m}-\d\d, UTC days\n", shown)
    assert re.search(r"together +4 +\d+ +5 +1 +1\n", shown)
    assert "refused" in shown
    assert "doubtful" not in shown, "what never happened takes no room"
    assert re.search(r"f +=Beta +1 ", shown), "no spreadsheet reads this"


def test_folders_are_chosen(studio: Path, call: Call) -> None:
    assert json.loads(call("report", "--folder", "f", "--json").out)["total"]["charged"] == 5
    ended = call("report", "--folder", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no folder 'nobody'" in ended.err


def test_other_times_have_nothing_in_them(studio: Path, call: Call) -> None:
    ended = call("report", "--month", "2020-02")
    assert (ended.code, ended.out) == (0, "2020-02-01 to 2020-02-29, UTC days\nnothing was sent or delivered\n")
    today = datetime.now(UTC).date()
    before = today - timedelta(days=2)
    assert json.loads(call("report", "--to", str(before), "--json").out)["rows"] == []
    found = json.loads(call("report", "--from", str(before), "--to", str(today + timedelta(days=1)), "--json").out)
    assert (found["from"], found["to"], found["total"]["charged"]) == (str(before), str(today + timedelta(days=1)), 5)
    assert json.loads(call("report", "--from", str(today - timedelta(days=9)), "--json").out)["to"] is None
    assert rows_of(call("report", "--month", "2020-02", "--csv").out) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--month", "november"], "--month takes a year and a month"),
        (["--month", "2026-13"], "--month takes a year and a month"),
        (["--month", "9999-12"], "--month takes a year and a month"),
        (["--from", "2026-02-30"], "--from takes a day"),
        (["--to", "0001-01-01"], "--to takes a day"),
        (["--month", "2026-11", "--from", "2026-11-01"], "two different times"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], "is before"),
        (["--csv", "--json"], "choose one"),
    ],
)
@pytest.mark.usefixtures("desk")
def test_what_makes_no_sense_is_refused(call: Call, arguments: list[str], says: str) -> None:
    ended = call("report", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_without_a_ledger_it_says_so(desk: Path, call: Call) -> None:
    (desk / "rembg-watch.toml").write_text(
        f'state_dir = "{desk / "state"}"\n[[folders]]\nname = "f"\ninput = "{desk}/in"\noutput = "{desk}/out"\n'
    )
    ended = call("report")
    assert ended.code != 0
    assert "there is no ledger" in ended.err
