"""Rows of a bill: what they stand for, that they add up, and that no spreadsheet runs a name."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.ledger import Billed, Spending
from rembg_watch.report import bill
from rembg_watch.report.bill import FIGURES, Division, Row

DAY = datetime(2026, 11, 3, tzinfo=UTC)


def part(place: bytes | None = None, charged: float = 1, folder: str = "f", **more: object) -> Billed:
    return Billed(
        folder=folder, place=place, delivered=1, spending=Spending(calls=1, charged=Decimal(str(charged))), **more
    )  # type: ignore[arg-type]


def depth(depths: dict[str, int]) -> Callable[[str], int]:
    return lambda name: depths.get(name, 1)


def names(rows: list[Row], division: Division) -> list[list[str]]:
    return [row.names(division) for row in rows]


def test_directories_become_shoots_by_the_depth_of_their_folder() -> None:
    parts = [
        part(b"Acme/a"),
        part(b"Acme/b/c"),
        part(b"Acme"),
        part(b""),
        part(b"Acme/a", folder="deep"),
        part(b"x/y", folder="one"),
    ]
    rows = bill.rows(parts, Division.SHOOT, depth({"deep": 2, "one": 0}))
    assert names(rows, Division.SHOOT) == [["deep", "Acme/a"], ["f", "."], ["f", "Acme"], ["one", "."]]
    assert [row.spending.charged for row in rows] == [1, 1, 3, 1]


def test_pictures_have_their_shoot_beside_them() -> None:
    rows = bill.rows([part(b"Acme/a/1.jpg"), part(b"2.jpg"), part(b"Acme/a/1.jpg")], Division.PICTURE, depth({}))
    assert names(rows, Division.PICTURE) == [["f", ".", "2.jpg"], ["f", "Acme", "Acme/a/1.jpg"]]
    assert [row.delivered for row in rows] == [1, 2]


def test_days_are_those_of_all_folders_and_in_their_order() -> None:
    parts = [part(day=DAY.replace(day=4)), part(day=DAY), part(day=DAY, folder="g", is_forgotten=True)]
    rows = bill.rows(parts, Division.DAY, depth({}))
    assert names(rows, Division.DAY) == [["2026-11-03"], ["2026-11-04"]]
    assert [row.spending.calls for row in rows] == [2, 1]


def test_what_was_forgotten_is_in_no_shoot_and_in_its_folder() -> None:
    parts = [part(b"Acme"), part(None, is_forgotten=True, day=DAY), part(None, is_forgotten=False)]
    rows = bill.rows(parts, Division.SHOOT, depth({}))
    assert names(rows, Division.SHOOT) == [["f", "Acme"], ["f", ""]]
    assert [row.is_forgotten for row in rows] == [False, True]
    assert [row.spending.calls for row in bill.rows(parts, Division.FOLDER, depth({}))] == [3]
    assert bill.known_since(parts) == date(2026, 11, 4)
    assert bill.known_since(parts[:1]) is None


def test_no_rows_come_to_nothing() -> None:
    assert bill.rows([], Division.SHOOT, depth({})) == []
    assert bill.total([]).figures() == dict.fromkeys(FIGURES, 0)
    assert bill.csv_text([], Division.DAY) == ",".join(["day", *FIGURES]) + "\r\n"


parts_of_all_sorts = st.lists(
    st.builds(
        Billed,
        folder=st.sampled_from(["f", "g", "=h"]),
        day=st.sampled_from([None, DAY, DAY.replace(day=9)]),
        place=st.one_of(st.none(), st.binary(max_size=8).filter(lambda place: not place.startswith(b"/"))),
        is_forgotten=st.booleans(),
        delivered=st.integers(0, 10**6),
        spending=st.builds(
            Spending,
            calls=st.integers(0, 10**6),
            charged=st.decimals(0, 10**6, places=9),
            doubtful=st.decimals(0, 10**6, places=9),
            doubles=st.integers(0, 9),
        ),
    ),
    max_size=12,
)


@given(parts_of_all_sorts, st.sampled_from(Division), st.integers(0, 3))
def test_rows_add_up_exactly_however_they_are_divided(parts: list[Billed], division: Division, level: int) -> None:
    sums = bill.total(bill.rows(parts, division, lambda _: level))
    assert sums.delivered == sum(one.delivered for one in parts)
    assert sums.spending.charged == sum((one.spending.charged for one in parts), Decimal(0))
    assert sums.spending.doubtful == sum((one.spending.doubtful for one in parts), Decimal(0))
    assert sums.spending.calls == sum(one.spending.calls for one in parts)
    assert sums.spending.doubles == sum(one.spending.doubles for one in parts)


@given(parts_of_all_sorts, st.sampled_from(Division))
def test_csv_reads_back_and_no_cell_is_a_formula(parts: list[Billed], division: Division) -> None:
    rows = bill.rows(parts, division, lambda _: 1)
    text = bill.csv_text(rows, division)
    assert text.encode().decode() == text
    heading, *lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert heading == [*division.names, *FIGURES]
    assert len(lines) == len(rows) == text.count("\r\n") - 1
    charged = heading.index("charged")
    assert sum((Decimal(line[charged]) for line in lines), Decimal(0)) == bill.total(rows).spending.charged
    for line, row in zip(lines, rows, strict=True):
        for cell, name in zip(line, row.names(division), strict=False):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            assert cell.removeprefix("'") == name.removeprefix("'")
            assert cell.isprintable(), "a name that harms a terminal or forges a line"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        (b"=HYPERLINK(1)/a.jpg", "'=HYPERLINK(1)"),
        (b"+1/a.jpg", "'+1"),
        (b"-1/a.jpg", "'-1"),
        (b"@SUM/a.jpg", "'@SUM"),
        (b"\t=1/a.jpg", "\\t=1"),
        (b"\r=1/a.jpg", "\\r=1"),
        ("＝1/a.jpg".encode(), "'＝1"),
        (b"a,b/a.jpg", '"a,b"'),
        (b'a"b/a.jpg', '"a""b"'),
        (b"M\xfcller/a.jpg", "M\\xfcller"),
        ("Müller/a.jpg".encode(), "Müller"),
        (b"line\nfeed/a.jpg", "line\\nfeed"),
    ],
)
def test_names_in_csv(name: bytes, cell: str) -> None:
    rows = bill.rows([part(name.rpartition(b"/")[0], 0.5)], Division.SHOOT, depth({}))
    assert bill.csv_text(rows, Division.SHOOT).splitlines()[1] == f"f,{cell},1,1,0.5,0,0,0,0,0,0"


def test_inert_takes_raw_control_characters_too() -> None:
    assert [bill.inert(text) for text in ("\t1", "\r1", "1", "", "a=1")] == ["'\t1", "'\r1", "1", "", "a=1"]


def test_json_tells_nothing_from_unknown() -> None:
    rows = bill.rows([part(b"\xff.jpg"), part(None, 0.5)], Division.PICTURE, depth({}))
    known, forgotten = bill.plain_values(rows, Division.PICTURE)
    assert (known["shoot"], known["picture"], known["picture_hex"]) == (".", "\\xff.jpg", b"\xff.jpg".hex())
    assert (forgotten["folder"], forgotten["shoot"], forgotten["picture"], forgotten["charged"]) == (
        "f",
        None,
        None,
        0.5,
    )
