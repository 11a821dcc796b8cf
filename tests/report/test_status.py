"""One object for machines, one screen for people, and whether anybody stands behind it."""

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rembg_watch.account.causes import CAUSES
from rembg_watch.account.holds import Cause, Hold, Probe
from rembg_watch.account.views import gate_view
from rembg_watch.jobs import State
from rembg_watch.ledger import Spending
from rembg_watch.passed_over import REASONS, Passed, Why
from rembg_watch.report.metrics import Figures, Problem
from rembg_watch.report.screen import headline, passed_over_text, render
from rembg_watch.report.status import (
    CreditsView,
    FolderView,
    GateView,
    Liveness,
    OtherUseView,
    is_same_process,
    liveness,
    passed_over_view,
    process_started,
    read_snapshot,
    snapshot,
    write_snapshot,
)
from rembg_watch.report.words import WallClock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELSINKI = timezone(timedelta(hours=2))
CLOCK = WallClock(NOW, HELSINKI)


def snap(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "counts": {State.DONE: 1204},
        "unsettled": 0,
        "gate": GateView(),
        "credits": CreditsView(),
        "now": NOW,
    }
    return snapshot(**{**known, **changes})


def shut(cause: Cause, **facts: Any) -> GateView:
    row = CAUSES[cause]
    known = {"reason": cause.value, "pause": row.pause, "is_said_by_api": row.is_said_by_api}
    return GateView(is_open=False, **(known | facts))


FULL: dict[str, Any] = {
    "counts": {State.QUEUED: 793, State.SENDING: 8, State.DONE: 1204, State.FAILED: 3, State.IN_DOUBT: 1},
    "unsettled": 2,
    "credits": CreditsView(
        included=Decimal(1000),
        prepaid=Decimal("240.50"),
        spendable=Decimal("1240.50"),
        period_end_at=NOW + timedelta(days=8),
        read_at=NOW - timedelta(minutes=2),
    ),
    "folders": [
        FolderView(name="catalogue", input="/srv/studio/exports", output="/srv/studio/cutouts", state="watching"),
        FolderView(
            name="nas",
            input="/mnt/nas/exports",
            output="/mnt/nas/cutouts",
            state="offline",
            why="the share is not mounted",
            since=NOW - timedelta(hours=3),
        ),
    ],
    "figures": Figures(
        since=NOW - timedelta(minutes=3),
        delivered=290,
        reused=10,
        failed=1,
        short_rate_per_s=3.42,
        short_count=200,
        long_rate_per_s=3.0,
        charged=Decimal(290),
        last_problems=(
            Problem(
                at=NOW - timedelta(minutes=1),
                kind="failed",
                why="File size (55.2 MB) exceeds the maximum allowed size of 50 MB.",
                folder="catalogue",
                source="a/very/long/way/to/a/picture/that/somebody/keeps/in/many/folders/IMG_20261122_120000.jpg",
            ),
        ),
    ),
    "limiting": "gate",
    "version": "0.1.0",
    "pid": os.getpid(),
}


def screen(of: dict[str, Any], *, alive: Liveness = Liveness.LIVE, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render(of, now=NOW, alive=alive, zone=HELSINKI))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


# --- for machines -------------------------------------------------------------------------------


def test_machines_find_the_keys_they_were_promised() -> None:
    found = snap()
    assert found["jobs"] == {
        "queued": 0,
        "sending": 0,
        "received": 0,
        "done": 1204,
        "failed": 0,
        "held": 0,
        "in_doubt": 0,
        "vanished": 0,
    }
    assert found["unsettled"] == 0
    assert {key: found["gate"][key] for key in ("open", "reason", "until")} == {
        "open": True,
        "reason": None,
        "until": None,
    }
    assert {"included", "prepaid", "spendable", "period_end"} <= set(found["credits"])


def test_numbers_and_moments_are_plain_json() -> None:
    found = json.loads(json.dumps(snap(**FULL)))
    assert found["credits"] == {
        "included": 1000,
        "prepaid": 240.5,
        "spendable": 1240.5,
        "period_end": "2026-11-30T12:00:00Z",
        "read_at": "2026-11-22T11:58:00Z",
    }
    assert found["eta_s"] == pytest.approx(801 / 3.42)
    assert found["rate"] == {"short_per_s": 3.42, "long_per_s": 3.0}
    assert found["totals"]["charged"] == 290
    assert found["last_errors"][0]["at"] == "2026-11-22T11:59:00Z"
    assert found["folders"][1]["since"] == "2026-11-22T09:00:00Z"


def test_a_shut_gate_says_why_since_when_and_until_when() -> None:
    gate = shut(Cause.MONTHLY, why="limit", since=NOW, until=NOW + timedelta(hours=1))
    assert snap(gate=gate)["gate"] == {
        "open": False,
        "reason": "monthly_limit",
        "why": "limit",
        "since": "2026-11-22T12:00:00Z",
        "until": "2026-11-22T13:00:00Z",
        "look_at": None,
        "look_by": None,
        "answered": False,
        "what": "the credits of this billing period are spent",
        "advice": "Buy credits, or wait: work goes on by itself.",
        "said_by_api": True,
    }


def test_other_use_of_the_account_is_shown_by_whom_and_since_when() -> None:
    use = OtherUseView(since=NOW - timedelta(hours=1), by_app=Decimal(3), more=Decimal(8), fewer=Decimal("0.5"))
    found = snap(other_use=use)
    assert found["other_use"] == {"since": "2026-11-22T11:00:00Z", "by_app": 3, "more": 8, "fewer": 0.5}
    shown = " ".join(screen(found).split())
    assert (
        "Other use of the account since 13:00 (1 h ago): "
        "3 credits by the web editor, 8 credits more and 0.5 credits fewer than this program knows of"
    ) in shown
    assert snap()["other_use"] is None


def test_an_api_that_answers_with_errors_is_not_laid_to_this_machine() -> None:
    hold = Hold(cause=Cause.CIRCUIT, since=NOW, probe=Probe.PICTURE, probe_at=NOW, text="500", is_answered=True)
    head = headline(snap(gate=gate_view(hold)), alive=Liveness.LIVE, clock=CLOCK)
    assert head.sentence == "The API fails."
    assert "network" not in str(head.details)


def test_a_hold_is_shown_with_its_next_look_and_its_end() -> None:
    at = NOW + timedelta(seconds=10)
    end = NOW + timedelta(days=9)
    hold = Hold(cause=Cause.CREDITS, since=NOW, probe=Probe.ACCOUNT, probe_at=at, until=end)
    found = snap(gate=gate_view(hold))["gate"]
    assert (found["until"], found["look_at"], found["look_by"]) == (
        "2026-12-01T12:00:00Z",
        "2026-11-22T12:00:10Z",
        "account",
    )
    assert gate_view(None) == GateView()


def test_what_nobody_has_read_is_null_and_not_nought() -> None:
    assert set(snap()["credits"].values()) == {None}


# --- the file -----------------------------------------------------------------------------------


def test_a_snapshot_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_snapshot(path, snap(**FULL))
    assert read_snapshot(path) == snap(**FULL)
    assert [found.name for found in tmp_path.iterdir()] == ["status.json"], "nothing is left beside it"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"other": 1}', "\x00", '{"jobs": 3}', '{"jobs": {}}'])
def test_what_is_no_snapshot_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)
    assert read_snapshot(tmp_path / "status.json") is None


def test_no_file_is_no_snapshot(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path / "status.json") is None


def test_a_file_of_other_bytes_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(b"\xff\xfe")
    assert read_snapshot(tmp_path / "status.json") is None


def test_no_reader_sees_half_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_snapshot(path, snap(**FULL))
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            write_snapshot(path, snap(**FULL))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [read_snapshot(path) for _ in range(300)]
    finally:
        over.set()
        writer.join(timeout=30)
    assert all(seen)


# --- whether anybody stands behind it -----------------------------------------------------------


def test_a_snapshot_of_this_process_is_live() -> None:
    assert liveness(snap(pid=os.getpid()), now=NOW + timedelta(seconds=59)) is Liveness.LIVE


def test_a_process_that_has_stopped_writing_is_silent() -> None:
    assert liveness(snap(pid=os.getpid()), now=NOW + timedelta(seconds=60)) is Liveness.SILENT


def test_a_snapshot_of_a_process_that_has_ended_is_left_over() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = snap(pid=process.pid)
        assert liveness(found, now=NOW) is Liveness.LIVE
    assert liveness(found, now=NOW) is Liveness.GONE


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    found = snap(pid=os.getpid())
    found["pid_started"] -= 1
    assert liveness(found, now=NOW) is Liveness.GONE


@pytest.mark.parametrize("pid", [None, 0, -1, "7", 2**40], ids=["none", "nought", "negative", "text", "too large"])
def test_what_is_no_process_is_gone(pid: object) -> None:
    assert not is_same_process(pid, 1)


def test_a_process_with_brackets_and_spaces_in_its_name_has_a_start() -> None:
    odd = "import ctypes; ctypes.CDLL(None).prctl(15, b') S 1 (x'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", odd], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        started, ours = process_started(process.pid), process_started(os.getpid())
        assert started
        assert ours
        assert started >= ours
        process.communicate(b"\n")


def test_a_snapshot_without_a_moment_is_silent() -> None:
    found = snap(pid=os.getpid())
    found["written_at"] = None
    assert liveness(found, now=NOW) is Liveness.SILENT


# --- for people ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "alive", "word", "sentence"),
    [
        ({}, Liveness.LIVE, "READY", "Everything that has landed is dealt with."),
        (
            {"passed_over": {"f": {Passed(Why.TYPE, ".cr3"): 200, Passed(Why.TYPE, ".heic"): 12}}},
            Liveness.LIVE,
            "READY",
            "All that can be sent is dealt with; 212 files are passed over: 200 .cr3, 12 .heic.",
        ),
        ({"unsettled": 1}, Liveness.LIVE, "WAITING", "1 file is still being copied or not whole yet."),
        ({"unsettled": 2}, Liveness.LIVE, "WAITING", "2 files are still being copied or not whole yet."),
        ({"counts": {State.QUEUED: 5, State.RECEIVED: 1}}, Liveness.LIVE, "WORKING", "6 pictures to go."),
        ({"gate": shut(Cause.DISK)}, Liveness.LIVE, "PAUSED", "The disk is full."),
        ({"gate": GateView(is_open=False)}, Liveness.LIVE, "PAUSED", "Unknown."),
        ({}, Liveness.GONE, "NOT RUNNING", "The daemon is not running; below is what it left."),
        ({}, Liveness.SILENT, "SILENT", "The daemon is there but last reported at 14:00 (0.0 s ago)."),
    ],
    ids=[
        "idle",
        "passed over",
        "one unsettled",
        "two unsettled",
        "at work",
        "paused",
        "for no reason",
        "gone",
        "silent",
    ],
)
def test_a_glance_tells_how_it_stands(changes: dict[str, Any], alive: Liveness, word: str, sentence: str) -> None:
    head = headline(snap(**changes), alive=alive, clock=CLOCK)
    assert (head.word, head.sentence) == (word, sentence)


def test_a_pause_says_since_when_until_when_in_whose_words_and_what_to_do() -> None:
    gate = shut(
        Cause.MONTHLY,
        why="You've reached your monthly limit.",
        since=NOW - timedelta(hours=1),
        until=NOW + timedelta(days=25),
        look_at=NOW + timedelta(minutes=125),
        look_by="account",
    )
    assert headline(snap(gate=gate), alive=Liveness.LIVE, clock=CLOCK).details == (
        "since 13:00 (1 h ago); the account is read again at 16:05 (in 2 h 5 min)",
        "the period ends 2026-12-17 14:00 (in 25 d)",
        'The API says: "You\'ve reached your monthly limit."',
        "Buy credits, or wait: work goes on by itself.",
    )


def test_a_pause_that_the_version_before_wrote_down_is_still_shown() -> None:
    found = snap(gate=shut(Cause.MONTHLY, why="You've reached your monthly limit.", since=NOW))
    for name in ("what", "advice", "said_by_api"):
        del found["gate"][name]
    head = headline(found, alive=Liveness.LIVE, clock=CLOCK)
    assert (head.word, head.sentence) == ("PAUSED", "Monthly limit.")
    assert head.details == ("since 14:00 (0.0 s ago)", 'The API says: "You\'ve reached your monthly limit."')
    assert "PAUSED" in screen(found)


def test_what_is_away_is_named_and_what_limits_is_told() -> None:
    assert headline(snap(**FULL), alive=Liveness.LIVE, clock=CLOCK).details == (
        "The API's rate sets the pace.",
        "Not there at the moment: nas. Waiting for it.",
    )


SPENT = FolderView(
    name="catalogue",
    input="/srv/in",
    output="/srv/out",
    state="spent",
    why="its daily budget of 100 credits is spent",
    until=NOW + timedelta(hours=12),
    waiting=200,
)
BLOCKED = FolderView(
    name="nas",
    input="/mnt/in",
    output="/mnt/out",
    state="blocked",
    why="its output cannot be written: the disk is full",
    since=NOW - timedelta(hours=1),
    waiting=3,
)


@pytest.mark.parametrize(
    ("counts", "limiting", "word"),
    [
        ({State.QUEUED: 200, State.RECEIVED: 3}, "folder_budget", "WAITING"),
        ({State.QUEUED: 200, State.SENDING: 8}, "folder_budget", "WORKING"),
        ({State.QUEUED: 200, State.RECEIVED: 3}, "workers", "WORKING"),
    ],
    ids=["nothing goes", "the last calls are under way", "another folder goes on"],
)
def test_folders_that_stand_still_are_named_with_their_reason(
    counts: dict[State, int], limiting: str, word: str
) -> None:
    found = snap(counts=counts, folders=[SPENT, BLOCKED, replace(BLOCKED, name="idle", waiting=0)], limiting=limiting)
    head = headline(found, alive=Liveness.LIVE, clock=CLOCK)
    assert head.word == word
    assert head.details[-2:] == (
        "catalogue: its daily budget of 100 credits is spent, until Mon 23 Nov 02:00 (in 12 h)",
        "nas: its output cannot be written: the disk is full, since 13:00 (1 h ago)",
    )
    assert any("workers" in line for line in head.details) is (limiting == "workers")
    shown = screen(found)
    assert "catalogue  spent" in shown
    assert "nas        blocked" in shown
    assert found["folders"][0]["until"] == "2026-11-23T00:00:00Z"
    assert (found["folders"][0]["waiting"], found["folders"][1]["since"]) == (200, "2026-11-22T11:00:00Z")


@pytest.mark.parametrize("changes", [{"will_end": False}, {"gate": GateView(is_open=False, reason="credits")}])
def test_where_something_waits_no_time_to_go_is_told(changes: dict[str, Any]) -> None:
    found = snap(**{**FULL, **changes})
    assert found["eta_s"] is None
    assert "to go" not in screen(found).partition("pictures to go")[2]


@pytest.mark.parametrize("limiting", [None, "queue", "hold", "folder_budget", "output", "offline", "a new word"])
def test_what_has_no_sentence_is_not_told_by_its_code(limiting: str | None) -> None:
    found = snap(counts={State.SENDING: 3}, limiting=limiting)
    assert headline(found, alive=Liveness.LIVE, clock=CLOCK).details == ()


def test_the_learned_rate_is_told_where_it_sets_the_pace() -> None:
    told = snap(**FULL) | {"learned_rate_per_s": 5.2}
    assert headline(told, alive=Liveness.LIVE, clock=CLOCK).details[0] == (
        "The API's rate sets the pace: at most 5.2 a second now."
    )
    told["limiting"] = "workers"
    assert "5.2" not in str(headline(told, alive=Liveness.LIVE, clock=CLOCK))


@pytest.mark.parametrize(
    ("reason", "who"),
    [(Cause.DISK, "The last error"), (Cause.CIRCUIT, "The last error"), (Cause.UNKNOWN, "The API says")],
)
def test_what_the_api_did_not_say_is_not_put_into_its_mouth(reason: Cause, who: str) -> None:
    gate = shut(reason, why="No space left on device", since=NOW, until=NOW)
    assert f'{who}: "No space left on device"' in headline(snap(gate=gate), alive=Liveness.LIVE, clock=CLOCK).details


SCREEN = """\
WORKING  801 pictures to go.
         The API's rate sets the pace.
         Not there at the moment: nas. Waiting for it.

━━━━━━╸                   301 of 1,102 in this run, 3.4 a second
                          about 3 min 50 s to go

        2  not whole yet  rembg-watch jobs --unsettled  says which
      793  in line
        8  at the API
    1,204  delivered
        3  failed         rembg-watch jobs --state failed  says why
        1  in doubt       rembg-watch retry --state in_doubt  sends them again

Credits   1,240.5 can be spent (1,000 included, 240.5 prepaid)
          the period ends 2026-11-30 14:00 (in 8 d)
          read at 13:58 (2 min ago)

Folders  catalogue  watching
                    from /srv/studio/exports
                    to   /srv/studio/cutouts
         nas        offline
                    the share is not mounted, since 11:00 (3 h ago)
                    from /mnt/nas/exports
                    to   /mnt/nas/cutouts

Errors   13:59  catalogue/a/very/long/way/to/a/picture/that/somebody/keeps/in/ma
                ny/folders/IMG_20261122_120000.jpg: File size (55.2 MB) exceeds
                the maximum allowed size of 50 MB.
"""


def test_the_whole_screen_fits_into_eighty_columns() -> None:
    shown = screen(snap(**FULL))
    assert shown.startswith(SCREEN)
    assert shown.endswith(f"rembg-watch 0.1.0 since 13:57 (3 min ago), pid {os.getpid()}")
    assert max(map(len, shown.splitlines())) <= 80


def test_what_a_dead_daemon_left_is_shown_without_its_pace() -> None:
    shown = screen(snap(**FULL), alive=Liveness.GONE)
    assert "NOT RUNNING" in shown
    assert "systemctl start rembg-watch" in shown
    assert "to go" not in shown
    assert "793  in line" in shown


def test_a_paused_daemon_promises_no_time_to_go() -> None:
    assert "about" not in screen(snap(**{**FULL, "gate": GateView(is_open=False, reason="credits")}))


def test_names_are_shown_as_they_are_and_not_as_markup() -> None:
    odd = FolderView(name="[bold]x[/bold]", input="/srv/[red]in", output="/o", state="watching")
    shown = screen(snap(folders=[odd]))
    assert "[bold]x[/bold]" in shown
    assert "/srv/[red]in" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_empty_start_can_be_drawn_at_any_width(width: int) -> None:
    shown = screen(snap(counts={}), width=width)
    assert "READY" in shown
    assert "not read yet" in shown


def test_calls_that_were_paid_twice_are_shown_and_so_is_what_is_in_doubt() -> None:
    spending = Spending(
        calls=2121,
        charged=Decimal(2009),
        doubtful=Decimal(112),
        in_doubt=112,
        under_way=8,
        under_way_credits=Decimal(8),
        doubles=112,
        repeats=1,
        refused=2,
    )
    found = snap(spending=spending)
    assert found["spending"] == {
        "calls": 2121,
        "charged": 2009,
        "doubtful": 112,
        "in_doubt": 112,
        "under_way": 8,
        "under_way_credits": 8,
        "refused": 2,
        "doubles": 112,
        "repeats": 1,
    }
    shown = screen(found)
    assert "Spent     2,009 credits for sure, 2,121 calls" in shown
    assert "104 more perhaps, for 104 calls that were never answered" in shown
    assert "112 calls were made again after one that was never answered" in shown
    assert "1 call was made for a picture that was paid before" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_call_that_is_under_way_is_not_said_to_be_without_an_answer() -> None:
    one = Decimal(1)
    spending = Spending(calls=2, charged=one, doubtful=one, in_doubt=1, under_way=1, under_way_credits=one)
    assert "never answered" not in screen(snap(spending=spending))


def test_where_nothing_was_doubled_nothing_is_said_of_it() -> None:
    shown = screen(snap(spending=Spending(calls=7, charged=Decimal(7))))
    assert "Spent     7 credits for sure, 7 calls" in shown
    assert "again" not in shown
    assert "perhaps" not in shown


def test_what_was_spent_is_not_told_by_one_who_did_not_count() -> None:
    assert snap()["spending"] is None
    assert "Spent" not in screen(snap())


def test_while_the_folders_are_looked_through_nothing_is_ready() -> None:
    head = headline(snap() | {"is_looking": True}, alive=Liveness.LIVE, clock=CLOCK)
    assert (head.word, head.sentence) == ("WAITING", "The folders are being looked through.")


@pytest.mark.parametrize("why", list(Why))
@pytest.mark.parametrize("kind", [".cr3", "", ".*", "hidden"])
def test_every_kind_that_is_passed_over_has_words(why: Why, kind: str) -> None:
    found = passed_over_view({"f": {Passed(why, kind): 1}, "g": {Passed(why, kind): 1}})
    assert found["count"] == 2
    text = passed_over_text(found)
    assert text.startswith("2 files are passed over: 2 ")
    assert "{" not in text
    assert REASONS[why]
