"""What the page may change: the right pictures, once, never more than was agreed to, and for nobody else."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rembg_watch.account.notes import PAUSES, RESUME, pauses_from_note
from rembg_watch.api.errors import Charge
from rembg_watch.decide import Act, may
from rembg_watch.delivery.spool import SPOOL_NAME
from rembg_watch.errors import ConfigError
from rembg_watch.jobs import REJECTED, REVIEW, CallEnd, CallStart, Job, State, move
from rembg_watch.ledger import Ledger, Turn, Verdict
from rembg_watch.web.daemons import Daemon
from rembg_watch.web.login import PasswordLogin
from rembg_watch.web.orders import Order, came_to, local, order_of
from rembg_watch.web.server import login_of
from tests.web.studio import AT, HOST, Asking, Studio

Opening = Callable[..., Asking]
CALLED = CallEnd(Charge.YES, Decimal(1))


@pytest.fixture
def ask(asking: Opening, studio: Studio) -> Asking:
    with studio.open():
        pass
    return asking(studio, may_act=True)


def hold(studio: Studio, ledger: Ledger, *names: str) -> list[Job]:
    """Let pictures be cut out oddly, so that they wait for a person."""
    studio.drop(ledger, *names)
    held = []
    for job in ledger.claim(len(names), at=AT, run_id="test", turns=[Turn(studio.folder)]):
        key = f"key-{job.id}"
        spool = studio.state / SPOOL_NAME
        spool.mkdir(exist_ok=True)
        with (spool / key).open("wb") as file:
            Image.new("RGBA", (90, 60), (9, 160, 90, 120)).save(file, "PNG")
        answer = {"answer_digest": f"d{job.id}", "answer_bytes": (spool / key).stat().st_size, "content_key": key}
        sent = ledger.record(move(job, State.SENDING, at=AT, content_key=key), call=CallStart(Decimal(1)))
        received = ledger.record(move(sent, State.RECEIVED, at=AT, finding="touches_border", **answer), call=CALLED)
        words = {"reason": "it touches a border", "code": REVIEW}
        held.append(ledger.record(move(received, State.HELD, at=AT, **words)))
    return held


def forms(answer: httpx.Response) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Read the forms of a page: method, address, fields."""
    found = []
    for method, action, inner in re.findall(
        r'<form method="(\w+)" action="([^"]*)">(.*?)</form>', answer.text, re.DOTALL
    ):
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', inner)
        found.append((method, unescape(action), [(unescape(name), unescape(value)) for name, value in fields]))
    return found


def state_of(studio: Studio, job: Job) -> Job:
    with studio.open() as ledger:
        found = ledger.get(job.id)
    assert found is not None
    return found


def verdict_of(studio: Studio, job: Job) -> Verdict | None:
    with studio.open() as ledger:
        found = ledger.get(job.id)
        assert found is not None
        review = ledger.verdicts([found]).get(job.id)
    return None if review is None else review.verdict


# --- one picture --------------------------------------------------------------------------------------


def test_a_delivered_picture_is_approved_rejected_and_neither_again(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg")
        first, second = studio.deliver(ledger, 2)
    page = ask(f"/pictures/{first.id}")
    assert 'id="act-approve"' in page.text
    answer = ask.submit("/act", ("do", "approve"), ("id", str(first.id)), ("back", f"/pictures/{second.id}"))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pictures/{second.id}?did=approve&n=1")
    assert "1 picture approved." in ask(answer.headers["location"]).text
    assert verdict_of(studio, first) is Verdict.APPROVED
    ask.submit("/act", ("do", "reject"), ("id", str(first.id)))
    assert verdict_of(studio, first) is Verdict.REJECTED
    assert state_of(studio, first).state is State.DONE, "a verdict changes no file"
    ask.submit("/act", ("do", "undo"), ("id", str(first.id)))
    assert verdict_of(studio, first) is None


def test_a_new_answer_has_no_verdict(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
        ledger.give_verdict([job], Verdict.APPROVED, AT, who="anna")
        assert ledger.redo([job], AT) == 1
        (again,) = ledger.claim(1, at=AT, run_id="test", turns=[Turn(studio.folder)])
        sent = ledger.record(move(again, State.SENDING, at=AT), call=CallStart(Decimal(1)))
        other = move(sent, State.RECEIVED, at=AT, answer_digest="another", answer_bytes=1)
        new = ledger.record(other, call=CALLED)
        assert ledger.verdicts([new]) == {}
        assert ledger.reviewed(Verdict.APPROVED, limit=9) == []


def test_what_waits_is_shown_and_delivered_or_never(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        first, second = hold(studio, ledger, "acme/1.jpg", "acme/2.jpg")
    page = ask(f"/pictures/{first.id}")
    assert "Deliver it" in page.text
    assert ask(f"/pictures/{first.id}/after/small").status_code == 200, "it is in no output yet, and can be seen"
    ask.submit("/act", ("do", "approve"), ("id", str(first.id)))
    ask.submit("/act", ("do", "reject"), ("id", str(second.id)))
    assert state_of(studio, first).state is State.RECEIVED
    turned = state_of(studio, second)
    assert (turned.state, turned.code) == (State.FAILED, REJECTED)
    assert ask(f"/pictures/{second.id}/after/small").status_code == 404


def test_a_failed_one_is_tried_again_at_once(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.fail(ledger)
    assert "Try again" in ask(f"/pictures/{job.id}").text
    ask.submit("/act", ("do", "retry"), ("id", str(job.id)))
    assert state_of(studio, job).state is State.QUEUED
    with studio.open() as ledger:
        assert ledger.note(RESUME) is not None


def test_made_anew_only_after_its_price_was_shown(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    asked = ask.submit("/act", ("do", "redo"), ("id", str(job.id)))
    assert asked.status_code == 200
    assert state_of(studio, job).state is State.DONE
    assert "up to 1 credit" in asked.text
    ((method, action, fields),) = forms(asked)
    assert method == "post"
    ask.submit(action, *fields)
    assert state_of(studio, job).state is State.QUEUED


def test_what_has_changed_meanwhile_is_left_alone(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    answer = ask.submit("/act", ("do", "retry"), ("id", str(job.id)))
    assert "n=0" in answer.headers["location"]
    assert "Nothing was changed" in ask(answer.headers["location"]).text
    assert state_of(studio, job).state is State.DONE


# --- many ---------------------------------------------------------------------------------------------


def test_a_failed_group_is_tried_again_with_the_number_and_the_price(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, *(f"acme/{number}.jpg" for number in range(7)))
        wide = studio.fail(ledger, 4)
        other = studio.fail(ledger, 2, reason="It is broken.", code="broken")
    page = ask("/failed")
    groups = [fields for _, _, fields in forms(page) if ("code", "too_wide") in fields]
    assert len(groups) == 1
    asked = ask("/act?" + httpx.QueryParams(groups[0]).__str__())
    assert "Try again 4 pictures? This may cost up to 4 credits." in asked.text
    ((_, action, fields),) = forms(asked)
    answer = ask.submit(action, *fields)
    assert "4 pictures put back in line." in ask(answer.headers["location"]).text
    assert {state_of(studio, job).state for job in wide} == {State.QUEUED}
    assert {state_of(studio, job).state for job in other} == {State.FAILED}


def test_more_than_was_agreed_to_is_asked_for_again(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg")
        studio.fail(ledger)
    fields = (("do", "retry"), ("folder", "catalogue"), ("state", "failed"), ("code", "too_wide"))
    ((_, action, agreed),) = forms(ask("/act?" + str(httpx.QueryParams(fields))))
    with studio.open() as ledger:
        studio.fail(ledger)
    answer = ask.submit(action, *agreed)
    assert answer.status_code == 200
    assert "There are more of them by now" in answer.text
    with studio.open() as ledger:
        assert ledger.counts()[State.FAILED] == 2
    ((_, action, agreed),) = forms(answer)
    assert ask.submit(action, *agreed).status_code == 303
    with studio.open() as ledger:
        assert ledger.counts()[State.QUEUED] == 2


def test_a_whole_shoot_is_approved_and_no_other(studio: Studio, ask: Asking) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg", "other/3.jpg")
        jobs = studio.deliver(ledger, 3)
    asked = ask(f"/act?do=approve&shoot={jobs[0].id}")
    assert "Approve 2 pictures? This costs nothing." in asked.text
    ((_, action, fields),) = forms(asked)
    ask.submit(action, *fields)
    assert [verdict_of(studio, job) for job in jobs] == [Verdict.APPROVED, Verdict.APPROVED, None]


def test_everything_or_a_folder_is_paused_and_goes_on(studio: Studio, ask: Asking) -> None:
    ask.submit("/pause", ("do", "pause"), ("back", "/"))
    with studio.open() as ledger:
        assert pauses_from_note(ledger.note(PAUSES)).all_at is not None
    ask.submit("/pause", ("do", "resume"))
    ask.submit("/pause", ("do", "pause"), ("folder", "catalogue"))
    with studio.open() as ledger:
        pauses = pauses_from_note(ledger.note(PAUSES))
    assert (pauses.all_at, list(pauses.folders)) == (None, ["catalogue"])
    assert ask.submit("/pause", ("do", "pause"), ("folder", "unheard of")).status_code == 400


# --- who may ------------------------------------------------------------------------------------------

CHANGES = [("/act", (("do", "approve"), ("id", "1"))), ("/pause", (("do", "pause"),))]
FOREIGN: list[dict[str, str]] = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "none"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"host": "evil.example"},
    {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},
    {"authorization": "Bearer x", "origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("path", "fields"), CHANGES)
def test_nobody_but_this_page_changes_anything(
    studio: Studio, ask: Asking, path: str, fields: tuple[tuple[str, str], ...], headers: dict[str, str]
) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    assert ask.submit(path, *fields, **headers).status_code == 403
    assert verdict_of(studio, job) is None
    with studio.open() as ledger:
        assert ledger.note(PAUSES) is None


def test_a_browser_that_does_not_say_who_asks_is_refused(studio: Studio, ask: Asking) -> None:
    kind = {"content_type": "application/x-www-form-urlencoded"}
    assert ask("/act", "POST", body=b"do=approve&id=1", **kind).status_code == 403
    assert ask("/act", "POST", body=b"do=approve&id=1", origin=f"http://{HOST}", **kind).status_code == 303, (
        "an old one"
    )


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/json", ""])
def test_only_a_plain_form_is_read(studio: Studio, ask: Asking, kind: str) -> None:
    assert ask.submit("/act", ("do", "approve"), ("id", "1"), content_type=kind).status_code == 415


def test_a_form_that_is_too_large_is_refused(ask: Asking) -> None:
    assert ask.submit("/act", ("do", "approve"), ("id", "1"), ("x", "y" * 600_000)).status_code == 413
    assert ask.submit("/act", *[("id", "1")] * 30_000).status_code in (400, 413)


def test_where_one_may_only_look_nothing_is_offered_and_nothing_done(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg")
        (job,) = studio.deliver(ledger)
        studio.fail(ledger)
    ask = asking(studio)
    for path in ("/", "/failed", f"/pictures/{job.id}", f"/shoots/catalogue/{job.id}"):
        assert 'method="post"' not in ask(path).text
        assert "/act" not in ask(path).text
    assert ask.submit("/act", ("do", "approve"), ("id", str(job.id))).status_code == 405
    assert ask("/act?do=approve&id=1").status_code == 404
    assert verdict_of(studio, job) is None


def test_whoever_decided_is_written_down(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    ask = asking(studio, may_act=True, login=PasswordLogin("secret"))
    assert ask.submit("/act", ("do", "approve"), ("id", str(job.id))).status_code == 401
    anna = "Basic YW5uYTpzZWNyZXQ="
    assert ask.submit("/act", ("do", "approve"), ("id", str(job.id)), authorization=anna).status_code == 303
    assert "by anna" in ask(f"/pictures/{job.id}", authorization=anna).text


def test_a_page_that_may_not_write_says_so(studio: Studio, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    if os.geteuid() == 0:
        from rembg_watch.errors import LedgerError

        def refused(_: Daemon) -> None:
            raise LedgerError("the ledger cannot be written to")

        monkeypatch.setattr(Daemon, "deciding", refused)
    else:
        studio.state.chmod(0o500)
    try:
        answer = ask.submit("/act", ("do", "approve"), ("id", str(job.id)))
    finally:
        studio.state.chmod(0o700)
    assert answer.status_code == 503
    assert "cannot be written" in answer.text


@pytest.mark.parametrize(
    ("web", "is_refused"),
    [
        ('may = "act"', True),
        ('may = "act"\nlisten = "[::1]:8787"', True),
        ('may = "act"\nlisten = "unix:/run/x.sock"', False),
        ('may = "act"\nauth = "password"\npassword_file = "{}"', False),
        ('may = "look"', False),
    ],
)
def test_on_loopback_alone_nobody_may_act_without_a_login(tmp_path: Path, web: str, is_refused: bool) -> None:
    (tmp_path / "password").write_text("secret")
    studio = Studio(tmp_path / "studio", web=web.format(tmp_path / "password"))
    daemon = Daemon("", studio.config, {"HOME": str(tmp_path)})
    if is_refused:
        with pytest.raises(ConfigError, match="spend credits"):
            login_of(daemon.settings.web, {})
    else:
        login_of(daemon.settings.web, {})
    daemon.close()


# --- values -------------------------------------------------------------------------------------------


NAMES = st.sampled_from(["do", "id", "shoot", "folder", "state", "code", "most", "back", "x"])
WORDS = st.one_of(st.text(max_size=30), st.sampled_from([*Act, *State, "1", "-1", "9" * 40]))


@given(st.dictionaries(NAMES, st.lists(WORDS, max_size=3)))
def test_whatever_a_form_says_is_an_order_or_none(form: dict[str, list[str]]) -> None:
    order = order_of(form)
    if order is not None:
        assert order.ids or order.shoot is not None or (order.folder is not None and order.state is not None)
        again: dict[str, list[str]] = {}
        for name, value in order.fields:
            again.setdefault(name, []).append(value)
        assert order_of(again | ({"most": [str(order.most)]} if order.most is not None else {})) == order


@given(st.text())
def test_nobody_is_sent_elsewhere(path: str) -> None:
    found = local(path)
    assert found == "" or (found == path and found.startswith("/") and not found.startswith("//"))


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/a\r\nb", "/a\\b"]
)
def test_a_way_back_that_leads_elsewhere_is_none(path: str) -> None:
    assert local(path) == ""


@pytest.mark.parametrize("said", [("<b>", "1"), ("retry", "<b>"), ("retry", "-1"), ("", ""), ("retry", "9" * 30)])
def test_only_our_own_words_are_said_of_what_was_done(said: tuple[str, str]) -> None:
    assert came_to(*said) == ""


def test_an_order_for_a_group_may_leave_out_the_code() -> None:
    order = order_of({"do": ["retry"], "folder": ["f"], "state": ["failed"]})
    assert order == Order(act=Act.RETRY, folder="f", state=State.FAILED)


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.RECEIVED, State.VANISHED])
def test_what_is_under_way_is_left_alone(studio: Studio, act: Act, state: State) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "a.jpg")
        (job,) = ledger.jobs()
    assert not may(act, replace(job, state=state, changed_at=AT + timedelta(seconds=1)), None)
