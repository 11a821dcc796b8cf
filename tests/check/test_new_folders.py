"""``check`` says before the first run, and while a folder waits, what a person has to decide."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rembg_watch import check, config
from rembg_watch.account.causes import Cause
from rembg_watch.account.gate import Gate
from rembg_watch.account.holds import WHATEVER_OPTIONS, FolderHold
from rembg_watch.account.notes import GATE, gate_to_note
from rembg_watch.config import Severity
from rembg_watch.ledger import open_ledger

Found = Callable[[], list[tuple[Severity, str]]]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def found(tmp_path: Path) -> Found:
    for name in ("in/a", "out/a", "state"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "config.toml").write_text(
        'state_dir = "state"\n[credits]\nask_above = 5\n[[folders]]\nname = "f"\ninput = "in"\noutput = "out"\n'
    )

    def look() -> list[tuple[Severity, str]]:
        environ = {"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": "k"}
        reading = config.read(tmp_path / "config.toml", environ=environ)
        all_of_it = check.findings(reading, ask=None, now=NOW, service={})
        return [(one.severity, str(one)) for one in all_of_it if "first run" in str(one) or "nothing of" in str(one)]

    return look


def drop(root: Path, count: int) -> None:
    for number in range(count):
        (root / f"in/a/{number}.jpg").write_bytes(b"x")
    (root / "in/notes.txt").write_text("no picture")


@pytest.mark.parametrize(("count", "says"), [(5, False), (6, True)])
def test_many_pictures_before_the_first_run_are_a_note(tmp_path: Path, found: Found, count: int, says: bool) -> None:
    drop(tmp_path, count)
    assert [severity for severity, _ in found()] == ([Severity.NOTE] if says else [])


def test_cutouts_that_stand_before_the_first_run_are_a_warning(tmp_path: Path, found: Found) -> None:
    drop(tmp_path, 4)
    for number in range(3):
        (tmp_path / f"out/a/{number}.png").write_bytes(b"cut-out")
    ((severity, said),) = found()
    assert (severity, "3 of 4 pictures" in said, "adopt --folder f" in said) == (Severity.WARNING, True, True)


def test_a_folder_that_waits_is_told_as_it_is_in_the_ledger(tmp_path: Path, found: Found) -> None:
    drop(tmp_path, 9)
    hold = FolderHold(folder="f", options=WHATEVER_OPTIONS, since=NOW, text="9 pictures", cause=Cause.BRAKE)
    with open_ledger(tmp_path / "state") as ledger:
        assert found() == []
        ledger.set_note(GATE, gate_to_note(Gate(folders=(hold,))))
    assert [said for _, said in found() if "nothing of f is sent: 9 pictures" in said]
