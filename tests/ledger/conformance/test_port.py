import os
import threading
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from rembg_watch.api.errors import Charge
from rembg_watch.errors import LedgerError
from rembg_watch.jobs import (
    CallEnd,
    CallStart,
    IllegalTransitionError,
    State,
    Unsettled,
    Version,
    move,
    with_content,
)
from rembg_watch.ledger import (
    Access,
    Backlog,
    Ledger,
    Made,
    MadeState,
    NoLedgerError,
    SendingTwiceError,
    Spending,
    StaleJobError,
    Target,
    TargetsTakenError,
    Turn,
    Which,
)
from tests.ledger.engines import Home
from tests.ledger.moves import (
    DOUBT,
    FREE,
    NOW,
    ONE,
    PAID,
    at,
    claim,
    fail,
    finish,
    in_doubt,
    one,
    queue,
    receive,
    send,
    some,
    stands,
    version,
)

AHEAD = NOW + timedelta(days=400)
"""What a clock says that is ahead by more than a year."""

NASTY_NAMES = [
    pytest.param(b"IMG_1.jpg", id="plain"),
    pytest.param("Größe 1/Müller & Söhne.jpg".encode(), id="spaces and umlauts"),
    pytest.param(b"a/\xff\xfe\x80.jpg", id="no UTF-8"),
    pytest.param(b"a/" + b"x" * 251 + b".jpg", id="255 bytes"),
    pytest.param(b'it\'s "quoted"; DROP TABLE jobs; --.jpg', id="quotes and SQL"),
    pytest.param(b"a\nb\r\t\x01/c\x7f.jpg", id="control characters"),
    pytest.param(b"100%_[a-z]*?{}\\.jpg", id="wildcards"),
    pytest.param("a/\U0001f600\u202e\ufffe.jpg".encode(), id="beyond the plane"),
    pytest.param(b"/".join([b"d" * 255] * 15) + b"/deep.jpg", id="deep"),
]


def reopened(home: Home, ledger: Ledger) -> Ledger:
    ledger.close()
    return home.open()


class TestWhatTheWatchSideWrites:
    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_any_name_a_disk_can_hold_comes_back_as_it_was(self, home: Home, ledger: Ledger, name: bytes) -> None:
        queue(ledger, name)
        (job,) = claim(ledger)
        done = finish(ledger, job)
        ledger = reopened(home, ledger)
        parent, _, last = name.rpartition(b"/")
        assert ledger.known("f", parent) == {last: version()}
        assert ledger.parents("f") == [parent]
        assert stands(ledger, name) == done
        assert done.target == name + b".webp"
        assert [job.source for job in ledger.jobs()] == [name]
        assert ledger.target("f", name + b".WEBP") is not None
        assert ledger.gone("f", [name], NOW) == 0
        ledger.close()

    @pytest.mark.parametrize(
        "odd",
        [
            pytest.param(Version(size_bytes=0, mtime_ns=0, inode=0), id="zeros"),
            pytest.param(Version(size_bytes=1, mtime_ns=-(10**18), inode=1), id="before 1970"),
            pytest.param(
                Version(size_bytes=1, mtime_ns=253370764800 * 10**9, inode=2**64 - 1), id="year 9999, inode 64"
            ),
            pytest.param(Version(size_bytes=2**62, mtime_ns=2**63, inode=2**63), id="past a signed 64-bit number"),
        ],
    )
    def test_a_version_that_fits_no_database_integer_comes_back_as_it_was(self, ledger: Ledger, odd: Version) -> None:
        assert ledger.add("f", [(b"a.jpg", odd)], NOW) == 1
        assert ledger.known("f", b"") == {b"a.jpg": odd}
        assert ledger.add("f", [(b"a.jpg", odd)], NOW) == 0
        assert claim(ledger)[0].version == odd

    def test_the_same_source_again_is_no_new_job(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", b"b.jpg")
        assert ledger.add("f", [(b"a.jpg", version()), (b"c.jpg", version()), (b"c.jpg", version())], at(1)) == 1
        assert ledger.counts()[State.QUEUED] == 3

    def test_more_sources_than_go_into_one_transaction_are_all_queued_once(self, ledger: Ledger) -> None:
        sources = [(b"%d/%d.jpg" % (number % 7, number), version(number)) for number in range(5_001)]
        assert ledger.add("f", iter(sources), NOW) == 5_001
        assert ledger.add("f", iter(sources), NOW) == 0
        assert sorted(ledger.parents("f")) == [b"%d" % number for number in range(7)]
        assert sum(len(ledger.known("f", parent)) for parent in ledger.parents("f")) == 5_001

    def test_one_name_in_two_folders_is_two_sources(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", folder="f")
        queue(ledger, b"a.jpg", folder="g")
        assert ledger.gone("f", [b"a.jpg"], NOW) == 1
        assert ledger.counts("f")[State.VANISHED] == 1
        assert ledger.counts("g")[State.QUEUED] == 1

    def test_a_directory_whose_name_begins_with_anothers_is_another(self, ledger: Ledger) -> None:
        queue(ledger, b"a/1.jpg", b"ab/2.jpg", b"a/b/3.jpg", b"4.jpg")
        assert {parent: set(ledger.known("f", parent)) for parent in ledger.parents("f")} == {
            b"a": {b"1.jpg"},
            b"ab": {b"2.jpg"},
            b"a/b": {b"3.jpg"},
            b"": {b"4.jpg"},
        }

    def test_a_newer_version_lets_the_one_that_was_not_sent_vanish(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg")
        assert ledger.add("f", [(b"a.jpg", version(2))], at(5)) == 1
        assert ledger.known("f", b"") == {b"a.jpg": version(2)}
        (old,) = ledger.jobs(some(State.VANISHED))
        assert (old.version, old.gone_at, old.reason) == (
            version(1),
            at(5),
            "a newer version of the source took its place",
        )
        assert [job.version for job in claim(ledger, when=at(9))] == [version(2)]

    def test_a_worker_that_holds_the_older_version_learns_that_it_is_replaced(self, ledger: Ledger) -> None:
        job = one(ledger)
        ledger.add("f", [(b"a.jpg", version(2))], at(5))
        with pytest.raises(StaleJobError, match="is vanished by now") as stale:
            send(ledger, job)
        assert stale.value.found is State.VANISHED
        assert ledger.spending().calls == 0

    @pytest.mark.parametrize("older", ["sending", "received"])
    def test_a_newer_version_waits_until_the_older_one_that_is_paid_for_is_out(
        self, ledger: Ledger, older: str
    ) -> None:
        job = send(ledger, one(ledger))
        if older == "received":
            job = receive(ledger, job)
        assert ledger.add("f", [(b"a.jpg", version(2))], at(5)) == 1
        assert claim(ledger, when=at(9)) == []
        if older == "sending":
            job = receive(ledger, job)
        ledger.record(move(job, State.DONE, at=at(10)))
        assert [old.gone_at for old in ledger.jobs(some(State.DONE))] == [at(5)]
        assert [job.version for job in claim(ledger, when=at(11))] == [version(2)]

    @pytest.mark.parametrize("settled", ["failed", "held", "in_doubt", "put aside"])
    def test_a_newer_version_takes_the_place_of_one_that_is_stuck(self, ledger: Ledger, settled: str) -> None:
        if settled == "in_doubt":
            in_doubt(ledger)
        elif settled == "held":
            ledger.record(move(one(ledger), State.HELD, at=NOW, reason="bad colour"))
        else:
            failed = fail(ledger)
            if settled == "put aside":
                ledger.record(move(failed, State.FAILED, at=at(1), is_disposed=True))
        assert ledger.add("f", [(b"a.jpg", version(2))], at(5)) == 1
        assert {state: n for state, n in ledger.counts().items() if n} == {State.QUEUED: 1, State.VANISHED: 1}
        (old,) = ledger.jobs(some(State.VANISHED))
        assert old.gone_at == (at(1) if settled == "put aside" else at(5))

    def test_a_newer_version_of_a_finished_source_leaves_the_finished_job_as_it_is(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger))
        assert ledger.add("f", [(b"a.jpg", version(2))], at(5)) == 1
        assert ledger.get(done.id) == replace(done, gone_at=at(5))

    def test_an_older_version_that_is_put_back_stands_again_and_costs_nothing(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger))
        ledger.add("f", [(b"a.jpg", version(2))], at(5))
        assert ledger.add("f", [(b"a.jpg", version(1))], at(6)) == 0
        assert ledger.known("f", b"") == {b"a.jpg": version(1)}
        assert ledger.get(done.id) == done
        assert ledger.counts()[State.QUEUED] == 0

    @pytest.mark.parametrize(
        ("state", "after"),
        [
            ("queued", State.VANISHED),
            ("claimed", State.VANISHED),
            ("held", State.VANISHED),
            ("failed", State.VANISHED),
            ("to be put aside", State.FAILED),
            ("sending", State.SENDING),
            ("received", State.RECEIVED),
            ("done", State.DONE),
            ("in_doubt", State.IN_DOUBT),
        ],
    )
    def test_a_source_that_goes_away_takes_with_it_only_what_was_not_sent(
        self, ledger: Ledger, state: str, after: State
    ) -> None:
        make = {
            "queued": lambda: queue(ledger, b"a.jpg"),
            "claimed": lambda: one(ledger),
            "held": lambda: ledger.record(move(one(ledger), State.HELD, at=NOW)),
            "failed": lambda: fail(ledger),
            "to be put aside": lambda: fail(ledger, is_disposal_due=True),
            "sending": lambda: send(ledger, one(ledger)),
            "received": lambda: receive(ledger, send(ledger, one(ledger))),
            "done": lambda: finish(ledger, one(ledger)),
            "in_doubt": lambda: in_doubt(ledger),
        }
        make[state]()
        assert ledger.gone("f", [b"a.jpg", b"never seen.jpg"], at(5)) == (after is State.VANISHED)
        (job,) = ledger.jobs()
        assert (job.state, job.gone_at) == (after, at(5))
        assert ledger.known("f", b"") == {}
        assert ledger.parents("f") == []
        assert ledger.gone("f", [b"a.jpg"], at(6)) == 0
        assert claim(ledger, when=at(9)) == []

    def test_a_refused_picture_that_we_put_aside_stays_listed_when_the_scan_misses_it(self, ledger: Ledger) -> None:
        put_aside = ledger.record(move(fail(ledger), State.FAILED, at=at(1), is_disposed=True))
        assert ledger.gone("f", [b"a.jpg"], at(5)) == 0
        assert ledger.get(put_aside.id) == put_aside

    def test_what_goes_on_although_its_source_is_gone_can_still_be_recorded(self, ledger: Ledger) -> None:
        job = send(ledger, one(ledger))
        ledger.gone("f", [b"a.jpg"], at(5))
        done = ledger.record(move(receive(ledger, job), State.DONE, at=at(6)))
        assert done.state is State.DONE
        assert ledger.get(done.id) == replace(done, gone_at=at(5))

    @pytest.mark.parametrize(
        ("before", "queued"),
        [("vanished", 1), ("failed and put aside", 1), ("done and moved", 1), ("done", 0), ("in_doubt", 0)],
    )
    def test_the_same_version_that_comes_back_is_queued_only_if_it_means_work(
        self, ledger: Ledger, before: str, queued: int
    ) -> None:
        if before == "in_doubt":
            in_doubt(ledger)
        elif before == "failed and put aside":
            ledger.record(move(fail(ledger), State.FAILED, at=NOW, is_disposed=True))
        elif before == "vanished":
            queue(ledger, b"a.jpg")
        else:
            done = finish(ledger, one(ledger), is_disposal_due=before == "done and moved")
            if before == "done and moved":
                ledger.record(move(done, State.DONE, at=NOW, is_disposal_due=False, is_disposed=True))
        ledger.gone("f", [b"a.jpg"], at(5))
        assert ledger.known("f", b"") == {}
        assert len(ledger.wanted("f", [(b"a.jpg", version())])) == queued
        assert ledger.add("f", [(b"a.jpg", version())], at(6)) == queued
        assert ledger.known("f", b"") == {b"a.jpg": version()}
        assert len(claim(ledger, when=at(7))) == queued
        job = stands(ledger)
        assert (job.gone_at, job.is_disposed) == (None, False)
        if queued:
            assert (job.enqueued_at, job.attempts, job.reason) == (at(6), 0, None)

    def test_a_source_that_we_moved_away_ourselves_is_not_known_to_stand(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger), is_disposal_due=True)
        assert ledger.known("f", b"") == {b"a.jpg": version()}
        moved = ledger.record(move(done, State.DONE, at=at(3), is_disposal_due=False, is_disposed=True))
        assert moved.gone_at == at(3)
        assert ledger.known("f", b"") == {}
        assert ledger.gone("f", [b"a.jpg"], at(4)) == 0
        assert ledger.get(done.id) == moved

    def test_a_picture_put_back_after_it_was_delivered_and_moved_still_knows_its_answer(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger), "key")
        ledger.record(move(done, State.DONE, at=NOW, is_disposed=True))
        ledger.add("f", [(b"a.jpg", version())], at(5))
        (job,) = claim(ledger, when=at(6))
        assert [(one.id, one.answer_digest, one.target) for one in ledger.answers_for("key")] == [
            (job.id, "digest of key", b"a.jpg.webp")
        ]

    def test_a_job_that_a_worker_found_vanished_is_queued_when_the_scan_sees_it_again(self, ledger: Ledger) -> None:
        ledger.record(move(one(ledger), State.VANISHED, at=at(1), reason="it changed while it was read"))
        assert ledger.known("f", b"") == {}
        assert ledger.add("f", [(b"a.jpg", version())], at(2)) == 1
        assert [job.state for job in claim(ledger, when=at(3))] == [State.QUEUED]

    def test_what_can_never_be_sent_is_failed_at_once_and_never_claimed(self, ledger: Ledger) -> None:
        told = {"reason": "it is no picture", "code": "no_picture", "at": NOW}
        assert ledger.reject("f", b"a.jpg", version(), **told) is True
        assert ledger.reject("f", b"a.jpg", version(), **told) is False
        assert claim(ledger) == []
        job = stands(ledger)
        assert (job.state, job.reason, job.code) == (State.FAILED, "it is no picture", "no_picture")
        assert ledger.known("f", b"") == {b"a.jpg": version()}
        assert ledger.add("f", [(b"a.jpg", version(2))], at(1)) == 1

    def test_rejecting_what_is_already_delivered_changes_nothing(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger))
        assert ledger.reject("f", b"a.jpg", version(), reason="no", code="no", at=at(1)) is False
        assert ledger.get(done.id) == done

    def test_unsettled_sources_are_replaced_as_a_whole_and_only_when_they_differ(self, ledger: Ledger) -> None:
        growing = Unsettled(source=b"a\xff.jpg", size_bytes=5, since_at=at(1), reason="still growing")
        cut_off = Unsettled(source=b"b.jpg", size_bytes=7, since_at=NOW, reason="its end is missing")
        assert ledger.set_unsettled("f", [growing, cut_off]) is True
        assert ledger.set_unsettled("f", [cut_off, growing]) is False
        assert ledger.set_unsettled("g", [growing]) is True
        assert ledger.unsettled("f") == [("f", cut_off), ("f", growing)]
        assert ledger.unsettled(limit=1) == [("f", cut_off)]
        assert ledger.unsettled_count() == 3
        grown = replace(growing, size_bytes=6)
        assert ledger.set_unsettled("f", [grown]) is True
        assert ledger.unsettled() == [("f", grown), ("g", growing)]
        assert ledger.set_unsettled("f", []) is True
        assert ledger.unsettled_count() == 1


class TestAClockThatWasAhead:
    def test_what_was_queued_by_a_clock_that_was_ahead_is_due_by_the_right_one_in_its_order(
        self, ledger: Ledger
    ) -> None:
        queue(ledger, b"before.jpg", when=at(-9))
        for number in range(3):
            queue(ledger, b"%d.jpg" % number, when=AHEAD + timedelta(seconds=number))
        assert [job.source for job in claim(ledger, 1)] == [b"before.jpg"]
        assert ledger.pull_in(["f"], NOW) == 3
        queue(ledger, b"after.jpg", when=at(1))
        assert ledger.next_due_at(["f"]) == NOW
        jobs = claim(ledger, when=at(1))
        assert [job.source for job in jobs] == [b"0.jpg", b"1.jpg", b"2.jpg", b"after.jpg"]
        assert {(job.enqueued_at, job.changed_at) for job in jobs[:3]} == {(NOW, NOW)}
        assert ledger.pull_in(["f"], NOW) == 0

    @pytest.mark.parametrize(
        ("changed_at", "retry_at", "is_due"),
        [
            (at(-1), at(60), False),
            (at(-1), at(3600), False),
            (at(1), at(60), False),
            (at(3600), at(3660), True),
            (at(-1), AHEAD, True),
            (AHEAD, AHEAD + timedelta(seconds=5), True),
            (AHEAD, at(0), True),
        ],
        ids=[
            "soon", "in an hour", "by a thread that read the clock just after us", "by a clock an hour ahead",
            "longer than anything waits", "by a clock a year ahead", "by a clock a year ahead, and over",
        ],
    )  # fmt: skip
    def test_a_wait_that_no_right_clock_set_is_over(
        self, ledger: Ledger, changed_at: datetime, retry_at: datetime, is_due: bool
    ) -> None:
        ledger.record(move(one(ledger), State.QUEUED, at=changed_at, retry_at=retry_at, attempts=3))
        ledger.pull_in(["f"], NOW)
        assert [job.attempts for job in claim(ledger)] == [3] * is_due

    def test_paid_answers_wait_for_no_wrong_clock_either_and_other_folders_are_left_alone(self, ledger: Ledger) -> None:
        received = receive(ledger, send(ledger, one(ledger)))
        ledger.record(move(received, State.RECEIVED, at=AHEAD, retry_at=AHEAD), keeps_claim=False)
        queue(ledger, b"b.jpg", folder="g", when=AHEAD)
        assert ledger.pull_in(["f"], NOW) == 1
        assert len(claim(ledger, state=State.RECEIVED)) == 1
        assert ledger.next_due_at(["g"]) == AHEAD

    def test_a_job_that_is_worked_on_while_the_clock_is_set_back_comes_back_like_the_others(
        self, ledger: Ledger
    ) -> None:
        queue(ledger, b"a.jpg", b"b.jpg", when=AHEAD)
        first, second = claim(ledger, when=AHEAD)
        assert ledger.pull_in(["f"], NOW) == 0
        ledger.record(move(first, State.QUEUED, at=NOW))
        ledger.release([second])
        assert ledger.pull_in(["f"], NOW) == 2
        assert [job.source for job in claim(ledger)] == [b"a.jpg", b"b.jpg"]

    def test_a_call_made_by_a_clock_that_was_ahead_counts_for_the_day_on_which_that_is_seen(
        self, ledger: Ledger
    ) -> None:
        queue(ledger, b"a.jpg", b"b.jpg")
        first, second = claim(ledger)
        receive(ledger, send(ledger, first, when=AHEAD), when=AHEAD)
        send(ledger, second, when=at(1))
        assert ledger.spending(since=NOW + timedelta(days=1)).calls == 1
        ledger.pull_in([], NOW)
        assert ledger.spending(since=NOW + timedelta(days=1)).calls == 0
        assert (ledger.spending(since=NOW).calls, ledger.spending().charged) == (2, 1)

    def test_what_came_after_a_call_is_counted_whatever_the_clock_said(self, ledger: Ledger) -> None:
        assert ledger.last_call() == 0
        finish(ledger, one(ledger))
        last = ledger.last_call()
        receive(ledger, send(ledger, one(ledger, b"b.jpg"), when=at(-9999)), when=at(-9999))
        assert [ledger.spending(after_call=call).charged for call in (0, last, ledger.last_call())] == [2, 1, 0]


class TestClaims:
    def test_the_oldest_goes_first_and_nobody_gets_it_twice(self, ledger: Ledger) -> None:
        for number in (3, 1, 2):
            queue(ledger, b"%d.jpg" % number, when=at(number))
        assert [job.source for job in claim(ledger, 2, when=at(9))] == [b"1.jpg", b"2.jpg"]
        assert [job.source for job in claim(ledger, 2, when=at(9))] == [b"3.jpg"]
        assert claim(ledger, when=at(9)) == []

    def test_a_job_is_not_claimed_before_its_time(self, ledger: Ledger) -> None:
        ledger.record(move(one(ledger), State.QUEUED, at=at(1), retry_at=at(60), attempts=1, reason="503"))
        assert claim(ledger, when=at(59.999999)) == []
        assert ledger.next_due_at(["f", "g"]) == at(60)
        (job,) = claim(ledger, when=at(60))
        assert (job.attempts, job.reason) == (1, "503")
        assert ledger.next_due_at(["f"]) is None

    def test_a_job_whose_time_came_stands_where_its_time_puts_it(self, ledger: Ledger) -> None:
        ledger.record(move(one(ledger, b"later.jpg"), State.QUEUED, at=at(1), retry_at=at(5)))
        queue(ledger, b"before.jpg", when=at(4))
        queue(ledger, b"after.jpg", when=at(6))
        assert [job.source for job in claim(ledger, when=at(9))] == [b"before.jpg", b"later.jpg", b"after.jpg"]

    def test_folders_take_turns_and_the_first_turn_goes_round(self, ledger: Ledger) -> None:
        for folder in "abc":
            queue(ledger, *[b"%d.jpg" % number for number in range(4)], folder=folder)
        firsts = [claim(ledger, 1, folders="a b c")[0].folder for _ in range(6)]
        assert sorted(firsts) == list("aabbcc")
        assert sorted(job.folder for job in claim(ledger, 6, folders="a b c")) == list("aabbcc")

    def test_what_one_folder_does_not_need_the_others_get(self, ledger: Ledger) -> None:
        queue(ledger, b"1.jpg", folder="small")
        queue(ledger, *[b"%d.jpg" % number for number in range(9)], folder="large")
        assert len(claim(ledger, 8, folders="small empty large")) == 8

    def test_a_higher_priority_goes_first_and_equal_ones_share(self, ledger: Ledger) -> None:
        for folder in ("low", "high", "high too"):
            queue(ledger, *[b"%d.jpg" % number for number in range(3)], folder=folder)
        turns = [Turn("low", priority=-1), Turn("high", priority=5), Turn("high too", priority=5)]
        claimed = ledger.claim(8, at=NOW, run_id="run", turns=turns)
        assert sorted(job.folder for job in claimed[:6]) == ["high"] * 3 + ["high too"] * 3
        assert [job.folder for job in claimed[6:]] == ["low"] * 2

    def test_a_folder_gets_no_more_than_its_budget_leaves(self, ledger: Ledger) -> None:
        for folder in ("a", "b"):
            queue(ledger, *[b"%d.jpg" % number for number in range(5)], folder=folder)
        claimed = ledger.claim(8, at=NOW, run_id="run", turns=[Turn("a", at_most=1), Turn("b", at_most=0)])
        assert [job.folder for job in claimed] == ["a"]

    def test_what_is_paid_for_is_delivered_whatever_the_budget_leaves(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", folder="a")
        [job] = claim(ledger, folders="a")
        ledger.release([receive(ledger, send(ledger, job))])
        claimed = ledger.claim(8, at=NOW, run_id="run", turns=[Turn("a", at_most=0)], state=State.RECEIVED)
        assert [job.folder for job in claimed] == ["a"]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_nothing_is_claimed_where_nothing_is_wanted(self, ledger: Ledger, limit: int) -> None:
        queue(ledger, b"a.jpg")
        assert claim(ledger, limit) == []
        assert ledger.claim(5, at=NOW, run_id="run", turns=[]) == []

    def test_a_folder_that_is_not_named_keeps_its_jobs(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", folder="no longer configured")
        assert claim(ledger) == []
        assert ledger.counts()[State.QUEUED] == 1

    def test_released_jobs_are_where_they_were(self, ledger: Ledger) -> None:
        for number in range(4):
            queue(ledger, b"%d.jpg" % number, when=at(number))
        jobs = claim(ledger, 3, when=at(9))
        assert ledger.release(jobs[:2]) == 2
        assert ledger.release([]) == 0
        assert [job.source for job in claim(ledger, when=at(9))] == [b"0.jpg", b"1.jpg", b"3.jpg"]

    def test_a_released_job_still_waits_for_its_time(self, ledger: Ledger) -> None:
        ledger.record(move(one(ledger), State.QUEUED, at=NOW, retry_at=at(5)))
        ledger.release(claim(ledger, when=at(6)))
        assert claim(ledger, when=at(4)) == []
        assert len(claim(ledger, when=at(5))) == 1

    def test_releasing_what_is_finished_puts_nothing_in_line(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger))
        assert ledger.release([done]) == 0
        assert claim(ledger) == []
        assert claim(ledger, state=State.DONE) == []

    def test_a_worker_keeps_its_claim_until_the_answer_is_out(self, ledger: Ledger) -> None:
        job = send(ledger, one(ledger))
        received = receive(ledger, job)
        assert claim(ledger, state=State.RECEIVED) == []
        waiting = move(received, State.RECEIVED, at=at(1), reason="disk full", retry_at=at(30))
        waiting = ledger.record(waiting, keeps_claim=False)
        assert claim(ledger, state=State.RECEIVED, when=at(29)) == []
        assert ledger.next_due_at(["f"], State.RECEIVED) == at(30)
        assert claim(ledger, state=State.RECEIVED, when=at(30)) == [waiting]

    def test_a_worker_may_keep_a_job_that_it_sends_again_at_once(self, ledger: Ledger) -> None:
        job = send(ledger, one(ledger), "key")
        job = ledger.record(move(job, State.QUEUED, at=at(1)), call=FREE, keeps_claim=True)
        assert claim(ledger, when=at(2)) == []
        assert ledger.next_due_at(["f"]) is None
        assert send(ledger, job, "key", when=at(3)).state is State.SENDING
        assert ledger.spending() == Spending(
            calls=2, doubtful=ONE, in_doubt=1, under_way=1, under_way_credits=ONE, refused=1
        )


class TestRecords:
    def test_every_field_of_a_job_comes_back_as_it_was(self, home: Home, ledger: Ledger) -> None:
        job = send(ledger, one(ledger), "key")
        full = move(
            job,
            State.FAILED,
            at=at(1.000001),
            attempts=2,
            doubts=3,
            retry_at=at(9.999999),
            answer_digest="d",
            answer_bytes=2**40,
            target=b"\xff.webp",
            reason="too wide",
            code="too_wide",
            field="image",
            request_id="r-1",
            is_disposal_due=True,
        )
        stored = ledger.record(full, call=CallEnd(Charge.MAYBE, Decimal("0.000000001"), "odd"))
        assert stored == replace(full, charged=Decimal("0.000000001"), revision=job.revision + 1)
        assert ledger.get(job.id) == stored
        assert reopened(home, ledger).get(job.id) == stored

    @pytest.mark.parametrize(
        ("told", "kept"),
        [
            pytest.param("Größe 😀", "Größe 😀", id="beyond ASCII"),
            pytest.param(f"cannot open {os.fsdecode(b'x' + bytes([0xFF]))}", "cannot open x\\udcff", id="no UTF-8"),
            pytest.param("a\0b", "a\\x00b", id="a zero"),
            pytest.param("", "", id="empty"),
            pytest.param("x" * 100_000, "x" * 100_000, id="long"),
        ],
    )
    def test_a_reason_may_quote_anything(self, ledger: Ledger, told: str, kept: str) -> None:
        job = fail(ledger, code=told, field=told, request_id=told)
        ledger.record(move(job, State.FAILED, at=NOW, reason=told))
        found = stands(ledger)
        assert (found.reason, found.code, found.field, found.request_id) == (kept, kept, kept, kept)

    def test_a_moment_without_a_zone_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match="has no time zone"):
            ledger.add("f", [(b"a.jpg", version())], NOW.replace(tzinfo=None))
        assert ledger.counts()[State.QUEUED] == 0

    def test_credits_finer_than_can_be_stored_are_refused_not_rounded(self, ledger: Ledger) -> None:
        job = with_content(one(ledger), "key")
        with pytest.raises(ValueError, match="finer than a billionth"):
            ledger.record(move(job, State.SENDING, at=NOW), call=CallStart(Decimal("1e-10")))
        assert ledger.get(job.id) == replace(job, content_key=None)

    def test_who_is_behind_cannot_record(self, ledger: Ledger) -> None:
        job = one(ledger)
        sent = send(ledger, job)
        with pytest.raises(StaleJobError, match="is sending by now"):
            ledger.record(move(job, State.HELD, at=at(1)))
        assert ledger.get(job.id) == sent

    def test_a_job_that_is_not_there_cannot_be_recorded(self, ledger: Ledger) -> None:
        job = one(ledger)
        with pytest.raises(StaleJobError, match="is not in the ledger any more") as stale:
            ledger.record(replace(move(job, State.HELD, at=at(1)), id=job.id + 99))
        assert stale.value.found is None

    def test_a_way_that_the_table_does_not_know_is_refused_against_what_is_stored(self, ledger: Ledger) -> None:
        job = one(ledger)
        with pytest.raises(IllegalTransitionError, match="queued in the ledger cannot become in_doubt"):
            ledger.record(replace(job, state=State.IN_DOUBT), call=DOUBT)
        assert ledger.get(job.id) == job

    def test_a_record_that_is_refused_leaves_nothing_behind(self, ledger: Ledger) -> None:
        job = one(ledger)
        with pytest.raises(IllegalTransitionError):
            ledger.record(replace(job, state=State.IN_DOUBT), names=[b"a.webp"])
        assert ledger.target("f", b"a.webp") is None

    @pytest.mark.parametrize(
        ("state", "call", "complaint"),
        [
            pytest.param(State.SENDING, None, "a call starts with state sending", id="sending without a call"),
            pytest.param(State.SENDING, PAID, "a call starts with state sending", id="sending with an end"),
            pytest.param(State.HELD, CallStart(ONE), "a call starts with state sending", id="a start elsewhere"),
            pytest.param(State.HELD, PAID, "made no call that could end", id="an end without a start"),
        ],
    )
    def test_what_is_said_about_calls_has_to_fit_the_state(
        self, ledger: Ledger, state: State, call: Any, complaint: str
    ) -> None:
        job = with_content(one(ledger), "key")
        with pytest.raises(ValueError, match=complaint):
            ledger.record(move(job, state, at=NOW), call=call)
        assert ledger.spending().calls == 0

    def test_who_leaves_sending_says_what_it_cost(self, ledger: Ledger) -> None:
        sent = send(ledger, one(ledger))
        with pytest.raises(ValueError, match="say what the call came to"):
            ledger.record(move(sent, State.QUEUED, at=NOW))

    def test_nothing_is_sent_before_its_content_is_known(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match="before its content is known"):
            ledger.record(move(one(ledger), State.SENDING, at=NOW), call=CallStart(ONE))

    def test_the_same_content_is_never_sent_twice_at_once(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", b"copy.jpg")
        first, second = claim(ledger)
        sent = send(ledger, first, "same")
        with pytest.raises(SendingTwiceError) as twice:
            send(ledger, second, "same")
        assert twice.value.other_id == first.id
        assert ledger.spending().calls == 1
        assert not ledger.is_waiting_to_publish("same")
        receive(ledger, sent)
        assert ledger.is_waiting_to_publish("same")
        assert not ledger.is_waiting_to_publish("other")


class TestBooks:
    def test_credits_of_jobs_and_calls_are_the_same_sum(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(4)])
        paid, refused, doubtful, under_way = claim(ledger)
        finish(ledger, paid)
        ledger.record(move(send(ledger, refused), State.FAILED, at=NOW), call=FREE)
        ledger.record(move(send(ledger, doubtful), State.IN_DOUBT, at=NOW), call=DOUBT)
        send(ledger, under_way)
        assert ledger.spending() == Spending(
            calls=4,
            charged=ONE,
            doubtful=Decimal(2),
            in_doubt=2,
            under_way=1,
            under_way_credits=ONE,
            refused=1,
        )
        assert ledger.spending().booked == 3
        assert sum(job.charged for job in ledger.jobs()) == 2

    def test_prices_of_a_fraction_add_up_exactly(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(10)])
        for job in claim(ledger):
            sending = move(with_content(job, f"k{job.id}"), State.SENDING, at=NOW)
            sent = ledger.record(sending, call=CallStart(Decimal("0.1")))
            ledger.record(move(sent, State.RECEIVED, at=NOW), call=CallEnd(Charge.YES, Decimal("0.1")))
        assert ledger.spending().charged == 1
        assert str(ledger.spending().charged) == "1"

    def test_a_day_and_a_folder_have_their_own_sums(self, ledger: Ledger) -> None:
        midnight = datetime(2026, 11, 23, tzinfo=UTC)
        for folder, when in (("a", midnight - timedelta(microseconds=1)), ("a", midnight), ("b", midnight)):
            source = f"{folder}-{when.timestamp()}.jpg".encode()
            queue(ledger, source, folder=folder)
            (job,) = claim(ledger, folders=folder)
            receive(ledger, send(ledger, job, when=when))
        assert ledger.spending().charged == 3
        assert ledger.spending(midnight).charged == 2
        assert ledger.spending(midnight, folders=["a"]).charged == 1
        assert ledger.spending(None, midnight).charged == 1
        assert ledger.spending(midnight + timedelta(days=1)) == Spending()

    def test_a_call_made_again_after_a_doubtful_one_is_counted_as_double(self, ledger: Ledger) -> None:
        doubtful = in_doubt(ledger, key="same")
        again = ledger.record(move(doubtful, State.QUEUED, at=NOW))
        refused = ledger.record(move(send(ledger, again, "same"), State.QUEUED, at=NOW), call=FREE)
        assert ledger.spending().doubles == 0
        done = receive(ledger, send(ledger, refused, "same"))
        assert ledger.spending() == Spending(calls=3, charged=ONE, doubtful=ONE, in_doubt=1, refused=1, doubles=1)
        assert done.charged == 2

    def test_a_call_for_what_was_surely_paid_before_is_counted_as_repeated(self, ledger: Ledger) -> None:
        finish(ledger, one(ledger), "same")
        receive(ledger, send(ledger, one(ledger, b"copy.jpg"), "same"))
        assert (ledger.spending().repeats, ledger.spending().doubles) == (1, 0)

    def test_a_doubt_among_earlier_calls_outweighs_a_paid_one(self, ledger: Ledger) -> None:
        finish(ledger, one(ledger), "same")
        again = ledger.record(move(in_doubt(ledger, b"b.jpg", "same"), State.QUEUED, at=NOW))
        receive(ledger, send(ledger, again, "same"))
        assert (ledger.spending().repeats, ledger.spending().doubles) == (1, 1)

    @pytest.mark.parametrize(
        ("truth", "sums"),
        [
            pytest.param(
                CallEnd(Charge.NO), Spending(calls=2, charged=ONE, refused=1), id="it was not billed: no double"
            ),
            pytest.param(PAID, Spending(calls=2, charged=Decimal(2), repeats=1), id="it was billed: surely paid twice"),
        ],
    )
    def test_a_doubt_that_is_resolved_later_sets_the_books_right(
        self, ledger: Ledger, truth: CallEnd, sums: Spending
    ) -> None:
        doubtful = in_doubt(ledger, key="same")
        queue(ledger, b"copy.jpg", folder="later")
        receive(ledger, send(ledger, claim(ledger, folders="later")[0], "same"))
        assert ledger.spending().doubles == ledger.spending(folders=["later"]).doubles == 1
        settled = ledger.record(move(doubtful, State.IN_DOUBT, at=at(5), doubts=0), call=truth)
        assert settled.charged == truth.booked
        assert ledger.spending() == sums
        assert ledger.spending(folders=["later"]).repeats == sums.repeats

    def test_an_answer_that_turns_out_to_be_no_picture_is_in_doubt_again(self, ledger: Ledger) -> None:
        received = receive(ledger, send(ledger, one(ledger)))
        bad = ledger.record(move(received, State.IN_DOUBT, at=NOW, doubts=1), call=DOUBT)
        assert bad.charged == ONE
        assert ledger.spending() == Spending(calls=1, doubtful=ONE, in_doubt=1)


class TestRecovery:
    def test_after_a_crash_only_what_was_being_sent_is_in_doubt(self, home: Home, ledger: Ledger) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(5)])
        claimed, sending, received, done = claim(ledger, 4)
        sent = send(ledger, sending)
        paid = receive(ledger, send(ledger, received))
        finish(ledger, done)
        ledger = reopened(home, ledger)
        found = ledger.recover(at(60))
        assert (found.crashed, found.received, found.claims) == (1, 1, 2)
        (doubtful,) = found.in_doubt
        assert doubtful == replace(
            sent,
            state=State.IN_DOUBT,
            changed_at=at(60),
            doubts=1,
            charged=ONE,
            reason="the program ended while this was being sent; whether it was charged is not known",
            code="crash",
            revision=sent.revision + 1,
        )
        assert claim(ledger, when=at(61), state=State.RECEIVED) == [paid]
        assert [job.source for job in claim(ledger, when=at(61))] == [claimed.source, b"4.jpg"]
        assert ledger.spending() == Spending(calls=3, charged=Decimal(2), doubtful=ONE, in_doubt=1)
        ledger.close()

    def test_a_doubt_that_nobody_decided_before_the_next_crash_is_found_again(self, ledger: Ledger) -> None:
        send(ledger, one(ledger))
        ledger.recover(at(1))
        found = ledger.recover(at(2))
        assert (found.crashed, [job.changed_at for job in found.in_doubt]) == (0, [at(1)])

    def test_recovering_a_clean_ledger_does_nothing(self, ledger: Ledger) -> None:
        found = ledger.recover(NOW)
        assert (found.in_doubt, found.crashed, found.received, found.claims) == ((), 0, 0, 0)

    def test_a_doubtful_job_whose_answer_lies_in_the_spool_is_received_and_paid(self, ledger: Ledger) -> None:
        send(ledger, one(ledger), "key")
        (doubtful,) = ledger.recover(at(1)).in_doubt
        found = move(doubtful, State.RECEIVED, at=at(2), doubts=0, answer_digest="d")
        ledger.record(found, call=PAID, keeps_claim=False)
        assert ledger.spending() == Spending(calls=1, charged=ONE)
        assert [job.charged for job in claim(ledger, state=State.RECEIVED, when=at(3))] == [ONE]

    def test_paid_answers_that_a_folder_did_not_take_can_be_hurried_but_not_those_that_never_will_be(
        self, ledger: Ledger
    ) -> None:
        queue(ledger, b"full.jpg", b"name.jpg", b"fresh.jpg")
        for number, (job, code) in enumerate(zip(claim(ledger), ("full", "name", None), strict=True)):
            received = receive(ledger, send(ledger, job, f"key {number}"))
            waiting = move(received, State.RECEIVED, at=NOW, retry_at=at(15) if code else None, code=code)
            ledger.record(waiting, keeps_claim=False)
        assert ledger.is_undelivered("f", but={"name"})
        assert not ledger.is_undelivered("g")
        assert [job.source for job in claim(ledger, state=State.RECEIVED)] == [b"fresh.jpg"]
        assert ledger.hurry("f", NOW, but={"name"}) == 1
        (full,) = claim(ledger, state=State.RECEIVED)
        assert full.source == b"full.jpg"
        ledger.record(move(full, State.DONE, at=NOW))
        assert ledger.is_undelivered("f", but={"name"}), "the fresh one is under way"
        assert not ledger.is_undelivered("f", but={"name", ""})

    @pytest.mark.parametrize("state", [State.FAILED, State.HELD, State.IN_DOUBT])
    def test_a_person_puts_back_in_line_what_is_stuck(self, ledger: Ledger, state: State) -> None:
        if state is State.IN_DOUBT:
            job = in_doubt(ledger)
        else:
            job = ledger.record(
                move(one(ledger), state, at=NOW, attempts=5, retry_at=at(99), reason="r", code="c", field="w")
            )
        assert ledger.retry(Which(), at(5)) == 1
        assert claim(ledger, when=at(5)) == [
            replace(
                job,
                state=State.QUEUED,
                changed_at=at(5),
                attempts=0,
                retry_at=None,
                reason=None,
                code=None,
                field=None,
                revision=job.revision + 1,
            )
        ]

    def test_retry_means_only_the_jobs_that_it_names(self, ledger: Ledger) -> None:
        for name in (b"shoot 1/a.jpg", b"shoot 1/sub/b.jpg", b"shoot 2/a.jpg", b"shoot 2/\xff.jpg"):
            fail(ledger, name)
        assert ledger.retry(Which(pattern="shoot 1/*"), at(1)) == 2
        assert ledger.retry(Which(pattern="*/a.jpg", folders=frozenset({"other"})), at(1)) == 0
        assert ledger.retry(Which(pattern="*/[a-z].JPG"), at(1)) == 0
        assert ledger.retry(Which(states=frozenset({State.HELD})), at(1)) == 0
        assert ledger.retry(Which(pattern=os.fsdecode(b"*/\xff.jpg")), at(1)) == 1
        (left,) = ledger.jobs(some(State.FAILED))
        assert ledger.retry(Which(ids=frozenset({left.id})), at(1)) == 1

    @pytest.mark.parametrize("state", [State.DONE, State.QUEUED, State.VANISHED, State.SENDING])
    def test_retry_leaves_alone_what_is_not_stuck(self, ledger: Ledger, state: State) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(4)])
        done, sending, vanished, _ = claim(ledger)
        finish(ledger, done)
        send(ledger, sending)
        ledger.record(move(vanished, State.VANISHED, at=NOW))
        before = ledger.counts()
        assert ledger.retry(Which(states=frozenset({state})), at(1)) == 0
        assert ledger.counts() == before

    def test_retry_does_not_queue_what_is_not_there_any_more(self, ledger: Ledger) -> None:
        ledger.record(move(fail(ledger), State.FAILED, at=NOW, is_disposed=True))
        assert ledger.retry(Which(), at(1)) == 0
        assert ledger.counts()[State.FAILED] == 1

    def test_the_held_jobs_of_one_folder_go_on_when_its_options_change(self, ledger: Ledger) -> None:
        for folder in "ab":
            queue(ledger, *[b"%d.jpg" % number for number in range(2_500)], folder=folder)
            for job in claim(ledger, 2_500, folders=folder)[:3]:
                ledger.record(move(job, State.HELD, at=NOW))
        assert ledger.retry(Which(states=frozenset({State.HELD}), folders=frozenset({"a"})), at(1)) == 3
        assert (ledger.counts("a")[State.HELD], ledger.counts("b")[State.HELD]) == (0, 3)


class TestAnswersAndNames:
    def test_the_likeliest_answer_comes_first(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(4)])
        first, second, third, fourth = claim(ledger)
        finish(ledger, first, "key")
        newer = finish(ledger, second, "key")
        waiting = receive(ledger, send(ledger, third, "key"))
        finish(ledger, fourth, "another key")
        assert [job.id for job in ledger.answers_for("key")] == [waiting.id, newer.id, first.id]
        assert ledger.answers_for("unheard of") == []

    def test_the_sizes_of_answered_sources_are_told(self, ledger: Ledger) -> None:
        assert ledger.answered_sizes() == frozenset()
        job = one(ledger)
        assert ledger.answered_sizes() == frozenset()
        finish(ledger, job)
        assert ledger.answered_sizes() == {version().size_bytes}

    def test_a_call_that_failed_is_no_answer(self, ledger: Ledger) -> None:
        in_doubt(ledger, key="key")
        assert ledger.answers_for("key") == []

    def test_the_best_name_goes_to_who_comes_first_and_stays_his(self, home: Home, ledger: Ledger) -> None:
        names = {b"IMG_1.jpg": [b"IMG_1.webp", b"IMG_1.jpg.webp"], b"IMG_1.png": [b"IMG_1.webp", b"IMG_1.png.webp"]}
        assert [ledger.claim_target("f", source, offered, NOW) for source, offered in names.items()] == [
            b"IMG_1.webp",
            b"IMG_1.png.webp",
        ]
        ledger = reopened(home, ledger)
        assert ledger.claim_target("f", b"IMG_1.png", names[b"IMG_1.png"], NOW) == b"IMG_1.png.webp"
        assert ledger.claim_target("f", b"IMG_1.jpg", names[b"IMG_1.jpg"], NOW) == b"IMG_1.webp"
        assert ledger.claim_target("g", b"IMG_1.png", names[b"IMG_1.png"], NOW) == b"IMG_1.webp"
        ledger.close()

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            pytest.param(b"IMG_1.webp", b"img_1.WEBP", id="case"),
            pytest.param("é.webp".encode(), unicodedata.normalize("NFD", "é.webp").encode(), id="NFC and NFD"),
            pytest.param("É.webp".encode(), unicodedata.normalize("NFD", "é.webp").encode(), id="case and form"),
            pytest.param("straße.webp".encode(), b"STRASSE.webp", id="sharp s"),
            pytest.param(b"x\xff.webp", b"X\xff.webp", id="case beside no UTF-8"),
            pytest.param("ǰ\u0323.webp".encode(), "J\u0323\u030c.webp".encode(), id="two marks in another order"),
        ],
    )
    def test_names_that_a_mac_takes_for_one_are_one(self, ledger: Ledger, mine: bytes, theirs: bytes) -> None:
        ledger.claim_target("f", b"a.jpg", [mine], NOW)
        assert ledger.claim_target("f", b"b.jpg", [theirs, b"other.webp"], NOW) == b"other.webp"
        assert ledger.claim_target("f", b"a.jpg", [theirs], NOW) == mine
        found = ledger.target("f", theirs)
        assert found is not None
        assert found.source == b"a.jpg"

    def test_bytes_that_are_no_utf8_do_not_become_the_same(self, ledger: Ledger) -> None:
        assert ledger.claim_target("f", b"a.jpg", [b"\xff.webp"], NOW) == b"\xff.webp"
        assert ledger.claim_target("f", b"b.jpg", [b"\xfe.webp"], NOW) == b"\xfe.webp"
        assert ledger.claim_target("f", b"c.jpg", ["\ufffd.webp".encode()], NOW) == "\ufffd.webp".encode()

    def test_another_format_is_another_name_of_the_same_source(self, ledger: Ledger) -> None:
        for name in (b"a.webp", b"a.png"):
            assert ledger.claim_target("f", b"a.jpg", [name], NOW) == name
        owned = [ledger.target("f", name) for name in (b"a.webp", b"a.png")]
        assert [one and one.source for one in owned] == [b"a.jpg", b"a.jpg"]

    def test_a_name_that_is_given_back_is_free(self, ledger: Ledger) -> None:
        ledger.claim_target("f", b"a.jpg", [b"a.webp"], NOW)
        assert ledger.release_target("f", b"b.jpg", b"a.webp") is False
        assert ledger.release_target("f", b"a.jpg", b"A.webp") is True
        assert ledger.claim_target("f", b"b.jpg", [b"a.webp"], NOW) == b"a.webp"

    def test_who_finds_no_name_is_told_and_nothing_is_stored(self, ledger: Ledger) -> None:
        ledger.claim_target("f", b"a.jpg", [b"a.webp"], NOW)
        with pytest.raises(TargetsTakenError, match=r"'b\.jpg' in folder 'f'"):
            ledger.claim_target("f", b"b.jpg", [b"a.webp"], NOW)
        with pytest.raises(TargetsTakenError):
            ledger.claim_target("f", b"b.jpg", iter(()), NOW)

    def test_endless_candidates_are_looked_at_only_so_far(self, ledger: Ledger) -> None:
        ledger.claim_target("f", b"a.jpg", [b"a.webp"], NOW)
        with pytest.raises(TargetsTakenError):
            ledger.claim_target("f", b"b.jpg", (b"a.webp" for _ in count()), NOW)
        numbered = (b"a.webp" if number == 0 else b"a-%d.webp" % number for number in count())
        assert ledger.claim_target("f", b"b.jpg", numbered, NOW) == b"a-1.webp"

    def test_a_job_gets_the_name_its_source_has_even_when_a_better_one_became_free(self, ledger: Ledger) -> None:
        ledger.claim_target("f", b"a.jpg", [b"a.jpg.webp"], NOW)
        received = receive(ledger, send(ledger, one(ledger)), names=[b"a.webp", b"a.jpg.webp"])
        assert received.target == b"a.jpg.webp"

    def test_what_stands_under_a_name_is_recorded_with_the_job(self, ledger: Ledger) -> None:
        received = receive(ledger, send(ledger, one(ledger)), names=[b"A.webp"])
        assert received.target == b"A.webp"
        published = Target(
            folder="f", target=b"A.webp", source=b"a.jpg", digest="d", size_bytes=5, mtime_ns=2**70, inode=2**64 - 1
        )
        ledger.record(move(received, State.DONE, at=NOW), published=published)
        assert ledger.target("f", b"a.WEBP") == published

    def test_who_publishes_under_a_name_of_another_is_refused_and_not_done(self, ledger: Ledger) -> None:
        ledger.claim_target("f", b"b.jpg", [b"a.webp"], NOW)
        received = receive(ledger, send(ledger, one(ledger)))
        with pytest.raises(TargetsTakenError):
            ledger.record(
                move(received, State.DONE, at=NOW),
                published=Target(folder="f", target=b"a.webp", source=b"a.jpg", digest="d"),
            )
        assert ledger.get(received.id) == received

    def test_what_stands_of_the_other_versions_of_a_source_is_known(self, ledger: Ledger) -> None:
        def made(job: int, name: str, state: MadeState = MadeState.STANDING) -> Made:
            return Made(job_id=job, name=name, recipe_digest="r", state=state, made_at=NOW, target=name.encode())

        older = finish(ledger, one(ledger)).id
        other = finish(ledger, one(ledger, b"b.jpg")).id
        ledger.add("f", [(b"a.jpg", version(2))], at(5))
        newer = stands(ledger).id
        for row in (made(older, "x"), made(older, "y", MadeState.FAILED), made(newer, "x"), made(other, "x")):
            ledger.record_made(row)
        assert ledger.made_of_others("f", b"a.jpg", newer) == [made(older, "x")]
        assert ledger.made_of_others("f", b"a.jpg", older) == [made(newer, "x")]
        assert ledger.made_of_others("g", b"a.jpg", newer) == []


class TestLooking:
    def test_counts_name_every_state_even_without_a_job(self, ledger: Ledger) -> None:
        assert ledger.counts() == dict.fromkeys(State, 0)
        assert ledger.counts("nobody") == dict.fromkeys(State, 0)
        queue(ledger, b"a.jpg", b"b.jpg", folder="x")
        finish(ledger, claim(ledger, 1, folders="x")[0])
        assert ledger.counts_by_folder() == {
            "x": {**dict.fromkeys(State, 0), State.QUEUED: 1, State.DONE: 1},
        }

    def test_jobs_come_last_changed_first_and_as_many_as_wanted(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%04d.jpg" % number for number in range(1_201)])
        changed = claim(ledger, 3)
        for second, job in enumerate(changed):
            ledger.record(move(job, State.HELD, at=at(10 + second)))
        assert [job.id for job in ledger.jobs(limit=3)] == [job.id for job in reversed(changed)]
        assert len(list(ledger.jobs())) == 1_201
        assert len({job.id for job in ledger.jobs(Which(pattern="0*.jpg"))}) == 1_000
        assert len(list(ledger.jobs(Which(pattern="*7.jpg"), limit=5))) == 5
        assert list(ledger.jobs(Which(since=at(11)))) == list(ledger.jobs(some(State.HELD), limit=2))

    def test_a_slow_reader_of_a_long_list_holds_up_nobody(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%04d.jpg" % number for number in range(1_001)])
        reader = ledger.jobs()
        first = next(reader)
        assert len(claim(ledger, 1_001)) == 1_001
        ledger.gone("f", [first.source], at(1))
        assert len(list(reader)) == 1_000

    def test_the_backlog_says_how_much_how_old_and_how_much_of_it_waits(self, ledger: Ledger) -> None:
        assert ledger.backlog(NOW) == Backlog(jobs=0, size_bytes=0, waiting=0, oldest_at=None)
        queue(ledger, b"a.jpg", when=at(1))
        queue(ledger, b"b.jpg", when=at(2), folder="g")
        (job,) = claim(ledger, when=at(3))
        ledger.record(move(job, State.QUEUED, at=at(3), retry_at=at(60)))
        assert ledger.backlog(at(4)) == Backlog(jobs=2, size_bytes=2002, waiting=1, oldest_at=at(1))
        assert ledger.backlog(at(60), ["g"]) == Backlog(jobs=1, size_bytes=1001, waiting=0, oldest_at=at(2))

    def test_what_was_finished_lately_is_counted(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", b"b.jpg", b"c.jpg")
        first, second, third = claim(ledger)
        finish(ledger, first)
        ledger.record(move(second, State.FAILED, at=at(60)))
        ledger.record(move(third, State.VANISHED, at=at(59)))
        assert ledger.finished(at(60)) == {State.DONE: 0, State.FAILED: 1, State.VANISHED: 0}
        assert ledger.finished(NOW) == {State.DONE: 1, State.FAILED: 1, State.VANISHED: 1}

    def test_sources_that_a_crash_left_where_they_were_are_found(self, ledger: Ledger) -> None:
        done = finish(ledger, one(ledger), is_disposal_due=True)
        failed = fail(ledger, b"b.jpg", is_disposal_due=True)
        finish(ledger, one(ledger, b"c.jpg"))
        assert ledger.to_dispose_of(["f"]) == [done, failed]
        assert ledger.to_dispose_of(["other"]) == []
        ledger.record(move(done, State.DONE, at=NOW, is_disposal_due=False, is_disposed=True), is_durable=False)
        assert ledger.to_dispose_of(["f"]) == [failed]

    def test_the_length_of_the_queue_is_told_for_all_folders_or_some(self, ledger: Ledger) -> None:
        queue(ledger, b"a.jpg", b"b.jpg")
        queue(ledger, b"a.jpg", folder="g")
        send(ledger, claim(ledger, 1)[0])
        assert (ledger.queued(), ledger.queued(["f"]), ledger.queued(["g", "h"]), ledger.queued(["h"])) == (2, 1, 1, 0)

    def test_a_job_that_is_not_there_is_none(self, ledger: Ledger) -> None:
        assert ledger.get(1) is None
        assert ledger.find("f", b"a.jpg") is None

    @pytest.mark.parametrize("is_durable", [True, False])
    @pytest.mark.parametrize(
        "value",
        [
            pytest.param({"rate": 4.25, "since": "2026-11-22T12:00:00Z", "list": [1, None, True]}, id="an object"),
            pytest.param(0, id="zero"),
            pytest.param("", id="an empty text"),
            pytest.param("\udcff", id="half a surrogate"),
            pytest.param([], id="an empty list"),
        ],
    )
    def test_a_note_is_read_as_it_was_written(self, home: Home, ledger: Ledger, value: Any, is_durable: bool) -> None:
        ledger.set_note("gate", "older")
        ledger.set_note("gate", value, is_durable=is_durable)
        assert ledger.note("gate") == value
        ledger = reopened(home, ledger)
        assert ledger.note("gate") == value
        ledger.set_note("gate", None)
        assert ledger.note("gate") is None
        ledger.close()


class TestUpkeep:
    def test_only_spooled_answers_that_are_still_to_be_used_are_needed(self, ledger: Ledger) -> None:
        queue(ledger, *[b"%d.jpg" % number for number in range(6)])
        done, sending, received, doubtful, refused, _ = claim(ledger)
        finish(ledger, done, "done")
        send(ledger, sending, "sending")
        receive(ledger, send(ledger, received, "received"))
        ledger.record(move(send(ledger, doubtful, "in doubt"), State.IN_DOUBT, at=NOW), call=DOUBT)
        ledger.record(move(send(ledger, refused, "refused"), State.FAILED, at=NOW), call=FREE)
        assert ledger.spool_keys() == {"sending", "received", "in doubt"}

    def test_what_still_lies_in_its_folder_is_never_forgotten(self, ledger: Ledger) -> None:
        finish(ledger, one(ledger))
        fail(ledger, b"b.jpg")
        queue(ledger, b"c.jpg")
        pruned = ledger.prune(at(10**9))
        assert (pruned.jobs, pruned.calls, pruned.targets) == (0, 0, 0)
        assert len(ledger.known("f", b"")) == 3

    def test_finished_jobs_of_sources_long_gone_are_forgotten_and_their_sums_kept(self, ledger: Ledger) -> None:
        for number in range(3):
            finish(ledger, one(ledger, b"%d.jpg" % number))
        in_doubt(ledger, b"doubt.jpg")
        under_way = send(ledger, one(ledger, b"sending.jpg"))
        before = ledger.spending()
        ledger.gone("f", [b"0.jpg", b"1.jpg", b"doubt.jpg", b"sending.jpg"], at(5))
        ledger.gone("f", [b"2.jpg"], at(500))
        assert ledger.prune(at(4)).jobs == 0
        pruned = ledger.prune(at(100))
        assert (pruned.jobs, pruned.calls, pruned.targets) == (3, 3, 2)
        assert ledger.spending() == before
        assert ledger.spending(folders=["f"]) == before
        assert ledger.spending(folders=["g"]) == Spending()
        assert {job.source for job in ledger.jobs()} == {b"2.jpg", b"sending.jpg"}
        receive(ledger, under_way)
        assert ledger.prune(at(100)).calls == 0

    def test_sums_of_one_day_add_up_over_several_prunings(self, ledger: Ledger) -> None:
        for number in range(2):
            finish(ledger, one(ledger, b"%d.jpg" % number))
            ledger.gone("f", [b"%d.jpg" % number], at(5))
            assert ledger.prune(at(100 + number)).calls == 1
        day = datetime(2026, 11, 22, tzinfo=UTC)
        assert ledger.spending(day, day + timedelta(days=1)) == Spending(calls=2, charged=Decimal(2))
        assert ledger.spending(day + timedelta(seconds=1)) == Spending()

    def test_an_id_is_never_given_twice(self, ledger: Ledger) -> None:
        first = finish(ledger, one(ledger))
        ledger.gone("f", [b"a.jpg"], at(1))
        ledger.prune(at(9))
        queue(ledger, b"b.jpg")
        assert stands(ledger, b"b.jpg").id > first.id


class TestAccess:
    def test_others_see_at_once_what_the_daemon_commits_and_the_other_way_round(
        self, home: Home, ledger: Ledger
    ) -> None:
        queue(ledger, b"a.jpg")
        with home.open(Access.JOIN) as beside, home.open(Access.READ) as looking:
            (job,) = ledger.claim(1, at=NOW, run_id="r", turns=[Turn("f")])
            held = ledger.record(move(job, State.HELD, at=NOW))
            assert looking.counts()[State.HELD] == 1
            assert beside.retry(Which(), NOW) == 1
            assert ledger.claim(1, at=NOW, run_id="r", turns=[Turn("f")])[0].revision == held.revision + 1

    def test_who_only_looks_cannot_write(self, home: Home, ledger: Ledger) -> None:
        with home.open(Access.READ) as looking, pytest.raises(LedgerError, match="for looking only"):
            looking.set_note("a", 1)
        assert ledger.note("a") is None

    @pytest.mark.parametrize("access", [Access.READ, Access.JOIN])
    def test_who_is_not_the_owner_makes_no_ledger(self, home: Home, access: Access) -> None:
        for _ in range(2):
            with pytest.raises(NoLedgerError, match="nothing has run with this state_dir"):
                home.open(access)


def test_sixteen_threads_and_a_scanner_lose_nothing_and_claim_nothing_twice(ledger: Ledger) -> None:
    jobs, threads = 320, 16
    done: list[int] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def scan() -> None:
        for number in range(jobs):
            ledger.add("f", [(b"%d.jpg" % number, version())], NOW)
        enough.set()

    def work() -> None:
        try:
            while True:
                is_last = enough.is_set()
                claimed = ledger.claim(3, at=NOW, run_id="r", turns=[Turn("f")])
                for job in claimed:
                    sending = move(with_content(job, f"{job.id}"), State.SENDING, at=NOW)
                    sent = ledger.record(sending, call=CallStart(Decimal(1)))
                    received = ledger.record(move(sent, State.RECEIVED, at=NOW), call=CallEnd(Charge.YES, Decimal(1)))
                    ledger.record(move(received, State.DONE, at=NOW))
                    done.append(job.id)
                if is_last and not claimed:
                    return
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failures.append(error)

    running = [threading.Thread(target=one) for one in [scan] + [work] * threads]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert failures == []
    assert sorted(done) == sorted(set(done))
    assert ledger.counts()[State.DONE] == jobs
    assert ledger.spending().charged == jobs


class TestNamedJobs:
    def test_no_ids_are_no_jobs_and_never_all_of_them(self, ledger: Ledger) -> None:
        fail(ledger, b"a.jpg")
        fail(ledger, b"b.jpg")
        none = Which(ids=frozenset())
        assert list(ledger.jobs(none)) == []
        assert list(ledger.redoable(none)) == []
        assert ledger.retry(none, NOW) == 0
        assert ledger.accept(none, NOW) == 0
        assert list(ledger.turn_down(none, NOW)) == []
        assert ledger.counts()[State.FAILED] == 2

    def test_more_ids_than_a_statement_takes_are_all_meant(self, ledger: Ledger) -> None:
        queue(ledger, *(b"%d.jpg" % number for number in range(3)))
        ids = {job.id for job in ledger.jobs()}
        assert {job.id for job in ledger.jobs(Which(ids=frozenset(ids | set(range(10_000, 60_000)))))} == ids
