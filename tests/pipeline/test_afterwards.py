"""What becomes of sources after a crash, or after their place was away."""

from pathlib import Path

import pytest

from rembg_watch.daemon.arrivals import Arrivals
from rembg_watch.delivery import originals
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import State
from rembg_watch.pipeline import afterwards
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, Crash, Studio


def crashes(*_: object, **__: object) -> None:
    raise Crash


@pytest.mark.parametrize("why", ["the API refuses it", "it is broken", "the watch rejects it"])
def test_a_refused_picture_is_set_aside_after_a_crash_right_behind_its_entry(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox(KEY, engine="flat", faults=["status:status=400"] if why == "the API refuses it" else [])
    studio = Studio.make(tmp_path, sandbox=sandbox, failed=tmp_path / "failed")
    source = studio.drop("a.png")
    if why != "the API refuses it":
        source.write_bytes(b"no picture")
    with monkeypatch.context() as patched, studio.live() as life:
        patched.setattr(originals, "set_aside", crashes)
        now, version = life.ports.now(), version_of(source.stat())
        arrivals = Arrivals(life.ports, life.parts.under_way)
        if why == "the watch rejects it":
            with pytest.raises(Crash):
                arrivals.reject("f", b"a.png", version, now, reason="no", code="no")
        else:
            arrivals.add("f", [(b"a.png", version)], now)
            with pytest.raises(Crash):
                life.work()
        assert life.states() == {"a.png": State.FAILED}
    assert source.exists()
    with studio.live() as life:
        life.recover()
        assert life.ledger.originals_left() == {}
    assert not source.exists()
    assert {path.name for path in (tmp_path / "failed").iterdir()} == {"a.png", "a.png.reason.txt"}


def test_without_a_failed_folder_a_refused_picture_stays_and_nothing_is_left_to_do(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", faults=["status:status=400"]))
    source = studio.drop("a.png")
    with studio.live() as life:
        life.find()
        life.work()
        assert life.ledger.originals_left() == {}
    assert source.exists()


def test_what_is_left_is_put_away_once_its_place_is_back_and_the_first_finds_out_for_all(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, after="move", done=tmp_path / "done")
    for number in range(3):
        studio.drop(f"{number}.png", (number, 2, 3))
    (tmp_path / "done").rmdir()
    with studio.live() as life:
        life.find()
        life.work()
        assert life.ledger.originals_left() == {"f": 3}
        assert afterwards.put_away_left(life.ports, "f") == 0  # in other hands, perhaps
        studio.time.pass_s(11)
        before = len(studio.reported(events.NotDisposed))
        assert afterwards.put_away_left(life.ports, "f") == 0
        assert len(studio.reported(events.NotDisposed)) == before + 1
        (tmp_path / "done").mkdir()
        assert afterwards.put_away_left(life.ports, "f") == 3
        assert life.ledger.originals_left() == {}
        assert [event.count for event in studio.reported(events.OriginalsGo)] == [3]  # type: ignore[attr-defined]
    assert {path.name for path in (tmp_path / "done").iterdir()} == {"0.png", "1.png", "2.png"}
