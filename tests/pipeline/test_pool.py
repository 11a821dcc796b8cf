import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Event, Lock, Thread
from threading import enumerate as all_threads
from typing import Any

import pytest

from rembg_watch.account.measures import Learned
from rembg_watch.account.pacing import Pacer
from rembg_watch.host.disk import TargetRefusedError
from rembg_watch.jobs import CallStart, Job, State, move, with_content
from rembg_watch.ledger import LedgerUnavailableError
from rembg_watch.pipeline import Pipeline, Ready
from rembg_watch.pipeline.pool import Pool
from rembg_watch.pipeline.slots import Slots
from rembg_watch.pipeline.threads import Pulse
from rembg_watch.report import events
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.exchange import Reply, Request
from tests.life import KEY, Crash, Life, SetClock, Studio, eventually

FAST = Learned(1000.0, 1000.0)
"""A pace as if it had been learned that nobody reaches."""


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


def drop_many(studio: Studio, count: int) -> None:
    for number in range(count):
        studio.drop(f"{number // 10}/{number}.png", (number % 256, number // 256, 7))


@contextmanager
def working(life: Life, pulse: Pulse | None = None, pipeline: Pipeline | None = None) -> Iterator[None]:
    """Let the life's own pool work, or one like it with another pulse or other steps."""
    pool = life.pool
    if pulse or pipeline:
        under_way = life.parts.under_way
        pool = Pool(pipeline or life.pipeline, life.balance, under_way, shut=set, run_id="test", workers=4, pulse=pulse)
    pool.start()
    try:
        yield
    finally:
        pool.stop()


def count(life: Life, state: State) -> int:
    return life.ledger.counts()[state]


def test_everything_in_line_is_delivered_in_batches_with_one_look_at_the_credits_each(studio: Studio) -> None:
    drop_many(studio, 35)
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 35)
    batches = [event.size for event in studio.events if isinstance(event, events.BatchFormed)]
    assert sum(batches) == 35
    assert max(batches) <= 10
    reads = [record for record in studio.sandbox.requests if record.path != "/rmbg"]
    assert len(reads) >= len(batches)
    assert len(studio.outputs()) == studio.sandbox.billed == 35


def test_the_api_never_has_more_pictures_at_once_than_there_are_workers(tmp_path: Path) -> None:
    """More may be on their way up, each without its last byte: those are not with the API yet."""
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=0.02))
    drop_many(studio, 20)
    lock, there, most = Lock(), 0, 0
    with studio.live(workers=3) as life:
        call = life.client.remove_background

        def counted(
            *args: object,
            on_last_byte: Callable[[], object],
            on_download: Callable[[object], object],
            **options: object,
        ) -> object:
            is_there = False

            def let_go() -> None:
                nonlocal there, most, is_there
                on_last_byte()
                with lock:
                    is_there, there = True, there + 1
                    most = max(most, there)

            def comes_back(progress: object = None) -> None:
                nonlocal there, is_there
                with lock:
                    is_there, there = False, there - is_there
                if progress is not None:
                    on_download(progress)

            try:
                return call(*args, on_last_byte=let_go, on_download=comes_back, **options)  # type: ignore[arg-type]
            finally:
                comes_back()

        life.client.remove_background = counted  # type: ignore[method-assign,assignment]
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 20)
    assert 1 <= most <= 3


def test_a_batch_is_cut_to_the_credits_and_nothing_is_sent_past_them(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", credits=7))
    drop_many(studio, 20)
    with studio.live() as life:
        life.reload(recheck_s=1.0)
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 7 and life.governor.gate.hold is not None)
            assert sum(record.path == "/rmbg" for record in studio.sandbox.requests) == 7
            studio.sandbox.account.prepaid += 13
            eventually(lambda: count(life, State.DONE) == 20)
            eventually(lambda: len(life.parts.under_way) == 0)
    assert sum(record.path == "/rmbg" for record in studio.sandbox.requests) == 20


@pytest.mark.parametrize("workers", [2, 8, 32])
def test_a_folder_never_spends_more_than_its_daily_budget(tmp_path: Path, workers: int) -> None:
    sandbox = Sandbox(KEY, engine="flat", latency_s=0.05)
    studio = Studio.make(tmp_path, sandbox=sandbox, batch_size=50, daily_budget=Decimal(40))
    drop_many(studio, 90)
    with studio.live(workers=workers) as life:
        life.governor._throughput.pacer = Pacer(0.0, FAST)
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) >= 40 and not len(life.parts.under_way))
            life.parts.under_way.poke()
            eventually(lambda: not life.parts.under_way.is_poked)
            reads = len(studio.sandbox.requests)
            life.parts.under_way.poke()
            eventually(lambda: not life.parts.under_way.is_poked)
            assert len(studio.sandbox.requests) == reads, "nothing may be sent, so nobody need know the credits"
    assert studio.sandbox.billed == 40


def test_copies_that_wait_for_the_first_ones_answer_keep_their_place_in_the_budget(tmp_path: Path) -> None:
    """The first fails and costs nothing; the next copy asks in its slot, and nobody else may have taken that."""
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=0.1))
    first = studio.drop("0.jpg")
    (studio.root / "in/1.jpg").write_bytes(first.read_bytes())
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.SENDING) == 1 and life.parts.under_way.unpaid() == 1)
            assert life.parts.under_way.unpaid("f") == 2
            eventually(lambda: count(life, State.DONE) == 2 and not len(life.parts.under_way))
            assert life.parts.under_way.unpaid("f") == 0


def test_stopping_finishes_the_calls_in_flight_and_leaves_the_rest_in_line(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=0.2))
    drop_many(studio, 30)
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.SENDING) >= 2)
        done, queued = count(life, State.DONE), count(life, State.QUEUED)
        assert done + queued == 30
        assert done == studio.sandbox.billed == len(studio.outputs())
        assert queued > 0
        assert len(life.claim()) == 10  # nothing is left claimed


def test_twenty_copies_of_one_picture_cost_one_call(studio: Studio) -> None:
    first = studio.drop("0.jpg")
    for number in range(1, 20):
        (studio.root / f"in/{number}.jpg").write_bytes(first.read_bytes())
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 20)
    assert studio.sandbox.billed == 1
    assert len(set(studio.outputs().values())) == 1


class BrokenForOne(Pipeline):
    def prepare(self, job: Job, *, beat: Callable[[], None] = lambda: None) -> Any:
        if job.source == b"0/3.png":
            raise RuntimeError("nobody foresaw this")
        return super().prepare(job, beat=beat)


def test_a_picture_whose_step_breaks_is_told_and_stops_nobody(studio: Studio) -> None:
    drop_many(studio, 10)
    with studio.live() as life:
        life.find()
        with working(life, pipeline=BrokenForOne(life.ports)):
            eventually(lambda: count(life, State.DONE) == 9)
            eventually(lambda: bool(studio.reported(events.Mistake)))
        [job] = [job for job in life.ledger.jobs() if job.state is not State.DONE]
        attempts = len(studio.reported(events.Mistake))  # it is tried again meanwhile, if the others take long
        assert (job.source, job.state, job.attempts) == (b"0/3.png", State.QUEUED, attempts)


def test_a_twin_is_woken_when_the_first_one_fails(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path)
    first = studio.drop("0.jpg")
    (studio.root / "in/1.jpg").write_bytes(first.read_bytes())
    studio.sandbox.add_fault("status", status=400)
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.FAILED) == 2)
    assert studio.sandbox.billed == 0


def test_a_job_that_the_ledger_did_not_take_is_taken_up_again(studio: Studio) -> None:
    studio.drop("a.jpg")
    with studio.live() as life:
        life.find()
        [job] = life.claim()
        ready = life.pipeline.prepare(job)
        assert isinstance(ready, Ready)
        life.pipeline.call(ready)  # its answer is in the spool; now the finisher's step is lost
        with working(life):
            life.parts.under_way.keep_unrecorded([job])
            life.parts.under_way.poke()
            eventually(lambda: count(life, State.DONE) == 1)
    assert studio.sandbox.billed == 1


def test_idle_threads_rest_and_working_ones_beat(studio: Studio) -> None:
    drop_many(studio, 3)
    beats: set[str] = set()
    rests: set[str] = set()
    with studio.live() as life:
        life.find()
        with working(life, Pulse(beat=beats.add, rest=rests.add)):
            eventually(lambda: count(life, State.DONE) == 3)
    assert {"feeder"} <= beats
    assert any(part.startswith("worker") for part in beats & rests)


def test_a_call_goes_out_while_the_answer_of_the_one_before_is_still_being_written_down(tmp_path: Path) -> None:
    """One worker, and a disk that takes no answer until two have come: the second call must not wait for it."""
    studio = Studio.make(tmp_path)
    drop_many(studio, 2)
    both_came = Barrier(2)
    with studio.live(workers=1) as life:
        keep = life.ports.spool.keep

        def slow(key: str) -> Path:
            both_came.wait(10)
            return keep(key)

        life.ports.spool.keep = slow  # type: ignore[method-assign]
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 2)
    assert not studio.reported(events.Mistake)


def test_a_delivery_waits_for_no_commit_to_have_its_name(studio: Studio) -> None:
    """The name is claimed in the commit that records the answer."""
    studio.drop("a/1.jpg")
    with studio.live() as life:
        life.find()
        studio.die_at = lambda step: step == "received"
        with pytest.raises(Crash):
            life.work()
        target = life.ledger.target("f", b"a/1.webp")
    assert target is not None
    assert target.source == b"a/1.jpg"


def looks_again(life: Life) -> None:
    """Let the feeder look a minute later, twice, and wait until nothing is under way."""
    for _ in range(2):
        life.studio.time.pass_s(60)
        life.parts.under_way.poke()
        eventually(lambda: not life.parts.under_way.is_poked and not len(life.parts.under_way))


def away(studio: Studio) -> None:
    (studio.root / "out").rename(studio.root / "elsewhere")


def back(studio: Studio) -> None:
    (studio.root / "elsewhere").rename(studio.root / "out")


@contextmanager
def filled_up(studio: Studio, *, workers: int, most: int) -> Iterator[Life]:
    """Work on many pictures, whose output went away when some of them were at the API."""
    studio.sandbox.latency_s = 0.4  # longer than a busy machine takes to notice the output
    studio.batch_size = most
    with studio.live(workers=workers) as life:
        life.governor._throughput.pacer = Pacer(0.0, FAST)
        life.find()
        with working(life):
            eventually(lambda: count(life, State.SENDING) == workers)
            away(studio)
            eventually(lambda: life.ports.outputs.blocked and not len(life.parts.under_way))
            yield life


def test_a_folder_whose_output_is_away_buys_no_more_than_what_was_under_way(studio: Studio) -> None:
    drop_many(studio, 60)
    with filled_up(studio, workers=4, most=50) as life:
        assert studio.sandbox.billed <= 8  # those at the API, and those whose intent was written meanwhile
        bought = studio.sandbox.billed
        looks_again(life)
        assert studio.sandbox.billed == bought == count(life, State.RECEIVED)
        assert list(life.ports.outputs.blocked) == ["f"]
        assert life.ports.outputs.blocked["f"].code == "missing"
        back(studio)
        looks_again(life)
        eventually(lambda: count(life, State.DONE) == 60, within_s=30)
        assert not life.ports.outputs.blocked
    assert studio.sandbox.billed == 60


@pytest.mark.parametrize("is_tried", [True, False], ids=["refused before", "not delivered yet"])
def test_a_restart_buys_nothing_while_what_is_paid_for_cannot_be_delivered(studio: Studio, is_tried: bool) -> None:
    drop_many(studio, 20)

    def goes_away_at_the_call(step: str) -> bool:
        if step == "answered":
            away(studio)
        return not is_tried and step == "verified"

    studio.die_at = goes_away_at_the_call
    with studio.live() as life:
        life.find()
        job = life.claim()[0]
        with suppress(Crash):
            life.process(job)
    studio.die_at = lambda _step: False
    for _ in range(2):
        with studio.live() as life:
            life.recover()
            with working(life):
                eventually(lambda: life.ports.outputs.blocked and not len(life.parts.under_way))
                looks_again(life)
        assert studio.sandbox.billed == 1
    back(studio)
    with studio.live() as life:
        life.recover()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 20)
    assert studio.sandbox.billed == 20


def test_nothing_is_bought_for_an_output_that_takes_nothing_from_the_start_until_it_does(studio: Studio) -> None:
    drop_many(studio, 5)
    away(studio)
    with studio.live() as life:
        life.find()
        with working(life):
            eventually(lambda: life.ports.outputs.blocked)
            looks_again(life)
            assert studio.sandbox.billed == 0
            back(studio)
            looks_again(life)
            eventually(lambda: count(life, State.DONE) == 5)
    assert studio.reported(events.OutputFree)
    assert len(studio.outputs()) == 5


def test_whoever_has_mended_an_output_need_not_wait_for_its_next_trial(studio: Studio) -> None:
    drop_many(studio, 20)
    with filled_up(studio, workers=4, most=20) as life:
        back(studio)
        life.pool.try_outputs()
        eventually(lambda: count(life, State.DONE) == 20)


def test_a_name_that_a_disk_does_not_take_keeps_no_other_picture_from_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.drop("a/1.png")

    def refuse(*_: object, **__: object) -> None:
        raise TargetRefusedError("no such name here", code="name_refused", path=studio.root)

    with monkeypatch.context() as patched, studio.live() as life:
        patched.setattr("rembg_watch.pipeline.finish.stage", refuse)  # what no trial had foreseen
        life.find()
        life.work()
        assert count(life, State.RECEIVED) == 1
    drop_many(studio, 5)
    with studio.live() as life:
        life.recover()
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 5)
            assert not life.ports.outputs.blocked


def test_an_output_that_takes_nothing_is_one_thing_that_goes_wrong_however_many_pictures_wait(studio: Studio) -> None:
    drop_many(studio, 40)
    with filled_up(studio, workers=4, most=40) as life:
        looks_again(life)
        conditions = {event.condition for event in studio.reported(events.OutputBlocked)}
        assert len(conditions) == 1


def test_a_clock_that_is_set_back_makes_nothing_wait_that_was_in_line(studio: Studio) -> None:
    clock = SetClock(timedelta(hours=2), times=20)
    studio.clocks = clock.clocks()
    drop_many(studio, 12)
    with studio.live() as life:
        life.find()
    clock.ahead = timedelta(0)
    with studio.live() as life, working(life):
        eventually(lambda: count(life, State.DONE) == 12)
    assert [event.jobs for event in studio.reported(events.ClockSetBack)] == [12]  # type: ignore[attr-defined]


def test_a_clock_that_is_set_back_while_it_works_is_told_once_and_the_work_goes_on(tmp_path: Path) -> None:
    clock = SetClock(timedelta(hours=2), times=20)
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=0.02))
    studio.clocks = clock.clocks()
    studio.batch_size = 2
    drop_many(studio, 40)
    with studio.live(workers=2) as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) >= 2)
            clock.ahead = timedelta(0)
            eventually(lambda: count(life, State.DONE) == 40)
    assert len(studio.reported(events.ClockSetBack)) == 1
    assert studio.sandbox.billed == 40


def test_at_rest_it_is_known_what_is_left_whatever_was_under_way_at_the_last_reading(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, sandbox=Sandbox(KEY, engine="flat", latency_s=0.05, credits=100))
    studio.batch_size = 6
    drop_many(studio, 24)
    with studio.live() as life:
        life.governor._throughput.pacer = Pacer(0.0, FAST)
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 24)
            eventually(lambda: life.balance.left() == 76)


def test_jobs_that_could_not_be_recorded_are_all_taken_up_when_the_ledger_takes_entries_again(studio: Studio) -> None:
    drop_many(studio, 4)
    with studio.live() as life:
        life.find()
        first, second, third, fourth = jobs = life.claim()
        life.ledger.record(move(with_content(second, "odd"), State.SENDING, at=life.ports.now()), call=CallStart(1))
        under_way, feeder = life.parts.under_way, life.pool.feeder
        under_way.keep_unrecorded(jobs)

        def unrecorded() -> set[int]:
            left = under_way.take_unrecorded()
            under_way.keep_unrecorded(left.values())
            return set(left)

        get, refuses = life.ledger.get, {first.id: LedgerUnavailableError("full"), third.id: RuntimeError("a mistake")}

        def unwilling(job_id: int) -> Job | None:
            if job_id in refuses:
                raise refuses[job_id]
            return get(job_id)

        life.ledger.get = unwilling  # type: ignore[method-assign]
        with pytest.raises(LedgerUnavailableError):
            feeder.take_up_unrecorded()
        assert unrecorded() == {job.id for job in jobs}
        del refuses[first.id]
        feeder.take_up_unrecorded()
        assert unrecorded() == {third.id}
        refuses.clear()
        feeder.take_up_unrecorded()
        assert not unrecorded()
        assert count(life, State.SENDING) == 0
        assert {job.id for job in life.claim()} >= {first.id, third.id, fourth.id}


def test_whoever_waits_for_a_slot_shows_that_it_lives_and_gets_the_next_one() -> None:
    slots, beats = Slots(1, beat_s=0.01), 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    slots.take(beat)
    assert beats == 0
    second = Thread(target=slots.take, args=(beat,), daemon=True)
    second.start()
    eventually(lambda: beats > 0)
    assert second.is_alive()
    slots.give_back()
    second.join(5)
    assert not second.is_alive()


def test_no_more_calls_are_in_doubt_after_a_crash_than_there_are_workers(tmp_path: Path) -> None:
    workers = 32
    studio = Studio.make(tmp_path)
    may_answer = Event()
    answer = studio.sandbox.respond

    def when_all_places_are_full(request: Request) -> Reply:
        assert request.path != "/rmbg" or may_answer.wait(60)
        return answer(request)

    studio.sandbox.respond = when_all_places_are_full  # type: ignore[method-assign]
    studio.batch_size = 80
    drop_many(studio, 80)
    with studio.live(workers=workers) as life:
        life.governor._throughput.pacer = Pacer(0.0, FAST)
        life.find()
        with working(life):
            eventually(lambda: count(life, State.SENDING) == workers)
            seen = [count(life, State.SENDING) for _ in range(100)]
            may_answer.set()
            eventually(lambda: count(life, State.DONE) == 80)
    assert max(seen) <= workers
    assert studio.sandbox.billed == 80


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine gives us one processor alone")
@pytest.mark.parametrize(("workers", "is_together"), [(8, False), (64, True)])
def test_the_threads_of_a_large_pool_share_a_processor(studio: Studio, workers: int, is_together: bool) -> None:
    drop_many(studio, 5)
    with studio.live(workers=workers) as life:
        life.find()
        with working(life):
            eventually(lambda: count(life, State.DONE) == 5)
            lanes = ("worker", "preparer", "finisher", "feeder")
            ours = [one.native_id or 0 for one in all_threads() if one.name.startswith(lanes)]
            where = [frozenset(os.sched_getaffinity(one)) for one in ours]
    assert len(where) > workers
    assert len(set(where)) == 1
    assert (len(where[0]) == 1) is is_together
