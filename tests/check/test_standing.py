"""``check`` says what a run would wait for: folders that another process watches, and folders that are away."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rembg_watch import check, config
from rembg_watch.config import Finding, FindingKind, Severity, rules
from rembg_watch.delivery.roots import Roots
from rembg_watch.host.locks import Locks
from rembg_watch.jobs import State, Version, move
from rembg_watch.ledger import Turn, open_ledger

Found = Callable[[], list[Finding]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    for name in ("in", "out", "done", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(
        'state_dir = "state"\n[[folders]]\nname = "f"\ninput = "in"\noutput = "out"\nafter = "move"\ndone = "done"\n'
    )

    def look() -> list[Finding]:
        reading = config.read(tmp_path / "config.toml", environ={"HOME": "/", "REMBG_WATCH_API__KEY": "k"})
        return check.findings(reading, ask=None, service={})

    return look


def test_an_input_that_another_process_watches_is_a_warning_that_names_it(tmp_path: Path, found: Found) -> None:
    locks = Locks()
    (tmp_path / "theirs").mkdir()
    locks.take(tmp_path / "theirs", [tmp_path / "in"])
    try:
        (one,) = [one for one in found() if "is watched by" in one.what]
        assert one.severity is Severity.WARNING
        assert f"process {os.getpid()}" in one.what
        assert "config.toml:4 " in one.where
    finally:
        locks.release()
    assert not [one for one in found() if "is watched by" in one.what]


def test_the_daemon_of_this_configuration_is_no_finding(tmp_path: Path, found: Found) -> None:
    locks = Locks()
    locks.take(tmp_path / "state", [tmp_path / "in"])
    try:
        assert not [one for one in found() if "is watched by" in one.what]
    finally:
        locks.release()


def test_a_ledger_that_cannot_be_opened_is_an_error_and_none_is_not(tmp_path: Path, found: Found) -> None:
    assert not [one for one in found() if one.severity is Severity.ERROR]
    (tmp_path / "state" / "ledger.db").write_bytes(b"no database" * 500)
    (one,) = [one for one in found() if one.severity is Severity.ERROR]
    assert "ledger.db" in one.what
    assert one.where.startswith("config.toml:1 state_dir") or "state_dir" in one.where


def test_a_ledger_that_this_user_may_not_read_is_an_error_that_says_whose_it_is(
    tmp_path: Path, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ledger(tmp_path / "state").close()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "ledger.db" not in str(path) and real(path, mode))
    (one,) = [one for one in found() if one.severity is Severity.ERROR]
    assert "this user may not read the state folder" in one.what


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('include = ["**/CaptureOne/*.jpg"]', "CaptureOne is a program's own by its name, and never looked into"),
        ('include = ["**/*.{jpg,png}"]', 'write a pattern for each, as in "**/*.jpg", "**/*.png"'),
        ('include = ["sub/"]', 'as in "**/sub/**"'),
        ('exclude = ["sub"]', 'as in "**/sub/**"'),
        ('include = ["(.*)jpg"]', 'as in "**/*.jpg"'),
        ('include = ["**/*.tif"]', 'as in "**/*.jpg"'),
        ('exclude = ["**/*.jpg "]', 'as in "**/*.jpg"'),
        ('include = ["in/**/*.jpg"]', "include and exclude leave out all that is there: 2 pictures"),
        (r'include = ["**\\*.jpg"]', "include and exclude leave out all that is there: 2 pictures"),
        ('include = ["**/*.jpg, **/*.png"]', "include and exclude leave out all that is there: 2 pictures"),
        ('include = ["!*.png"]', "include and exclude leave out all that is there: 2 pictures"),
        (
            'include = ["**/*.jpg"]\nexclude = ["**/*.jp*"]',
            "include and exclude leave out all that is there: 2 pictures",
        ),
    ],
)
def test_patterns_by_which_nothing_is_sent_are_warned_of_with_what_to_write(
    tmp_path: Path, found: Found, lines: str, told: str
) -> None:
    (tmp_path / "in" / "sub").mkdir()
    for name in ("a.jpg", "sub/b.png"):
        (tmp_path / "in" / name).write_bytes(b"x")
    file = tmp_path / "config.toml"
    file.write_text(f"{file.read_text()}{lines}\n")
    said = [f"{one.what}; {one.todo}" for one in found() if one.severity is Severity.WARNING]
    assert any(told in one for one in said), said


@pytest.mark.parametrize("pattern", ["**/*.nef", "*.CR3", "**/CaptureOne/**", "**/.*/**", "**/_rejects/**", "**/*.png"])
def test_who_leaves_out_knowingly_is_not_warned(tmp_path: Path, found: Found, pattern: str) -> None:
    for name in ("a.jpg", "b.nef", "c.png"):
        (tmp_path / "in" / name).write_bytes(b"x")
    file = tmp_path / "config.toml"
    file.write_text(f'{file.read_text()}exclude = ["{pattern}", "**/*.nef"]\n')
    assert not [one for one in found() if one.severity is Severity.WARNING]


def test_pictures_that_wait_for_an_extra_are_counted(tmp_path: Path, found: Found) -> None:
    at = datetime(2026, 5, 4, tzinfo=UTC)
    with open_ledger(tmp_path / "state") as ledger:
        ledger.add(
            "f", [(name, Version(size_bytes=9, mtime_ns=9, inode=9)) for name in (b"a.heic", b"b.heic", b"c.jpg")], at
        )
        for job in ledger.claim(9, at=at, run_id="x", turns=[Turn("f")], state=State.QUEUED):
            code = "needs_extra" if job.source.endswith(b"heic") else "bg_color"
            ledger.record(move(job, State.HELD, at=at, reason="so", code=code))
    (one,) = [one for one in found() if "extra" in one.what]
    assert one.what == "waiting for an extra in folder 'f': 2 pictures"
    assert (one.severity, one.todo) == (Severity.WARNING, '"rembg-watch jobs --state held --folder f" says which')


@pytest.mark.parametrize("name", ["out", "done"])
@pytest.mark.parametrize("how", ["missing", "bare"])
def test_a_folder_that_was_used_and_is_away_is_an_error_and_stays_as_it_is(
    tmp_path: Path, found: Found, name: str, how: str
) -> None:
    (tmp_path / name / "cut-out.webp").touch()
    with open_ledger(tmp_path / "state") as ledger:
        roots = Roots(ledger)
        roots.check(tmp_path / name)
        roots.used(tmp_path / name)
    assert not [one for one in found() if one.kind is FindingKind.AWAY]
    (tmp_path / name).rename(tmp_path / "elsewhere")
    if how == "bare":
        (tmp_path / name).mkdir()
    (one,) = [one for one in found() if "is away" in one.what]
    assert (one.severity, one.kind) == (Severity.ERROR, FindingKind.AWAY)
    assert str(tmp_path / name) in one.what
    assert "retry" in one.todo
    assert (tmp_path / name).exists() is (how == "bare")


def test_a_folder_whose_share_hangs_is_an_error_at_its_line_and_nothing_else_of_it_is_looked_at(
    tmp_path: Path, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (tmp_path / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text + '[[folders]]\nname = "g"\ninput = "nowhere"\noutput = "out2"\n')
    monkeypatch.setattr("rembg_watch.config.reading.silent", lambda _paths: frozenset({tmp_path / "in"}))
    looked = []
    is_away = rules.is_away
    monkeypatch.setattr(rules, "is_away", lambda path: looked.append(path) or is_away(path))
    away = [one for one in found() if one.kind is FindingKind.AWAY and one.severity is Severity.ERROR]
    assert [("does not answer" in one.what, "nowhere" in one.what) for one in away] == [(True, False), (False, True)]
    assert ["config.toml:4 " in one.where for one in away] == [True, False]
    assert tmp_path / "in" not in looked
