import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from rembg_watch.account.credits import Billed, next_day_at
from rembg_watch.api.client import Client
from rembg_watch.cli.progress import summary
from rembg_watch.config import Settings, template
from rembg_watch.config.rules import is_away
from rembg_watch.daemon import Daemon, status, upkeep
from rembg_watch.daemon.assembly import pace_of as daemon_pace
from rembg_watch.daemon.once import Once
from rembg_watch.daemon.target_folders import TargetFolders, may_be_made
from rembg_watch.errors import ExitCode, LockedError
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import CallStart, State, Unsettled, move, with_content
from rembg_watch.ledger import Access, Turn, open_ledger
from rembg_watch.passed_over import Passed, Why
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.report.screen import headline
from rembg_watch.report.status import STATUS_NAME, Liveness, liveness, read_snapshot
from rembg_watch.report.words import WallClock
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, SetClock, Studio, Time, eventually


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


API = {"key": KEY, "url": "http://127.0.0.1/rmbg", "usage_url": "http://127.0.0.1/api/membership-usage"}


def settings(studio: Studio, *, key: str = KEY, **changes: Any) -> Settings:
    folder = {"name": "f", "input": studio.root / "in", "output": studio.root / "out"}
    values: dict[str, Any] = {
        "state_dir": studio.root / "state",
        "api": API | {"key": key},
        "watch": {"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 0.2},
        "output": {"free_space_reserve_mb": 0},
        "folders": [folder],
    }
    return Settings(**(values | changes))


@contextmanager
def running(studio: Studio, made: Settings, told: list[Event] | None = None, **options: Any) -> Iterator[Daemon]:
    report: Callable[[Event], None] = told.append if told is not None else events.nobody
    with Daemon(made, report=report, transport=studio.sandbox.transport(), **options) as daemon:
        yield daemon


def test_once_does_what_is_there_and_says_that_all_is_done(studio: Studio) -> None:
    studio.drop("a/b.jpg")
    studio.drop("c.png")
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.OK
    assert set(studio.outputs()) == {"a/b.webp", "c.webp"}


def listed(made: Settings) -> dict[bytes, str]:
    with open_ledger(made.state_dir, Access.READ) as ledger:
        return {one.source: one.reason for _, one in ledger.unsettled()}


def test_after_a_run_summary_snapshot_and_list_agree_and_give_the_true_reason(studio: Studio) -> None:
    """Lists that were written while the last file settled said of delivered pictures that they were still written."""
    whole = studio.drop("a.jpg").read_bytes()
    (studio.root / "in" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (studio.root / "in" / "letter.jpg").write_bytes(b"GIF89a" + b"\0" * 99)
    (studio.root / "in" / "raw.cr3").write_bytes(b"x")
    made = settings(studio, watch={"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 300})
    with running(studio, made) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
        said, found = summary(daemon), daemon.snapshot()
    assert "1 delivered" in said
    assert "1 failed" in said
    assert "1 not whole yet" in said
    assert "1 file is passed over: 1 .cr3" in said
    (source, reason), *others = listed(made).items()
    assert (source, others) == (b"half.jpg", [])
    assert reason.startswith("its end is missing")
    last = read_snapshot(made.state_dir / STATUS_NAME)
    assert last is not None
    for one in ("jobs", "unsettled", "passed_over"):
        assert last[one] == found[one], one
    assert found["unsettled"] == 1
    with open_ledger(made.state_dir, Access.READ) as ledger:
        assert ledger.passed_over("f").counts == {Passed(Why.TYPE, ".cr3"): 1}


def test_the_daemon_writes_its_lists_a_last_time_too(studio: Studio) -> None:
    made = settings(studio, watch={"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 300})
    with running(studio, made) as daemon:
        studio.drop("a.jpg")
        eventually(lambda: studio.outputs())
        (studio.root / "in" / "half.jpg").write_bytes(b"\xff\xd8\xff")
        eventually(lambda: daemon.parts.watcher.unsettled == 1)
    last = read_snapshot(made.state_dir / STATUS_NAME)
    assert last is not None
    assert (last["unsettled"], last["jobs"]["done"], set(listed(made))) == (1, 1, {b"half.jpg"})


def test_a_run_that_was_stopped_before_it_had_looked_is_not_done(studio: Studio) -> None:
    with running(studio, settings(studio)) as daemon:
        daemon.parts.watcher.stop()
        daemon.parts.watcher.change([daemon.settings.folders[0].folder()], daemon_pace(daemon.settings))
        daemon.stopping.set()
        assert daemon.run_once() is ExitCode.WAITING


def test_a_folder_that_is_not_watched_any_more_is_on_no_list(studio: Studio) -> None:
    made = settings(studio)
    with open_ledger(made.state_dir) as ledger:
        one = Unsettled(source=b"x.jpg", size_bytes=1, since_at=datetime.now(UTC), reason="it is empty")
        ledger.set_unsettled("formerly", [one])
    with running(studio, made):
        assert listed(made) == {}


def test_a_second_run_makes_no_call(studio: Studio) -> None:
    studio.drop("a.jpg")
    for _ in range(2):
        with running(studio, settings(studio)) as daemon:
            assert daemon.run_once() is ExitCode.OK
    assert studio.sandbox.billed == 1


@pytest.mark.parametrize(
    ("sandbox", "key", "code"),
    [
        ({"credits": 0}, KEY, ExitCode.WAITING),
        ({"faults": ["daily"]}, KEY, ExitCode.WAITING),
        ({"faults": ["status:status=400"]}, KEY, ExitCode.SOME_FAILED),
        ({}, "wrong-key", ExitCode.KEY_REFUSED),
    ],
    ids=["no credits", "a daily limit", "a refused picture", "a refused key"],
)
def test_the_exit_code_says_what_came_of_it(tmp_path: Path, sandbox: dict[str, Any], key: str, code: ExitCode) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", **sandbox))
    studio.drop("a.jpg")
    with running(studio, settings(studio, key=key)) as daemon:
        assert daemon.run_once() is code
    assert studio.outputs() == {}


def test_text_named_jpg_and_empty_files_cause_no_call_and_are_listed(studio: Studio) -> None:
    (studio.root / "in/notes.jpg").write_text("not a picture")
    (studio.root / "in/empty.png").touch()
    with running(studio, settings(studio)) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.FAILED] >= 1)
        assert not [record for record in studio.sandbox.requests if record.path == "/rmbg"]
        eventually(lambda: daemon.parts.ledger.unsettled_count() + daemon.parts.ledger.counts()[State.FAILED] == 2)


def test_pictures_dropped_while_it_runs_are_found(studio: Studio) -> None:
    with running(studio, settings(studio)) as daemon:
        studio.drop("late/a.jpg")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
    assert list(studio.outputs()) == ["late/a.webp"]


def test_the_processes_that_verify_end_when_nobody_asks_and_with_the_daemon(studio: Studio) -> None:
    with running(studio, settings(studio)) as daemon:
        assert daemon.parts.decoders.pids == frozenset()
        studio.drop("a.jpg")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
        first = daemon.parts.decoders.pids
        daemon.parts.decoders._idle_s = 0.0
        daemon.tick()
        assert (len(first), daemon.parts.decoders.pids) == (1, frozenset())
        studio.drop("b.png")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 2)
        second = daemon.parts.decoders.pids
        assert second
    assert [pid for pid in first | second if Path(f"/proc/{pid}").exists()] == []


def test_how_things_stand_is_written_for_whoever_looks(studio: Studio) -> None:
    studio.drop("a.jpg")
    with running(studio, settings(studio)) as daemon:
        daemon.run_once()
    told = read_snapshot(studio.root / "state" / STATUS_NAME)
    assert told is not None
    assert told["jobs"]["done"] == 1
    assert told["gate"].pop("open") is True
    assert not any(told["gate"].values())
    assert told["pid"] == os.getpid()
    assert KEY not in (studio.root / "state" / STATUS_NAME).read_text()


def test_a_clock_that_is_set_forward_does_not_make_a_quiet_daemon_look_silent(studio: Studio) -> None:
    clock, path = SetClock(), studio.root / "state" / STATUS_NAME
    with running(studio, settings(studio), clocks=clock.clocks()) as daemon:
        daemon.run_once()
        daemon.status.write()
        clock.ahead = timedelta(hours=2)
        daemon.status.write()
        told = read_snapshot(path)
        assert told is not None
        assert liveness(told, now=daemon.clocks.now()) is Liveness.LIVE


def test_a_second_daemon_on_the_same_state_is_told_and_leaves_the_first_alone(studio: Studio) -> None:
    with running(studio, settings(studio)) as daemon:
        with pytest.raises(LockedError, match=str(os.getpid())):
            Daemon(settings(studio), transport=studio.sandbox.transport()).__enter__()
        studio.drop("a.jpg")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)


def test_a_start_that_fails_lets_go_of_its_locks(studio: Studio) -> None:
    made = settings(studio)
    made.state_dir.mkdir()
    (made.state_dir / "ledger.db").write_bytes(b"not a ledger" * 100)
    with pytest.raises(Exception, match="ledger"):
        Daemon(made, transport=studio.sandbox.transport()).__enter__()
    (made.state_dir / "ledger.db").unlink()
    with running(studio, made) as daemon:
        assert daemon.run_once() is ExitCode.OK


def write(path: Path, studio: Studio, *changes: tuple[str, str]) -> None:
    text = template(input=studio.root / "in", output=studio.root / "out", name="f", state_dir=studio.root / "state")
    for old, new in (
        ("#settle_s = 3", "settle_s = 0.05"),
        ("#free_space_reserve_mb = 256", "free_space_reserve_mb = 0"),
    ):
        text = text.replace(old, new)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


PNG = ('#format = "webp"', 'format = "png"')


def test_a_reload_puts_new_options_into_force_and_a_wrong_one_changes_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMBG_WATCH_API__KEY", KEY)
    config, told = studio.root / "c.toml", list[Event]()
    write(config, studio, PNG)
    with running(studio, settings(studio), told, reload_from=config) as daemon:
        config.write_text(config.read_text() + "\n[nonsense]\n")
        daemon.reload()
        assert daemon.settings.folders[0].options.format == "webp"
        assert [event for event in told if isinstance(event, events.ReloadRefused)]
        write(config, studio, PNG)
        daemon.reload()
        studio.drop("a.jpg")
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
    assert list(studio.outputs()) == ["a.png"]


def test_a_folder_that_a_reload_brings_has_no_turn_before_its_recipe(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings used to be poured into the parts one after the other, and the feeder met a folder without a recipe."""
    monkeypatch.setenv("REMBG_WATCH_API__KEY", KEY)
    config, turns = studio.root / "c.toml", list[str]()
    write(config, studio)
    (studio.root / "new").mkdir()
    folder = f'\n[[folders]]\nname = "new"\ninput = "{studio.root}/new"\noutput = "{studio.root}/new-out"\n'

    def look_in_the_middle(_settings: Settings) -> None:
        turns.extend(turn.folder for turn in daemon.parts.pool.feeder.turns())

    with running(studio, settings(studio), reload_from=config, on_settings=look_in_the_middle) as daemon:
        eventually(lambda: "f" not in daemon.parts.watcher.shut)
        config.write_text(config.read_text() + folder)
        daemon.reload()
        assert turns == ["f"]  # a new folder is looked at before anything of it is sent
        eventually(lambda: [one.folder for one in daemon.parts.pool.feeder.turns()] == ["f", "new"])


def test_another_key_is_not_made_to_wait_for_what_the_last_one_met(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", faults=["daily:count=1"]))
    studio.drop("a.jpg")
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.WAITING  # the same key still waits for its hour
    studio.sandbox.key = "a-new-key"
    with running(studio, settings(studio, key="a-new-key")) as daemon:
        assert daemon.run_once() is ExitCode.OK


def test_a_server_that_charges_for_its_failures_is_not_asked_again_and_again(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", faults=["status:status=500,billed=true"]))
    studio.drop("a.jpg")
    told: list[Event] = []
    with running(studio, settings(studio), told, clocks=Time(60).clocks()) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.IN_DOUBT] == 1)
        spent = daemon.parts.ledger.spending()
    assert studio.sandbox.billed <= 3
    assert spent.doubtful >= studio.sandbox.billed - 1
    assert len([event for event in told if isinstance(event, events.FailuresCost)]) == 1


def test_a_server_that_charges_nothing_for_its_failures_puts_no_picture_aside(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", faults=["status:status=500,count=7"]))
    for number in range(3):
        studio.drop(f"{number}.png", (number, 2, 3))
    with running(studio, settings(studio), clocks=Time(60).clocks()) as daemon:
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 3)
        assert daemon.parts.ledger.spending().doubtful == 0
    assert studio.sandbox.billed == 3


def test_once_ends_where_the_api_refuses_everything_as_too_quick_and_loses_nothing(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", faults=["too_quick"]))
    studio.drop("a.jpg")
    told: list[Event] = []
    clocks = Time(60).clocks()  # a thread that waits for its turn on a busy machine must not seem to wait for minutes
    began = clocks.now()
    with running(studio, settings(studio), told, clocks=clocks) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
        assert clocks.now() - began > timedelta(minutes=10)
    assert any(isinstance(event, events.GateShut) and event.level is events.Level.WARNING for event in told)
    studio.sandbox.clear_faults()
    with running(studio, settings(studio)) as daemon:
        assert daemon.run_once() is ExitCode.OK
    assert studio.sandbox.billed == 1


def left_in_mid_call(studio: Studio, made: Settings, source: Path) -> None:
    """Leave the ledger as a crash leaves it while a call is under way."""
    with open_ledger(made.state_dir) as ledger:
        ledger.add("f", [(source.name.encode(), version_of(source.stat()))], datetime.now(UTC))
        (job,) = ledger.claim(1, at=datetime.now(UTC), run_id="crashed", turns=[Turn("f")])
        sending = move(with_content(job, "what was sent"), State.SENDING, at=datetime.now(UTC))
        ledger.record(sending, call=CallStart(Decimal(1)))


@pytest.mark.parametrize("is_charged", [True, False])
def test_what_the_api_charges_at_the_end_of_its_work_is_seen_after_a_crash(studio: Studio, *, is_charged: bool) -> None:
    """The counters are asked again when the call must be over: at the start, it may be under way at the API."""
    made, told = settings(studio, api=API | {"timeout_s": 5}), []
    with running(studio, made) as daemon:
        daemon.parts.governor.read_account()
    left_in_mid_call(studio, made, studio.drop("a.jpg"))
    with running(studio, made, told, clocks=Time(5).clocks()) as daemon:
        eventually(lambda: any(isinstance(event, events.DoubtsAsked) for event in told))
        assert (
            "a crash cut off"
            in headline(daemon.snapshot(), alive=Liveness.LIVE, clock=WallClock(datetime.now(UTC))).sentence
        )
        if is_charged:
            with Client(KEY, transport=studio.sandbox.transport()) as before_the_crash:
                before_the_crash.remove_background(studio.root / "in" / "a.jpg")
        assert daemon.run_once() is ExitCode.OK
        spent = daemon.parts.ledger.spending()
    (settled,) = (event for event in told if isinstance(event, events.DoubtsSettled))
    assert settled.billed is (Billed.ALL if is_charged else Billed.NONE)
    assert (spent.charged, spent.doubtful) == (studio.sandbox.billed, 0)


def test_a_daily_budget_that_was_raised_counts_from_the_next_start_on(studio: Studio) -> None:
    for number in range(3):
        studio.drop(f"{number}.png", (number, 2, 3))
    for budget, sent, code in ((1, 1, ExitCode.WAITING), (1, 1, ExitCode.WAITING), (3, 3, ExitCode.OK)):
        with running(studio, settings(studio, credits={"daily_budget": budget})) as daemon:
            assert daemon.run_once() is code
        assert studio.sandbox.billed == sent


def budgeted(studio: Studio, **budgets: int) -> list[dict[str, Any]]:
    """Make a folder for each budget, with three pictures of its own in each."""
    folders = []
    for number, (name, budget) in enumerate(budgets.items()):
        for kind in ("in", "out"):
            (studio.root / name / kind).mkdir(parents=True)
        for other in range(3):
            Image.new("RGB", (40, 30), (number, other, 9)).save(studio.root / name / "in" / f"{other}.png")
        paths = {"input": studio.root / name / "in", "output": studio.root / name / "out"}
        folders.append({"name": name, "daily_budget": budget, **paths})
    return folders


@pytest.mark.parametrize(
    ("budgets", "sent", "code"),
    [
        ({"a": 2}, 2, ExitCode.WAITING),
        ({"a": 1, "b": 2}, 3, ExitCode.WAITING),
        ({"a": 1, "b": 3}, 4, ExitCode.WAITING),
        ({"a": 1, "b": 0}, 4, ExitCode.WAITING),
        ({"a": 3, "b": 3}, 6, ExitCode.OK),
    ],
    ids=["one folder", "both spent", "one has enough", "one has none of its own", "both have enough"],
)
def test_once_ends_when_the_folders_have_spent_their_daily_budgets(
    studio: Studio, budgets: dict[str, int], sent: int, code: ExitCode
) -> None:
    made = settings(studio, folders=budgeted(studio, **budgets))
    for _ in range(2):  # the second finds them spent
        began_s = time.monotonic()
        with running(studio, made) as daemon:
            assert daemon.run_once() is code
        assert time.monotonic() - began_s < 20
        assert studio.sandbox.billed == sent


def test_a_spent_daily_budget_of_a_folder_is_said_wherever_one_looks(studio: Studio) -> None:
    with running(studio, settings(studio, folders=budgeted(studio, a=1, b=3))) as daemon:
        daemon.run_once()
        told = daemon.snapshot()
        midnight = next_day_at(daemon.clocks.now())
        words = "a: its daily budget of 1 credit is spent, until"
        assert (
            status.sentence(daemon.parts, told) == f"waiting: 2 pictures in line; {words} {midnight:%Y-%m-%d} 00:00 UTC"
        )
        assert f"2 wait: {words}" in summary(daemon)
    assert (told["limiting"], told["eta_s"], told["gate"]["open"]) == ("folder_budget", None, True)
    spent, other = told["folders"]
    assert (spent["state"], spent["waiting"]) == ("spent", 2)
    assert spent["until"] == f"{midnight:%Y-%m-%d}T00:00:00Z"
    assert (other["state"], other["waiting"], other["until"]) == ("spent", 0, spent["until"])


def test_an_output_that_takes_nothing_is_said_wherever_one_looks(studio: Studio) -> None:
    with running(studio, settings(studio)) as daemon:
        (studio.root / "out").rename(studio.root / "elsewhere")  # a trial file may lie in it
        studio.drop("a.jpg")
        eventually(lambda: daemon.snapshot()["folders"][0]["waiting"] and daemon.parts.ports.outputs.blocked)
        eventually(lambda: not len(daemon.parts.under_way))
        told = daemon.snapshot()
        assert "waiting: 1 picture in line; f: its output cannot be written: " in status.sentence(daemon.parts, told)
    assert (told["limiting"], told["eta_s"]) == ("output", None)
    [folder] = told["folders"]
    assert (folder["state"], folder["waiting"], folder["until"]) == ("blocked", 1, None)
    assert folder["since"] is not None


@pytest.mark.parametrize(
    ("queued", "payable", "rooms", "is_so"),
    [
        ({}, None, {}, True),
        ({"a": 9, "b": 9}, 18, {"a": None, "b": 9}, True),
        ({"a": 9, "b": 9}, 17, {}, False),
        ({"a": 9}, None, {"a": 8}, False),
        ({"a": 9}, 0, {}, False),
    ],
    ids=["nothing in line", "just enough", "one credit short", "a budget one short", "nothing left"],
)
def test_whether_credits_and_budgets_last_for_all_that_is_in_line(
    queued: dict[str, int], payable: int | None, rooms: dict[str, int | None], is_so: bool
) -> None:
    assert status.is_enough(queued, payable=payable, rooms=rooms) is is_so


class Choosy(httpx.BaseTransport):
    """The sandbox, but for one format that it takes no more: what no client can know before."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.inner = sandbox.transport()
        self.refused = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/rmbg" and b"\r\n\r\nwebp\r\n" in request.read():
            self.refused += 1
            words = "Invalid format 'webp'. Allowed formats: PNG, JPEG, WEBP, BMP"
            return httpx.Response(400, json={"error": words, "status": 400})
        return self.inner.handle_request(request)


def test_a_clock_that_is_a_year_ahead_lets_nothing_be_forgotten(studio: Studio) -> None:
    """What it forgets would be paid for again. The account says which period it is in: that one must not be over."""
    studio.drop("a.jpg")
    studio.drop("stays.png")
    clock = SetClock()
    with running(studio, settings(studio), clocks=clock.clocks()) as daemon:
        assert daemon.run_once() is ExitCode.OK
    (studio.root / "in/a.jpg").unlink()
    with running(studio, settings(studio), clocks=clock.clocks()) as daemon:
        eventually(lambda: daemon.parts.ledger.find("f", b"a.jpg") is None)
    clock.ahead = timedelta(days=400)
    with running(studio, settings(studio), clocks=clock.clocks()) as daemon:
        upkeep.keep_up(daemon.parts)
        daemon.parts.governor.read_account()
        upkeep.keep_up(daemon.parts)
        assert daemon.parts.ledger.counts()[State.DONE] == 2
        studio.sandbox.shift_clock(seconds=400 * 86_400)
        daemon.parts.governor.read_account()
        upkeep.keep_up(daemon.parts)
        assert daemon.parts.ledger.counts()[State.DONE] == 1


def test_options_that_the_api_refuses_hold_the_folder_until_they_change(studio: Studio) -> None:
    for number in range(5):
        studio.drop(f"{number}.png", (number, 2, 3))
    choosy = Choosy(studio.sandbox)
    with Daemon(settings(studio), transport=choosy) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
        counts = daemon.parts.ledger.counts()
        assert counts[State.FAILED] == 0
        assert counts[State.HELD] >= 1
    assert 1 <= choosy.refused <= 5
    folder = {"name": "f", "input": studio.root / "in", "output": studio.root / "out"}
    with Daemon(settings(studio, folders=[{**folder, "options": {"format": "png"}}]), transport=choosy) as daemon:
        assert daemon.run_once() is ExitCode.OK
    assert len(studio.outputs()) == 5


def missing_targets(made: Settings, **tables: Path) -> list[Path]:
    """Name the folders that are missing and may be made."""
    wanted = [path for folder in made.folders for path in (folder.output, folder.done, folder.failed)]
    return [path for path in wanted if path is not None and is_away(path) and may_be_made(path, **tables)]


def test_missing_output_folders_are_made_but_not_below_a_share_that_is_away(studio: Studio, tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    share, local = tmp_path / "nas", tmp_path / "local"
    share.mkdir()
    fstab.write_text(f"# shares\nnas:/x {share} nfs defaults 0 0\n")
    folder = {"name": "f", "input": studio.root / "in"}
    made = settings(studio, folders=[{**folder, "output": share / "out", "failed": local / "failed"}])
    assert missing_targets(made, fstab=fstab) == [local / "failed"]
    assert missing_targets(made, fstab=tmp_path / "none") == [share / "out", local / "failed"]


def fstab_line(point: Path, rest: str) -> bytes:
    escaped = re.sub(rb"[\s#\\]", lambda odd: b"\\%03o" % odd[0][0], os.fsencode(point))
    return b"nas:/x\t" + escaped + os.fsencode(rest) + b"\n"


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        pytest.param("nas", " nfs defaults 0 0", id="plain"),
        pytest.param("Studio NAS", " nfs defaults 0 0", id="a space"),
        pytest.param("Studio\tNAS", " nfs defaults 0 0", id="a tab"),
        pytest.param("back\\slash", " cifs defaults 0 0", id="a backslash"),
        pytest.param("line\nfeed", " nfs defaults 0 0", id="a line feed"),
        pytest.param("carriage\rreturn", " nfs defaults 0 0", id="a carriage return"),
        pytest.param("#1", " nfs defaults 0 0", id="a hash"),
        pytest.param(os.fsdecode(b"caf\xe9"), " nfs defaults 0 0", id="not UTF-8"),
        pytest.param("nas", "/ nfs defaults 0 0", id="a trailing slash"),
        pytest.param("nas", "/../nas/. nfs defaults 0 0", id="a way round"),
        pytest.param("nas", " nfs", id="no options"),
        pytest.param("nas", "", id="no kind"),
        pytest.param("nas", " none bind 0 0", id="a bind"),
        pytest.param("stick", " vfat noauto,user 0 0", id="by hand"),
        pytest.param("nas", " nfs noauto,x-systemd.automount 0 0", id="on demand"),
        pytest.param("phone", " fuse.sshfs _netdev 0 0", id="a program's"),
    ],
)
@pytest.mark.parametrize("way", ["straight", "through a link", "through a link that leads nowhere"])
def test_no_folder_is_made_below_a_mount_point_of_fstab_that_is_empty(
    studio: Studio, tmp_path: Path, name: str, rest: str, way: str
) -> None:
    point = tmp_path / name
    point.mkdir()
    (tmp_path / "fstab").write_bytes(b"# shares\n\n  # two\n" + fstab_line(point, rest) + b"UUID=1 none swap sw\n")
    output = point / "out/day"
    if way != "straight":
        output = tmp_path / "link"
        output.symlink_to(point / "out" if way.endswith("nowhere") else point)
        output /= "day"
    folder = {"name": "f", "input": studio.root / "in", "output": output, "failed": tmp_path / "nas2/failed"}
    made = settings(studio, folders=[folder])
    assert missing_targets(made, fstab=tmp_path / "fstab") == [tmp_path / "nas2/failed"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(["{in_local} 8:17 / rw - ext4"], id="a disk"),
        pytest.param(["{in_local} 0:50 / rw - nfs4"], id="a share"),
        pytest.param(["{in_local} 8:1 /elsewhere rw - ext4"], id="a bind"),
        pytest.param(["{in_local} 0:49 / rw - autofs", "{on_it} 0:50 / rw - nfs4"], id="on demand"),
        pytest.param(["{in_local} 8:1 {point} rw - ext4", "{on_it} 0:50 / rw - nfs4"], id="over a sandbox's bind"),
    ],
)
def test_below_a_share_that_is_mounted_folders_are_made(studio: Studio, tmp_path: Path, rows: list[str]) -> None:
    assert awaited_with(studio, tmp_path, rows) == []


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="nothing"),
        pytest.param(["{in_local} 0:49 / rw - autofs"], id="an automount that nobody entered"),
        pytest.param(["{in_local} 8:1 {point} rw - ext4"], id="a sandbox's bind of the bare folder"),
        pytest.param(["{in_local} 0:50 / rw - nfs4", "30 22 8:33 / {above} rw - ext4"], id="covered by another disk"),
    ],
)
def test_what_only_looks_like_the_share_is_not_taken_for_it(studio: Studio, tmp_path: Path, rows: list[str]) -> None:
    assert awaited_with(studio, tmp_path, rows) == [tmp_path / "nas/out"]


def awaited_with(studio: Studio, tmp_path: Path, rows: list[str]) -> list[Path]:
    """Say which outputs are not made while the kernel's table has *rows*."""
    point = tmp_path / "nas"
    point.mkdir()
    (tmp_path / "fstab").write_text(f"nas:/x {point} nfs nofail\n")
    (tmp_path / "self").mkdir()
    table = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw"]
    for number, row in enumerate(rows, 40):
        words = row.format(in_local="22", on_it=number - 1, point=point, above=tmp_path).split()
        if len(words) == 6:
            parent, device, root, *rest = words
            words = [str(number), parent, device, root, str(point), *rest]
        table.append(" ".join([*words, "x", "rw"]))
    (tmp_path / "self/mountinfo").write_text("\n".join(table) + "\n")
    made = settings(
        studio, folders=[{"name": "f", "input": studio.root / "in", "output": point / "out", "failed": tmp_path / "f"}]
    )
    wanted = missing_targets(made, proc=tmp_path, fstab=tmp_path / "fstab")
    return [path for path in (point / "out", tmp_path / "f") if path not in wanted]


def test_an_output_that_must_not_be_looked_at_is_not_made_and_stops_nothing(studio: Studio, tmp_path: Path) -> None:
    endless = tmp_path / ("x" * 300)
    made = settings(studio, folders=[{"name": "f", "input": studio.root / "in", "output": endless}])
    assert missing_targets(made, fstab=tmp_path / "none") == []


@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "unreadable"])
def test_without_fstab_every_folder_is_made(studio: Studio, tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "fstab").mkdir()
    made = settings(studio, folders=[{"name": "f", "input": studio.root / "in", "output": tmp_path / "nas/out"}])
    assert missing_targets(made, fstab=tmp_path / "fstab") == [tmp_path / "nas/out"]


class Nas:
    """A share that fstab knows, which comes and goes; what the kernel says of it is written by the test."""

    def __init__(self, root: Path) -> None:
        self.point, self.tables = root / "nas", {"proc": root, "fstab": root / "fstab"}
        self.point.mkdir()
        (root / "self").mkdir()
        self.tables["fstab"].write_text(f"nas:/x {self.point} nfs nofail 0 0\n")
        self.unmount()

    def mount(self) -> None:
        self._write(f"40 22 0:50 / {self.point} rw - nfs4 nas:/x rw\n")

    def unmount(self) -> None:
        self._write("")

    def _write(self, rows: str) -> None:
        local = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        (self.tables["proc"] / "self/mountinfo").write_text(local + rows)


def below(studio: Studio, place: Path) -> Settings:
    return settings(studio, folders=[{"name": "f", "input": studio.root / "in", "output": place}])


@pytest.mark.parametrize("is_in_fstab", [True, False], ids=["known to fstab", "mounted by hand"])
def test_an_output_on_a_share_that_went_away_is_not_made_on_the_disk_underneath(
    studio: Studio, tmp_path: Path, *, is_in_fstab: bool
) -> None:
    nas = Nas(tmp_path)
    if not is_in_fstab:
        nas.tables["fstab"].write_text("")
    nas.mount()
    nas.point.rmdir()
    nas.point.touch()  # it takes no folder now, as one that is read-only
    targets = TargetFolders(events.nobody, **nas.tables)
    targets.make(below(studio, nas.point / "out"))
    nas.unmount()
    nas.point.unlink()
    nas.point.mkdir()
    targets.make_missing()
    assert list(nas.point.iterdir()) == []
    nas.mount()
    targets.make_missing()
    assert (nas.point / "out").is_dir()


def test_an_output_on_a_share_that_was_away_at_the_start_is_made_when_the_share_comes(
    studio: Studio, tmp_path: Path
) -> None:
    nas = Nas(tmp_path)
    targets = TargetFolders(events.nobody, **nas.tables)
    targets.make(below(studio, nas.point / "out"))
    assert list(nas.point.iterdir()) == []
    nas.mount()
    targets.try_out(nas.point / "out")
    assert (nas.point / "out").is_dir()


def two_folders(studio: Studio, **changes: Any) -> Settings:
    """A second folder whose output cannot be made: a file stands where the share would be mounted."""
    (studio.root / "other").mkdir()
    (studio.root / "share").touch()
    sealed = {"name": "sealed", "input": studio.root / "other", "output": studio.root / "share/out"} | changes
    return settings(studio, folders=[{"name": "f", "input": studio.root / "in", "output": studio.root / "out"}, sealed])


def test_an_output_that_cannot_be_written_at_the_start_is_told_and_waited_for_while_others_have_their_service(
    studio: Studio,
) -> None:
    studio.drop("a.png")
    made, told = two_folders(studio), list[Event]()
    studio.drop("../other/b.png", (1, 2, 3))
    with running(studio, made, told, clocks=studio.time.clocks()) as daemon:
        eventually(lambda: daemon.parts.ledger.counts("f")[State.DONE] == 1 and daemon.parts.ports.outputs.blocked)
        eventually(lambda: daemon.parts.ledger.counts("sealed")[State.QUEUED] == 1)
        once = Once(daemon.parts)
        assert not once.is_done()

        def is_done_after_a_minute() -> bool:
            studio.time.pass_s(61)
            return once.is_done()

        eventually(is_done_after_a_minute)  # not while a scan is under way
        assert once.verdict() is ExitCode.WAITING
        assert studio.sandbox.billed == 1
        assert [event.folder for event in told if isinstance(event, events.OutputBlocked)][:1] == ["sealed"]
        (studio.root / "share").unlink()
        eventually(lambda: (studio.root / "share/out/b.webp").exists())
    assert studio.sandbox.billed == 2
    assert any(isinstance(event, events.OutputFree) for event in told)


def test_where_originals_cannot_go_they_stay_and_go_there_later(studio: Studio) -> None:
    made, told = (
        two_folders(studio, output=studio.root / "done/out", after="move", done=studio.root / "share/done"),
        list[Event](),
    )
    studio.drop("../other/b.png")
    with running(studio, made, told) as daemon:
        [stay] = [event for event in told if isinstance(event, events.OriginalsStay)]
        assert (stay.folder, stay.place, stay.path) == ("sealed", "done", os.fsencode(studio.root / "share/done"))
        eventually(lambda: daemon.parts.ledger.counts()[State.DONE] == 1)
        eventually(lambda: any(isinstance(event, events.NotDisposed) for event in told))
        assert (studio.root / "other/b.png").exists()
        (studio.root / "share").unlink()
        upkeep.begin(daemon.parts)
        eventually((studio.root / "share/done/b.png").exists)
    assert not (studio.root / "other/b.png").exists()


def test_once_leaves_work_waiting_where_an_input_is_not_there(studio: Studio) -> None:
    studio.drop("a.png")
    made = two_folders(studio, input=studio.root / "nowhere")
    with running(studio, made) as daemon:
        assert daemon.run_once() is ExitCode.WAITING
    assert len(studio.outputs()) == 1


def test_once_is_not_done_while_a_job_is_claimed_that_does_not_count_as_under_way_yet(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path)
    studio.drop("a.png")
    with studio.live() as life:
        once = Once(life.parts)
        life.find()
        assert not once.is_done()
        assert life.claim()
        assert not once.is_done()
