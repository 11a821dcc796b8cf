"""What people decided about answers: bound to their bytes, listed by the newest, forgotten with their jobs."""

from dataclasses import replace
from datetime import timedelta

from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Ledger, Verdict
from tests.ledger.moves import NOW, claim, finish, queue


def done(ledger: Ledger, *sources: bytes) -> None:
    queue(ledger, *sources)
    for job in claim(ledger, 1000):
        finish(ledger, job, f"key-{job.source.decode()}")


def of(ledger: Ledger, source: bytes) -> Job:
    return next(job for job in ledger.jobs() if job.source == source)


def test_a_verdict_is_about_the_answer_and_can_be_changed_and_taken_back(ledger: Ledger) -> None:
    done(ledger, b"a.jpg", b"b.jpg")
    first, second = of(ledger, b"a.jpg"), of(ledger, b"b.jpg")
    assert ledger.give_verdict([first], Verdict.APPROVED, NOW, who="anna", note="fine") == 1
    found = ledger.verdicts([first, second])
    assert list(found) == [first.id]
    assert (found[first.id].verdict, found[first.id].who, found[first.id].note, found[first.id].at) == (
        Verdict.APPROVED,
        "anna",
        "fine",
        NOW,
    )
    ledger.give_verdict([first, second], Verdict.REJECTED, NOW, who="")
    assert {one.verdict for one in ledger.verdicts([first, second]).values()} == {Verdict.REJECTED}
    assert ledger.verdicts([replace(first, answer_digest="another")]) == {}
    ledger.give_verdict([first], None, NOW, who="anna")
    assert list(ledger.verdicts([first, second])) == [second.id]


def test_one_without_an_answer_has_no_verdict(ledger: Ledger) -> None:
    queue(ledger, b"a.jpg")
    job = of(ledger, b"a.jpg")
    assert ledger.give_verdict([job], Verdict.APPROVED, NOW, who="anna") == 0
    assert ledger.verdicts([job]) == {}


def test_many_are_looked_up_at_once_and_listed_page_by_page(ledger: Ledger) -> None:
    done(ledger, *(b"%03d.jpg" % number for number in range(450)))
    jobs = sorted(ledger.jobs(), key=lambda job: job.id)
    ledger.give_verdict(jobs[:430], Verdict.APPROVED, NOW, who="anna")
    assert len(ledger.verdicts(jobs)) == 430
    seen, before = list[int](), None
    while page := ledger.reviewed(Verdict.APPROVED, before=before, limit=100):
        seen += [entry.job.id for entry in page]
        before = page[-1].number
    assert seen == [job.id for job in reversed(jobs[:430])]
    assert ledger.reviewed(Verdict.REJECTED, limit=9) == []


def test_it_is_forgotten_with_its_job_and_no_sooner(ledger: Ledger) -> None:
    done(ledger, b"a.jpg", b"b.jpg")
    stays, goes = of(ledger, b"a.jpg"), of(ledger, b"b.jpg")
    ledger.give_verdict([stays, goes], Verdict.APPROVED, NOW, who="anna")
    ledger.gone("f", [b"b.jpg"], NOW)
    ledger.prune(NOW + timedelta(days=400))
    assert list(ledger.verdicts([stays, goes])) == [stays.id]
    assert of(ledger, b"a.jpg").state is State.DONE
