"""One line for each thing, in three spellings, and never the key."""

import array
import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rembg_watch.report.events import (
    Delivered,
    Event,
    FolderOffline,
    FolderOnline,
    GateOpened,
    GateShut,
    Held,
    Level,
    Mistake,
    Released,
    Stopping,
    Vanished,
    kind,
)
from rembg_watch.report.logs import Logs, OncePerCondition
from rembg_watch.report.sinks import HumanLines, Journal, JsonLines, choose_output, is_journal

AT = datetime(2026, 11, 22, 12, 0, 1, 5000, tzinfo=UTC)
KEY = "sk-live-0123456789"
DELIVERED = Delivered(
    folder="catalogue",
    source="schuhe/größe 1.jpg".encode(),
    job=7,
    target=b"shoes/a.webp",
    duration_s=2.34,
    charged=Decimal(1),
    credits_left=Decimal(1239),
)


@pytest.fixture(autouse=True)
def _on_helsinki_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def human(stream: io.StringIO, **options: Any) -> Logs:
    return Logs(HumanLines(stream), secrets=[KEY], wall=lambda: AT, **options)


def as_json(stream: io.StringIO, **options: Any) -> Logs:
    return Logs(JsonLines(stream), secrets=[KEY], wall=lambda: AT, **options)


def fail(words: str = "refused") -> BaseException:
    """An error as httpx would raise it: with a cause, and the key in its words."""
    try:
        try:
            raise OSError(f"connecting with x-api-key {KEY}")
        except OSError as cause:
            raise ValueError(f"{words}: https://x/?key={KEY}") from cause
    except ValueError as error:
        return error


# --- lines --------------------------------------------------------------------------------------


def test_a_person_reads_one_line_with_the_time_on_the_wall(stream: io.StringIO) -> None:
    human(stream)(DELIVERED)
    assert stream.getvalue() == (
        "2026-11-22 14:00:01+0200 info    catalogue/schuhe/größe 1.jpg delivered as shoes/a.webp in 2.3 s "
        "(1 credit, 1,239 credits left)\n"
    )


def test_moments_in_a_sentence_are_on_the_wall_for_people_and_in_utc_for_machines(stream: io.StringIO) -> None:
    told = GateShut(reason="credits", until=AT, look_at=AT, look_by="account")
    human(stream)(told)
    as_json(stream)(told)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("The account is read again at 2026-11-22 14:00.")
    assert json.loads(second)["message"].endswith("The account is read again at 2026-11-22 12:00 UTC.")


def test_a_collector_reads_the_sentence_and_the_facts(stream: io.StringIO) -> None:
    as_json(stream)(DELIVERED)
    line = json.loads(stream.getvalue())
    assert line.pop("message").startswith("catalogue/schuhe/größe 1.jpg delivered")
    assert line == {
        "at": "2026-11-22T12:00:01.005Z",
        "level": "info",
        "kind": "delivered",
        "folder": "catalogue",
        "source": "schuhe/größe 1.jpg",
        "job": 7,
        "target": "shoes/a.webp",
        "duration_s": 2.34,
        "charged": 1,
        "credits_left": 1239,
        "finding": None,
        "age_s": None,
        "answer_bytes": 0,
    }


def test_a_file_name_cannot_forge_a_line(stream: io.StringIO) -> None:
    human(stream)(Vanished(folder="a", source=b"x\n2026-11-22 error everything is lost", job=1))
    assert len(stream.getvalue().splitlines()) == 1


def test_colour_is_for_terminals(stream: io.StringIO) -> None:
    told = Held(folder="a", source=b"x", job=1, why="bad options")
    Logs(HumanLines(stream, colour=True), wall=lambda: AT)(told)
    Logs(HumanLines(stream), wall=lambda: AT)(told)
    coloured, plain = stream.getvalue().splitlines()
    assert "\x1b[33m" in coloured
    assert "\x1b" not in plain


def test_a_terminal_that_knows_only_ascii_still_shows_the_line() -> None:
    raw = io.BytesIO()
    Logs(HumanLines(io.TextIOWrapper(raw, encoding="ascii")), wall=lambda: AT)(DELIVERED)
    assert b"gr\\xf6\\xdfe 1.jpg" in raw.getvalue()


def test_a_reader_that_has_gone_away_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    pipe = os.fdopen(writing, "w")
    human(pipe)(DELIVERED)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_closed_stream_stops_nobody(stream: io.StringIO) -> None:
    stream.close()
    human(stream)(DELIVERED)


# --- levels -------------------------------------------------------------------------------------


def test_the_level_changes_at_once(stream: io.StringIO) -> None:
    logs = human(stream, level="warning")
    logs(DELIVERED)
    logs.logger.info("a note")
    assert stream.getvalue() == ""
    logs.set_level("info")
    logs(DELIVERED)
    logs.logger.info("a note")
    logs.logger.debug("a detail")
    assert len(stream.getvalue().splitlines()) == 2
    logs.set_level(Level.DEBUG)
    logs.logger.debug("a detail")
    assert stream.getvalue().endswith("debug   a detail\n")


def test_notes_carry_what_is_beside_them(stream: io.StringIO) -> None:
    human(stream).logger.warning("slow disk", path="/srv", took_s=3)
    assert stream.getvalue().endswith("warning slow disk path=/srv took_s=3\n")


# --- the key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [human, as_json], ids=["human", "json"])
def test_a_traceback_is_shown_without_the_key(make: Any, stream: io.StringIO) -> None:
    make(stream)(Mistake(where="the pool", error=fail(), job=3))
    told = stream.getvalue()
    assert "Traceback" in told
    assert "direct cause" in told
    assert KEY not in told
    assert "live" not in told


@pytest.mark.parametrize("make", [human, as_json], ids=["human", "json"])
def test_headers_urls_and_nested_values_are_shown_without_the_key(make: Any, stream: io.StringIO) -> None:
    make(stream).logger.error(
        f"refused {KEY}", headers={"x-api-key": KEY, "more": [(b"x-api-key", KEY.encode())]}, url=f"https://x/{KEY}"
    )
    assert "refused" in stream.getvalue()
    assert "live" not in stream.getvalue()


def test_everything_of_other_libraries_passes_the_redactor_too(stream: io.StringIO) -> None:
    with human(stream, level="debug"):
        logging.getLogger("somelib.http11").debug("send_request_headers %r", [(b"x-api-key", KEY.encode())])
        try:
            raise fail()
        except ValueError:
            logging.getLogger("somebody").exception("it failed with %s", KEY)
        logging.getLogger("somebody").warning("%d of %s", "no number")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"deprecated {KEY}", UserWarning, stacklevel=1)
    told = stream.getvalue()
    assert "somelib.http11: send_request_headers" in told
    assert "somebody: it failed with ***" in told
    assert "py.warnings:" in told
    assert "live" not in told


def test_other_libraries_are_quiet_unless_asked(stream: io.StringIO) -> None:
    with human(stream):
        logging.getLogger("httpx").info("HTTP Request: POST")
        logging.getLogger("httpx").warning("a warning")
    assert stream.getvalue().count("\n") == 1


def test_everything_is_given_back_as_it_was(stream: io.StringIO) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook, warnings.showwarning)
    with human(stream):
        assert root.handlers != before[0]
    assert (list(root.handlers), root.level, sys.excepthook, threading.excepthook, warnings.showwarning) == before


def test_a_thread_dies_with_its_words_in_the_log_and_without_the_key(stream: io.StringIO) -> None:
    def work() -> None:
        raise fail("lost")

    with human(stream):
        thread = threading.Thread(target=work, name="worker 3")
        thread.start()
        thread.join(timeout=10)
    assert "unforeseen error in thread worker 3: ValueError: lost" in stream.getvalue()
    assert "live" not in stream.getvalue()


def test_a_process_dies_without_the_key_on_its_stderr() -> None:
    program = (
        "from rembg_watch.report.logs import Logs\n"
        "from rembg_watch.report.sinks import JsonLines\n"
        f"with Logs(JsonLines(), secrets=['{KEY}']):\n"
        "    import sys\n"
        f"    sys.excepthook(*(lambda e: (type(e), e, None))(ValueError('bad {KEY}')))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert json.loads(ended.stderr)["error"] == "ValueError: bad ***"


def test_a_new_key_is_hidden_from_the_reload_on(stream: io.StringIO) -> None:
    logs = human(stream)
    logs.redactor.add("new-key-99")
    logs.logger.info("both", old=KEY, new="new-key-99")
    assert stream.getvalue().endswith("both old=*** new=***\n")


def test_many_threads_write_whole_lines(stream: io.StringIO) -> None:
    logs = as_json(stream)
    threads = [threading.Thread(target=lambda: [logs(DELIVERED) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len([json.loads(line) for line in stream.getvalue().splitlines()]) == 400


# --- journald -----------------------------------------------------------------------------------


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket that listens as journald does."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(5)
        yield path, listening


def received(listening: socket.socket) -> dict[str, str]:
    """One entry as journald would read it, out of the datagram or the sealed file that came with it."""
    size = array.array("i").itemsize
    data, rights, _, _ = listening.recvmsg(1 << 20, socket.CMSG_SPACE(size))
    for _, _, passed in rights:
        descriptor = array.array("i", passed[:size])[0]
        with os.fdopen(descriptor, "rb") as sealed:
            sealed.seek(0)
            data = sealed.read()
    return parse_entry(data)


def parse_entry(data: bytes) -> dict[str, str]:
    entry = {}
    while data:
        head, _, data = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        entry[name.decode()] = value.decode()
    return entry


def journal(path: str, fallback: io.StringIO | None = None) -> Logs:
    return Logs(Journal(path, fallback=fallback or io.StringIO()), secrets=[KEY], wall=lambda: AT)


def test_the_journal_gets_a_pictures_story_in_fields_of_its_own(journald: Any) -> None:
    journal(journald[0])(DELIVERED)
    entry = received(journald[1])
    assert entry.pop("MESSAGE").startswith("catalogue/schuhe/größe 1.jpg delivered")
    assert entry == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "rembg-watch",
        "REMBG_EVENT": "delivered",
        "REMBG_FOLDER": "catalogue",
        "REMBG_FILE": "schuhe/größe 1.jpg",
        "REMBG_TARGET": "shoes/a.webp",
        "REMBG_JOB": "7",
        "REMBG_CREDITS": "1",
        "REMBG_DURATION_S": "2.34",
    }


@pytest.mark.parametrize(
    ("event", "priority"),
    [
        (Mistake(where="x", error=ValueError()), "3"),
        (GateShut(reason="credits"), "4"),
        (DELIVERED, "6"),
    ],
    ids=["an error", "a warning", "news"],
)
def test_the_journal_gets_the_priority(journald: Any, event: Event, priority: str) -> None:
    journal(journald[0])(event)
    assert received(journald[1])["PRIORITY"] == priority


def test_a_traceback_is_one_entry_without_the_key(journald: Any) -> None:
    journal(journald[0])(Mistake(where="the pool", error=fail()))
    entry = received(journald[1])
    assert "Traceback" in entry["MESSAGE"]
    assert "live" not in str(entry)


def test_what_is_too_long_for_a_datagram_goes_as_a_sealed_file(journald: Any) -> None:
    journald[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    journal(journald[0]).logger.error("x" * 3_000_000)
    assert len(received(journald[1])["MESSAGE"]) == 3_000_000


def test_a_journal_that_is_gone_leaves_its_lines_on_stderr_with_their_priority(tmp_path: Path) -> None:
    stderr = io.StringIO()
    journal(str(tmp_path / "gone"), stderr)(Mistake(where="the pool", error=fail()))
    lines = stderr.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_the_journal_is_chosen_only_where_stderr_leads_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        here = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{here.st_dev}:{here.st_ino}")
        assert isinstance(choose_output(stream=stderr), Journal)
        assert isinstance(choose_output("human", stream=stderr), HumanLines)
        assert isinstance(choose_output("json", stream=stderr), JsonLines)
        monkeypatch.setenv("JOURNAL_STREAM", f"{here.st_dev}:{here.st_ino + 1}")
        assert isinstance(choose_output(stream=stderr), HumanLines)
        assert isinstance(choose_output("journal", stream=stderr), Journal)
        monkeypatch.delenv("JOURNAL_STREAM")
        assert isinstance(choose_output(stream=stderr), HumanLines)


def test_a_stream_without_a_file_is_no_journal(stream: io.StringIO) -> None:
    assert not is_journal(stream, "8:1")


# --- once ---------------------------------------------------------------------------------------


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now_s = 0.0
        self.reporter = OncePerCondition(self.events.append, clock=lambda: self.now_s, remind_after_s=3600)

    def __call__(self, *events: Event) -> list[str]:
        del self.events[:]
        for event in events:
            self.reporter(event)
        return [kind(event) for event in self.events]


@pytest.fixture
def told() -> Told:
    return Told()


AWAY = FolderOffline(folder="a", path=b"/srv", why="it does not exist")
BACK = FolderOnline(folder="a", path=b"/srv", away_s=9)


def test_a_condition_is_told_when_it_begins_and_when_it_ends(told: Told) -> None:
    assert told(AWAY, AWAY, AWAY, BACK, BACK) == ["folder_offline", "folder_online"]


def test_a_condition_that_comes_back_is_told_again(told: Told) -> None:
    assert told(AWAY, BACK, AWAY) == ["folder_offline", "folder_online", "folder_offline"]


def test_an_end_without_a_beginning_is_no_news(told: Told) -> None:
    assert told(BACK, GateOpened(reason="credits", shut_s=5)) == []


def test_the_same_pause_for_another_reason_is_news(told: Told) -> None:
    spent, again, key = (GateShut(reason=reason) for reason in ("credits", "credits", "key_refused"))
    assert told(spent, again, key, GateOpened(reason="key_refused", shut_s=60)) == [
        "gate_shut",
        "gate_shut",
        "gate_opened",
    ]


def test_a_later_end_of_the_same_pause_is_no_news(told: Told) -> None:
    assert told(GateShut(reason="credits", until=AT), GateShut(reason="credits", until=AT.replace(hour=20))) == [
        "gate_shut"
    ]


def test_conditions_of_two_places_are_two(told: Told) -> None:
    assert told(AWAY, replace(AWAY, path=b"/var"), BACK) == ["folder_offline", "folder_offline", "folder_online"]


def test_a_thousand_pictures_held_for_one_reason_are_one_line(told: Told) -> None:
    held = [Held(folder="a", source=str(n).encode(), job=n, why="bad options") for n in range(1000)]
    assert told(*held, Released(folder="a", count=1000)) == ["held", "released"]


def test_what_goes_on_for_long_is_told_again_now_and_then(told: Told) -> None:
    assert told(AWAY) == ["folder_offline"]
    told.now_s = 3599
    assert told(AWAY) == []
    told.now_s = 3600
    assert told(AWAY) == ["folder_offline"]
    told.now_s = 7199
    assert told(AWAY) == []


def test_single_events_are_always_told(told: Told) -> None:
    assert told(DELIVERED, DELIVERED, Stopping(in_flight=0, queued=0)) == ["delivered", "delivered", "stopping"]


def test_libraries_that_speak_of_themselves_are_heard_from_a_warning_on() -> None:
    stream = io.StringIO()
    with Logs(HumanLines(stream), level="debug"):
        logging.getLogger("httpcore.http11").debug("send_request_headers.started")
        logging.getLogger("PIL.PngImagePlugin").debug("STREAM")
        logging.getLogger("httpx").warning("something to know")
    assert "send_request_headers" not in stream.getvalue()
    assert "STREAM" not in stream.getvalue()
    assert "something to know" in stream.getvalue()
