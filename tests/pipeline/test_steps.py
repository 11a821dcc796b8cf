from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.account.retry import RetryPolicy
from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.host.disk import version_of
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Turn, Which
from rembg_watch.pipeline import Back, Blocked, Over, Paid, Ready, Twin
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.render import Cutter
from tests.life import KEY, Crash, Life, Studio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


# --- the way of a picture -------------------------------------------------------------------------


def test_a_dropped_picture_comes_out_at_its_mirrored_place_and_costs_one_credit(studio: Studio) -> None:
    studio.drop("shoot 7/Müller & Söhne.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        assert life.states() == {"shoot 7/Müller & Söhne.jpg": State.DONE}
        assert life.ledger.spending().charged == 1
        assert [path.suffix for path in (studio.root / "spool").iterdir()] == [".spare"]
    assert list(studio.outputs()) == ["shoot 7/Müller & Söhne.webp"]
    assert studio.sandbox.billed == 1
    assert (studio.root / "in/shoot 7/Müller & Söhne.jpg").exists()


def test_the_steps_come_in_the_order_that_the_promises_need(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    order = ["prepared", "sending", "answered", "spooled", "received", "verified", "staged", "published", "recorded"]
    assert [step for step in studio.steps if step in order] == order


def test_a_call_ends_with_the_price_that_it_began_with(studio: Studio) -> None:
    """A reload in the middle of a call used to book its beginning at one price and its end at another."""
    studio.drop("a.jpg")
    with studio.live() as life:
        studio.die_at = lambda step: step == "sending" and life.reload(price=Decimal(3)) is not None
        life.find()
        life.work()
        assert life.ports.in_force.plan.terms.price == 3
        assert life.ledger.spending().charged == 1
        [delivered] = studio.reported(events.Delivered)
        assert delivered.charged == 1  # type: ignore[attr-defined]


def steps_of_one_picture(tmp_path: Path, **recipe: object) -> list[str]:
    studio = Studio.make(tmp_path, **recipe)
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    return studio.steps


KEEP = ["prepared", "sending", "answered", "spooled", "received", "verified", "directory made", "staged", "new"]
ALL_STEPS = [*KEEP, "directory synced", "published", "recorded", "put away"]


def test_no_step_is_left_out_of_the_crash_tests(tmp_path: Path) -> None:
    assert set(steps_of_one_picture(tmp_path, after="delete")) <= set(ALL_STEPS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a crash closes no file
@pytest.mark.parametrize("step", ALL_STEPS)
@pytest.mark.parametrize("after", ["keep", "move", "delete"])
def test_a_crash_after_any_step_loses_nothing_and_pays_twice_only_for_a_call_in_flight(
    tmp_path: Path, step: str, after: str
) -> None:
    studio = Studio.make(tmp_path, after=after, done=tmp_path / "done")
    source = studio.drop("sub/a.jpg")
    content = source.read_bytes()
    studio.die_at = lambda name: name == step
    crashed = False
    with studio.live() as life:
        life.find()
        try:
            life.work()
        except Crash:
            crashed = True
    assert crashed or (step == "put away" and after == "keep")
    studio.die_at = lambda _name: False
    with studio.live() as life:
        life.recover()
        life.find()
        life.work()
        assert [state for state in life.states().values() if state is not State.VANISHED] == [State.DONE]
        spending = life.ledger.spending()
    assert list(studio.outputs()) == ["sub/a.webp"]
    in_flight = step in {"sending", "answered"}  # the answer, if there was one, was not yet durable
    assert studio.sandbox.billed == (2 if step == "answered" else 1)
    assert spending.doubles == (1 if in_flight else 0)
    where = {"keep": "in", "move": "done"}.get(after)
    assert where is None or (tmp_path / where / "sub/a.jpg").read_bytes() == content
    assert source.exists() is (after == "keep")


def test_a_crash_while_sending_is_held_for_a_person_where_so_wished(studio: Studio) -> None:
    studio.drop("a.jpg")
    studio.die_at = lambda name: name == "answered"
    with studio.live() as life:
        life.find()
        with pytest.raises(Crash):
            life.work()
    studio.die_at = lambda _name: False
    with studio.live(RetryPolicy(retries_doubt=False)) as life:
        life.recover()
        life.work()
        assert life.states() == {"a.jpg": State.IN_DOUBT}
    assert studio.sandbox.billed == 1
    assert studio.reported(events.InDoubt)


# --- paying once ----------------------------------------------------------------------------------


def test_the_same_bytes_under_another_name_are_delivered_without_a_call(studio: Studio) -> None:
    first = studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        (studio.root / "in/copy of a.jpg").write_bytes(first.read_bytes())
        life.find()
        life.work()
    assert set(studio.outputs()) == {"a.webp", "copy of a.webp"}
    assert len(set(studio.outputs().values())) == 1
    assert studio.sandbox.billed == 1
    assert len(studio.reported(events.Reused)) == 1


def ready_twins(studio: Studio, life: Life) -> tuple[Ready, Job]:
    """Drop one picture under two names; return the first, prepared, and the job of the second."""
    first = studio.drop("a.jpg")
    (studio.root / "in/b.jpg").write_bytes(first.read_bytes())
    life.find()
    one, other = life.claim()
    ready = life.pipeline.prepare(one)
    assert isinstance(ready, Ready)
    return ready, other


def test_a_twin_that_comes_while_the_first_is_sent_waits_for_its_answer(studio: Studio) -> None:
    with studio.live() as life:
        ready, other = ready_twins(studio, life)
        assert isinstance(life.pipeline.prepare(other), Twin)
        paid = life.pipeline.call(ready)
        assert isinstance(paid, Paid)
        assert isinstance(life.pipeline.prepare(other), Twin)  # its answer is not yet settled
        life.pipeline.finish(paid)
        again = life.pipeline.prepare(other)
        assert isinstance(again, Paid)
        life.pipeline.finish(again)
    assert studio.sandbox.billed == 1
    assert set(studio.outputs()) == {"a.webp", "b.webp"}


def test_an_answer_paid_for_anew_stays_for_the_job_whose_own_was_lost(studio: Studio) -> None:
    with studio.live() as life:
        ready, other = ready_twins(studio, life)
        waiting = life.pipeline.call(ready)
        assert isinstance(waiting, Paid)
        key = str(waiting.job.content_key)
        life.ports.contents.end(key)  # an earlier life ended here, and a hand emptied the spool
        life.ports.spool.drop(key)
        again = life.pipeline.prepare(other)
        assert isinstance(again, Ready)
        paid = life.pipeline.call(again)
        assert isinstance(paid, Paid)
        life.pipeline.finish(paid)
        assert isinstance(life.pipeline.finish(waiting), Over)
    assert studio.sandbox.billed == 2
    assert set(studio.outputs()) == {"a.webp", "b.webp"}


def test_another_answer_to_the_same_request_is_as_good_as_the_one_that_was_lost(studio: Studio) -> None:
    with studio.live() as life:
        ready, other = ready_twins(studio, life)
        waiting = life.pipeline.call(ready)
        assert isinstance(waiting, Paid)
        key = str(waiting.job.content_key)
        life.ports.contents.end(key)
        life.ports.spool.drop(key)
        studio.sandbox.cutter = Cutter("fast")  # the API need not answer the same bytes twice
        again = life.pipeline.prepare(other)
        assert isinstance(again, Ready)
        paid = life.pipeline.call(again)
        assert isinstance(paid, Paid)
        assert paid.job.answer_digest != waiting.job.answer_digest
        assert life.pipeline.finish(paid).job.state is State.DONE
        assert life.pipeline.finish(waiting).job.state is State.DONE
    assert studio.sandbox.billed == 2
    assert set(studio.outputs()) == {"a.webp", "b.webp"}


def paid_for(studio: Studio, life: Life) -> Paid:
    """Drop a picture and have it answered, up to where its answer is looked at."""
    studio.drop("a.jpg")
    life.find()
    (job,) = life.claim()
    ready = life.pipeline.prepare(job)
    assert isinstance(ready, Ready)
    paid = life.pipeline.call(ready)
    assert isinstance(paid, Paid)
    return paid


def test_what_is_no_answer_to_the_request_is_not_delivered_whatever_lies_in_the_spool(studio: Studio) -> None:
    with studio.live() as life:
        paid = paid_for(studio, life)
        answer = life.ports.spool.path(str(paid.job.content_key))

        def swap(step: str) -> bool:
            if step == "verified":
                answer.write_bytes(answer.read_bytes() + b"of another")
            return False

        studio.die_at = swap
        over = life.pipeline.finish(paid)
        assert (over.job.state, over.job.code) == (State.QUEUED, "answer_lost")
    assert studio.outputs() == {}
    assert [path.name for path in studio.root.glob("out/**/*")] == []


def test_a_name_that_somebody_took_after_the_answer_came_is_left_to_him(studio: Studio) -> None:
    with studio.live() as life:
        paid = paid_for(studio, life)
        assert paid.job.target == b"a.webp"
        (studio.root / "out/a.webp").write_bytes(b"somebody's own")
        life.pipeline.finish(paid)
    assert studio.outputs()["a.webp"] == b"somebody's own"
    assert len(studio.outputs()) == 2
    assert studio.sandbox.billed == 1


def test_a_touched_picture_costs_nothing(studio: Studio) -> None:
    source = studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        source.touch()
        life.find()
        life.work()
    assert studio.sandbox.billed == 1
    assert list(studio.outputs()) == ["a.webp"]


def test_other_parameters_are_another_request(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path)
    source = studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    (tmp_path / "other").mkdir()
    other = Studio.make(tmp_path / "other", sandbox=studio.sandbox, params=RemovalParams(format=Format.PNG))
    other.root.joinpath("ledger.db").write_bytes((tmp_path / "ledger.db").read_bytes())
    (other.root / "in/a.jpg").write_bytes(source.read_bytes())
    with other.live() as life:
        life.find()
        life.work()
    assert list(other.outputs()) == ["a.png"]
    assert studio.sandbox.billed == 2


def test_a_reexport_replaces_its_own_output(studio: Studio) -> None:
    studio.drop("a.jpg", (200, 30, 30))
    with studio.live() as life:
        life.find()
        life.work()
        before = studio.outputs()
        studio.drop("a.jpg", (30, 200, 30))
        life.find()
        life.work()
    assert studio.outputs().keys() == before.keys() == {"a.webp"}
    assert studio.outputs() != before
    assert studio.sandbox.billed == 2


# --- safe delivery --------------------------------------------------------------------------------


def test_two_sources_that_claim_one_name_are_both_delivered(studio: Studio) -> None:
    studio.drop("IMG_1.jpg", (200, 30, 30))
    studio.drop("IMG_1.png", (30, 30, 200))
    with studio.live() as life:
        life.find()
        life.work()
    assert set(studio.outputs()) == {"IMG_1.webp", "IMG_1.png.webp"}


def test_a_file_that_is_not_ours_is_never_overwritten(studio: Studio) -> None:
    studio.drop("a.jpg")
    foreign = studio.root / "out/a.webp"
    foreign.write_bytes(b"a person's own work")
    with studio.live() as life:
        life.find()
        life.work()
    assert foreign.read_bytes() == b"a person's own work"
    assert set(studio.outputs()) == {"a.webp", "a.jpg.webp"}


def test_an_output_that_a_person_edited_is_kept_when_its_source_is_exported_again(studio: Studio) -> None:
    studio.drop("a.jpg", (200, 30, 30))
    with studio.live() as life:
        life.find()
        life.work()
        (studio.root / "out/a.webp").write_bytes(b"retouched by hand")
        studio.drop("a.jpg", (30, 200, 30))
        life.find()
        life.work()
    assert (studio.root / "out/a.webp").read_bytes() == b"retouched by hand"
    assert set(studio.outputs()) == {"a.webp", "a.jpg.webp"}


def test_a_missing_output_folder_blocks_the_picture_and_its_answer_is_delivered_later_for_free(studio: Studio) -> None:
    studio.drop("a.jpg")
    (studio.root / "out").rmdir()
    with studio.live() as life:
        life.find()
        [ended] = life.work()
        assert isinstance(ended, Blocked)
        assert life.states() == {"a.jpg": State.RECEIVED}
        (studio.root / "out").mkdir()
        waiting = ended.job
        later = life.ports.clocks.now() + timedelta(minutes=1)
        [job] = life.ledger.claim(1, at=later, run_id="t", turns=[Turn("f")], state=State.RECEIVED)
        assert job.id == waiting.id
        life.process(job)
    assert list(studio.outputs()) == ["a.webp"]
    assert studio.sandbox.billed == 1


# --- refusals and bad answers ---------------------------------------------------------------------


def test_a_picture_that_the_api_refuses_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, failed=tmp_path / "failed")
    studio.drop("sub/a.jpg")
    studio.sandbox.add_fault("status", status=400)
    with studio.live() as life:
        life.find()
        life.work()
        assert life.states() == {"sub/a.jpg": State.FAILED}
    assert (tmp_path / "failed/sub/a.jpg").exists()
    assert "What to do" in (tmp_path / "failed/sub/a.jpg.reason.txt").read_text()
    assert not (tmp_path / "in/sub/a.jpg").exists()
    assert studio.sandbox.billed == 0


@pytest.mark.parametrize("fault", ["empty", "garbage", "json", "cut_picture", "wrong_format"])
def test_an_answer_that_is_no_result_is_not_delivered_and_asked_for_once_more(tmp_path: Path, fault: str) -> None:
    studio = Studio.make(tmp_path)
    studio.drop("a.jpg", size=(600, 500))
    studio.sandbox.add_fault(fault, count=1)
    with studio.live() as life:
        life.find()
        life.process(life.claim()[0])
        assert studio.outputs() == {}
        job = next(life.ledger.jobs())
        assert (job.state, job.doubts) == (State.QUEUED, 1)
        later = life.ports.clocks.now() + timedelta(hours=1)
        turns = [Turn("f")]
        life.process(life.ledger.claim(1, at=later, run_id="t", turns=turns)[0])
        assert life.states() == {"a.jpg": State.DONE}
        assert life.ledger.spending().doubles + life.ledger.spending().repeats == 1
    assert list(studio.outputs()) == ["a.webp"]
    assert studio.sandbox.billed == 2


def test_a_second_useless_answer_puts_the_picture_in_doubt_instead_of_paying_for_ever(studio: Studio) -> None:
    studio.drop("a.jpg", size=(600, 500))
    studio.sandbox.add_fault("garbage")
    with studio.live() as life:
        life.find()
        turns = [Turn("f")]
        for hours in range(4):
            later = life.ports.clocks.now() + timedelta(hours=hours)
            for job in life.ledger.claim(1, at=later, run_id="t", turns=turns):
                life.process(job)
        assert life.states() == {"a.jpg": State.IN_DOUBT}
    assert studio.sandbox.billed == 2


def test_a_source_that_changes_while_it_is_sent_is_cut_off_and_not_paid_for(studio: Studio) -> None:
    source = studio.drop("a.jpg", size=(900, 700))
    with studio.live() as life:
        life.find()
        [job] = life.claim()
        ready = life.pipeline.prepare(job)
        assert isinstance(ready, Ready)
        data = bytearray(source.read_bytes())
        data[len(data) // 2] ^= 0xFF
        with source.open("r+b") as file:
            file.write(data)
        ended = life.pipeline.call(ready)
        assert isinstance(ended, Over)
        assert ended.job.state is State.VANISHED
    assert studio.sandbox.billed == 0


@pytest.mark.parametrize("change", [Path.unlink, lambda path: Image.new("RGB", (9, 9)).save(path)], ids=["gone", "new"])
def test_a_source_that_is_gone_or_new_when_its_turn_comes_vanishes_without_a_call(
    studio: Studio, change: Callable[[Path], object]
) -> None:
    source = studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        [job] = life.claim()
        change(source)
        ended = life.pipeline.prepare(job)
        assert isinstance(ended, Over)
        assert ended.job.state is State.VANISHED
    assert not studio.sandbox.requests


def test_a_shut_gate_gives_the_picture_back_unchanged(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox("another-key", engine="flat"))
    studio.drop("a.jpg")
    studio.drop("b.jpg", (1, 2, 3))
    with studio.live() as life:
        life.find()
        first, second = life.claim()
        life.process(first)  # 401: the gate shuts
        assert isinstance(life.process(second), Back)
        assert set(life.states().values()) == {State.QUEUED}
        assert next(life.ledger.jobs()).attempts == 0
    assert sum(record.path == "/rmbg" for record in studio.sandbox.requests) == 1


def test_files_that_the_spool_keeps_for_later_never_make_the_disk_full(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        kept = list((studio.root / "spool").iterdir())
        assert kept
        monkeypatch.setattr(
            "rembg_watch.pipeline.ports.enough_room", lambda *_: not any(path.exists() for path in kept)
        )
        assert life.ports.has_room(1)
        assert not any(path.exists() for path in kept)


def test_a_full_spool_disk_is_noticed_before_paying(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.change(reserve_bytes=1 << 60)
        life.find()
        life.process(life.claim()[0])
        assert life.states() == {"a.jpg": State.QUEUED}
        hold = life.governor.gate.hold
        assert hold is not None
        assert hold.cause.value == "disk_full"
    assert len(studio.sandbox.requests) == 0


def test_the_key_of_the_studio_is_in_no_event(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    assert KEY not in repr(studio.events)


# --- a source that is renamed ---------------------------------------------------------------------


def renamed(studio: Studio, old: str, new: str) -> None:
    """Rename a source whose cut-out stands, and let the ledger know of it as the watch does."""
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "in" / new).parent.mkdir(parents=True, exist_ok=True)
    (studio.root / "in" / old).rename(studio.root / "in" / new)
    with studio.live() as life:
        life.ledger.gone("f", [old.encode()], life.ports.now())
        life.find()
        life.work()
        assert not list(life.ledger.jobs(Which(states=frozenset({State.QUEUED, State.RECEIVED}))))


@pytest.mark.parametrize(
    ("old", "new", "target"),
    [
        ("a.jpg", "b.jpg", "b.webp"),
        ("IMG_9.JPG", "img_9.jpg", "img_9.webp"),
        ("a.jpg", "sub/a.jpg", "sub/a.webp"),
        ("Shoot/a.jpg", "shoot/a.jpg", "shoot/a.webp"),
        ("a.jpeg", "a.jpg", "a.webp"),
    ],
)
def test_the_cutout_of_a_renamed_source_is_taken_along(studio: Studio, old: str, new: str, target: str) -> None:
    studio.drop(old)
    renamed(studio, old, new)
    assert list(studio.outputs()) == [target]
    assert studio.sandbox.billed == 1
    [told] = studio.reported(events.TakenAlong)
    assert told.former == old.encode()  # type: ignore[attr-defined]
    renamed(studio, new, old)
    assert list(studio.outputs()) == [old.rpartition(".")[0] + ".webp"], "and back again, with the same file"
    assert studio.sandbox.billed == 1


def test_a_rename_while_nobody_looked_is_known_by_the_file_itself(studio: Studio) -> None:
    studio.drop("old/a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "in/old").rename(studio.root / "in/new")
    with studio.live() as life:
        life.find()
        life.work()
        assert [job.source for job in life.ledger.jobs() if job.gone_at is None] == [b"new/a.jpg"]
    assert list(studio.outputs()) == ["new/a.webp"]
    assert studio.sandbox.billed == 1


def test_an_edited_cutout_of_the_old_name_stays(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    answer = (studio.root / "out" / "a.webp").read_bytes()
    studio.drop("c.jpg")  # the same picture: its cut-out is where the answer can be had from
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "out" / "a.webp").write_bytes(b"edited")
    renamed(studio, "a.jpg", "b.jpg")
    assert studio.outputs() == {"a.webp": b"edited", "b.webp": answer, "c.webp": answer}
    assert studio.reported(events.TakenAlong) == []


def test_a_copy_is_no_rename(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        studio.drop("b.jpg")
        life.find()
        life.work()
    assert set(studio.outputs()) == {"a.webp", "b.webp"}


def test_a_cutout_of_another_version_is_nobodys_former_one(tmp_path: Path) -> None:
    """The first version was rewritten while it was sent, the second was delivered, and its original moved away."""
    studio = Studio.make(tmp_path, after="move", done=tmp_path / "done")
    first = studio.drop("c.jpg").read_bytes()
    with studio.live() as life:
        life.find()
        life.work()
        (tmp_path / "in/a.jpg").write_bytes(first)
        life.find()
        (job,) = life.claim()
        paid = life.pipeline.prepare(job)
        assert isinstance(paid, Paid)
        studio.drop("a.jpg", colour=(1, 250, 3))  # too late for this call: its own cut-out comes next
        life.pipeline.finish(paid)
        life.find()
        life.work()
        assert not (tmp_path / "in/a.jpg").exists(), "it was moved"
        standing = studio.outputs()
        (tmp_path / "in/b.jpg").write_bytes(first)
        life.find()
        life.work()
    assert studio.outputs()["a.webp"] == standing["a.webp"]
    assert set(studio.outputs()) == {"a.webp", "b.webp", "c.webp"}
    assert studio.sandbox.billed == 2
    assert studio.reported(events.TakenAlong) == []


def test_the_ledger_alone_makes_no_rename_while_the_old_name_stands(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        studio.drop("b.jpg")
        life.ledger.gone("f", [b"a.jpg"], life.ports.now())  # it came back since
        life.ledger.add("f", [(b"b.jpg", version_of((studio.root / "in/b.jpg").stat()))], life.ports.now())
        life.work()
    assert set(studio.outputs()) == {"a.webp", "b.webp"}


def test_of_two_equal_pictures_each_takes_its_own_cutout_along(studio: Studio) -> None:
    for name in ("old/a.jpg", "old/b.jpg"):
        studio.drop(name)
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "in" / "old").rename(studio.root / "in" / "new")
    with studio.live() as life:
        life.ledger.gone("f", [b"old/a.jpg", b"old/b.jpg"], life.ports.now())
        life.find()
        life.work()
    assert set(studio.outputs()) == {"new/a.webp", "new/b.webp"}
    assert studio.sandbox.billed == 1


@pytest.mark.parametrize("step", ["withdrawn", "staged", "published", "recorded"])
@pytest.mark.parametrize("new", ["b.jpg", "A.jpg"])
def test_a_crash_in_the_middle_of_a_rename_loses_no_cutout(studio: Studio, step: str, new: str) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "in" / "a.jpg").rename(studio.root / "in" / new)
    with studio.live() as life:
        life.ledger.gone("f", [b"a.jpg"], life.ports.now())
        life.find()
        studio.die_at = lambda reached: reached == step
        with pytest.raises(Crash):
            life.work()
    studio.die_at = lambda _step: False
    with studio.live() as life:
        life.recover()
        life.work()
        assert [job.state for job in life.ledger.jobs() if job.gone_at is None] == [State.DONE]
        (job,) = (job for job in life.ledger.jobs() if job.gone_at is None)
        assert job.target is not None
        assert job.target.decode() in studio.outputs()
    assert studio.sandbox.billed == 1


# --- what follows an original that is moved -------------------------------------------------------


@pytest.mark.parametrize("follow", [True, False])
def test_side_files_and_emptied_folders_follow_an_original_where_that_is_asked_for(
    tmp_path: Path, follow: bool
) -> None:
    studio = Studio.make(
        tmp_path, after="move", done=tmp_path / "done", move_sidecars=follow, remove_empty_folders=follow
    )
    studio.drop("job7/sub/a.jpg")
    (tmp_path / "in/job7/sub/a.xmp").write_text("x")
    with studio.live() as life:
        life.ledger.add("f", [(b"job7/sub/a.jpg", version_of((tmp_path / "in/job7/sub/a.jpg").stat()))], NOW)
        life.work()
    assert (tmp_path / "done/job7/sub/a.jpg").exists()
    assert (tmp_path / "done/job7/sub/a.xmp").exists() == follow
    assert (tmp_path / "in/job7/sub/a.xmp").exists() != follow
    assert (tmp_path / "in/job7").exists() != follow


def test_a_crash_between_an_original_and_its_side_file_leaves_none_behind(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, after="move", done=tmp_path / "done", move_sidecars=True, remove_empty_folders=True)
    studio.drop("job7/a.jpg")
    (tmp_path / "in/job7/a.xmp").write_text("x")
    studio.die_at = lambda step: step == "put away"
    with studio.live() as life:
        life.ledger.add("f", [(b"job7/a.jpg", version_of((tmp_path / "in/job7/a.jpg").stat()))], NOW)
        with pytest.raises(Crash):
            life.work()
    assert (tmp_path / "in/job7/a.xmp").exists()
    studio.die_at = lambda _step: False
    with studio.live() as life:
        life.recover()
    assert (tmp_path / "done/job7/a.xmp").exists()
    assert not (tmp_path / "in/job7").exists()
