"""The process that sends: it tells everybody, says of each way what came of it, knows no key, and hangs nobody."""

import ast
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rembg_watch.notify import sender, sending
from rembg_watch.notify.sending import Sender, SenderError
from rembg_watch.notify.values import Kind, Notice, Urgency
from tests.notify.people import People

NOTICE = Notice(
    number=1,
    keys=("k",),
    kind=Kind.FAILURE,
    title="rembg-watch on studio: somebody is needed",
    lines=("A <b>line</b> & *another*.", "ß ✗"),
    urgency=Urgency.PERSON,
    made_at=datetime(2026, 11, 28, 12, tzinfo=UTC),
)


def test_everybody_is_told_and_each_way_is_named_without_its_secret(people: People, tmp_path: Path) -> None:
    path = people.write_urls(tmp_path / "urls", "nonsense://s3cret", "json://127.0.0.1:1/s3cret", people.url())
    with Sender(path) as sends:
        ways = list(sends.send(NOTICE))
    assert [(way.shown, way.why) for way in ways] == [
        (f"json://127.0.0.1:{people.port} (line 2)", None),
        ("nonsense://... (line 4)", "Apprise does not understand it"),
        ("json://127.0.0.1:1 (line 5)", "it cannot be reached"),
    ]  # the same URL twice is one way
    (told,) = people.told
    assert (told["title"], told["message"], told["type"]) == (NOTICE.title, "\n".join(NOTICE.lines), "failure")
    assert "s3cret" not in repr(ways)


def test_who_has_it_is_not_told_again(people: People, tmp_path: Path) -> None:
    path = people.write_urls(tmp_path / "urls", people.url("another"))
    with Sender(path) as sends:
        first, second = (way.url for way in sends.send(NOTICE))
        people.told.clear()
        partly = Notice(**{**{f: getattr(NOTICE, f) for f in NOTICE.__slots__}, "arrived": (first,)})
        assert [(way.url, way.why) for way in sends.send(partly)] == [(first, None), (second, None)]
    assert [one["path"] for one in people.told] == ["/another"]


def test_a_service_that_refuses_is_told_by_its_status(people: People, tmp_path: Path) -> None:
    people.status = 403
    with Sender(people.write_urls(tmp_path / "urls")) as sends:
        assert [way.why for way in sends.send(NOTICE)] == ["it answered 403"]


def test_a_look_sends_nothing(people: People, tmp_path: Path) -> None:
    path = people.write_urls(tmp_path / "urls", "nonsense://x")
    with Sender(path) as sends:
        assert [way.why for way in sends.look()] == [None, "Apprise does not understand it"]
    assert people.told == []


def test_a_service_that_hangs_holds_up_no_other(people: People, tmp_path: Path) -> None:
    people.goes_on.clear()
    path = people.write_urls(tmp_path / "urls", "nonsense://x")
    program = "from rembg_watch.notify import sender; sender.EACH_S = 1.0; sender.main()"
    with Sender(path, start=(*sender.command(sys.executable)[:-1], program)) as sends:
        ways = list(sends.send(NOTICE))
    assert [way.why for way in ways] == ["it did not answer within 1 s", "Apprise does not understand it"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "no such file or directory"), (b"", "there is no URL in it"), (b"# only\n", "there is no URL in it")],
)
def test_a_file_that_names_nobody_is_said_in_one_sentence(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "urls"
    if content is not None:
        path.write_bytes(content)
    with Sender(path) as sends, pytest.raises(SenderError, match=why):
        list(sends.send(NOTICE))


def test_the_process_has_neither_the_key_nor_a_file_of_the_daemons(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMBG_WATCH_API__KEY", "the-k3y")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test")
    kept = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        with Sender(people.write_urls(tmp_path / "urls")) as sends:
            process = Path(f"/proc/{sends.pid}")
            environ = process.joinpath("environ").read_text()
            files = sorted(str(one.readlink()).partition(":")[0] for one in process.joinpath("fd").iterdir())
    finally:
        os.close(kept)
    assert "k3y" not in environ
    assert "CREDENTIALS" not in environ
    assert "NOTIFY_SOCKET" not in environ
    assert "HTTPS_PROXY=http://proxy.test" in environ  # a way out
    assert files == ["/dev/null", "/dev/null", "pipe", "pipe"]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("raise SystemExit(3)", "has ended"),
        ("import time; time.sleep(600)", "does not answer"),
        (f"import os, time; os.write(1, {sender.HELLO!r}); time.sleep(600)", "does not answer"),
        (f"import os; os.write(1, {sender.HELLO!r})", "has ended"),
    ],
    ids=["ends at once", "never starts", "hangs at a question", "ends at a question"],
)
def test_a_process_that_hangs_or_ends_is_a_sentence_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    monkeypatch.setattr(sending, "_START_LIMIT_S", 1.0)
    monkeypatch.setattr(sending, "_SILENT_LIMIT_S", 0.3)
    sends = Sender(tmp_path / "urls", start=(sys.executable, "-S", "-c", program))
    with pytest.raises(SenderError, match=why), sends:
        list(sends.send(NOTICE))
    assert not Path(f"/proc/{sends.pid}").exists()


def test_nothing_of_apprise_is_loaded_where_the_daemon_is() -> None:
    modules = "rembg_watch.daemon.notices, rembg_watch.daemon.life, rembg_watch.cli"
    program = f"import {modules}, sys; print([one for one in sys.modules if 'apprise' in one])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_daemon_that_tells_nobody_loads_nothing_for_it() -> None:
    program = (
        "import rembg_watch.cli, sys; print([one for one in sys.modules if one.startswith('rembg_watch.notify.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(done.stdout)) <= {"rembg_watch.notify.urls"}
