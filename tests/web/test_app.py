"""The routes, asked without a network: what they show, and that each threat finds them shut."""

import csv
import io
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from PIL import Image

from rembg_watch.jobs import Job, State
from rembg_watch.ledger import FILE_NAME, Made, MadeState
from rembg_watch.report.status import GateView
from rembg_watch.web.guard import HEADERS
from rembg_watch.web.login import HeaderLogin, PasswordLogin
from tests.web.studio import AT, HOST, HOSTILE, Asking, Studio

Opening = Callable[..., Asking]


@pytest.fixture
def pictures(studio: Studio) -> list[Job]:
    """Two delivered pictures, one that failed, one in line; the daemon reported a moment ago."""
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg", "acme/3.jpg", "acme/4.jpg")
        done = studio.deliver(ledger, 2)
        failed = studio.fail(ledger)
    studio.report()
    return [*done, *failed]


def _routes(job: Job) -> list[str]:
    return [
        "/",
        "/shoots",
        f"/shoots/catalogue/{job.id}",
        "/pictures",
        f"/pictures/{job.id}",
        f"/pictures/{job.id}/before/small",
        f"/pictures/{job.id}/after/large",
        f"/pictures/{job.id}/after/whole",
        "/failed",
        "/credits",
        "/credits.csv",
        "/metrics",
        "/livez",
        "/healthz",
        "/static/page.css",
        "/static/page.js",
        "/static/icon.svg",
        "/api/openapi.json",
        "/api/v1/status",
        "/api/v1/jobs",
        f"/api/v1/jobs/{job.id}",
        "/api/v1/shoots",
        "/api/v1/credits",
        "/api/v1/folders",
    ]


# --- what it shows ------------------------------------------------------------------------------------


def test_every_route_answers(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    (studio.state / "metrics.prom").write_text("rembg_watch_build_info 1\n")
    ask = asking(studio)
    for route in _routes(pictures[0]):
        assert ask(route).status_code == 200, route


def test_the_first_page_says_what_happens_and_what_needs_a_look(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    text = asking(studio)("/").text
    for words in ("1 picture to go", ">acme<", "It is too wide.", "100 credits", "2 of 4 pictures delivered"):
        assert words in text, words


def test_a_picture_has_its_facts_its_calls_and_its_neighbours(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    text = asking(studio)(f"/pictures/{pictures[1].id}").text
    assert str(studio.output / "acme" / "2.png") in text
    assert re.search(r"<td>1 credit</td>\s*<td>an answer</td>", text)
    assert f'id="earlier" class="button" rel="prev" href="/pictures/{pictures[0].id}"' in text
    assert f'id="later" class="button" rel="next" href="/pictures/{pictures[2].id}"' in text


def test_from_the_first_page_to_a_picture_that_failed_it_is_two_clicks(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    ask = asking(studio)
    link = re.search(r'<a href="(/pictures\?[^"]+)">Show them</a>', ask("/").text)
    assert link
    shown = ask(link[1].replace("&amp;", "&")).text
    assert re.findall(r'class="card" href="([^"]+)"', shown) == [f"/pictures/{pictures[2].id}"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"1.jpg", "2.jpg", "3.jpg", "4.jpg"}),
        ("?state=delivered", {"1.jpg", "2.jpg"}),
        ("?state=failed", {"3.jpg"}),
        ("?state=open", {"4.jpg"}),
        ("?state=failed&code=too_wide", {"3.jpg"}),
        ("?state=failed&code=other", set()),
        ("?q=ACME/2", {"2.jpg"}),
        ("?folder=catalogue", {"1.jpg", "2.jpg", "3.jpg", "4.jpg"}),
        ("?folder=other", set()),
        ("?state=odd", set()),
        ("?state=nonsense&before=nonsense", {"1.jpg", "2.jpg", "3.jpg", "4.jpg"}),
    ],
)
def test_pictures_are_found_by_state_folder_reason_and_name(
    studio: Studio, pictures: list[Job], asking: Opening, query: str, names: set[str]
) -> None:
    text = asking(studio)(f"/pictures{query}").text
    assert set(re.findall(r'<span class="name" title="[^"]*">([^<]+)<', text)) == names


def test_a_long_list_goes_on_by_key_until_its_end(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, *(f"acme/{number:03}.jpg" for number in range(150)))
    ask = asking(studio)
    for first in ("/pictures", None):
        where, seen = first or f"/shoots/catalogue/{1}", list[str]()
        while where:
            text = ask(where).text
            seen += re.findall(r'class="card" href="([^"]+)"', text)
            more = re.search(r'rel="next" href="([^"]+)"', text)
            where = more[1].replace("&amp;", "&") if more else ""
        assert len(seen) == len(set(seen)) == 150


def test_an_odd_cutout_is_shown_on_the_first_page(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger, finding="all_opaque")
    text = asking(studio)("/").text
    assert "Cut-outs that look odd" in text
    assert "nothing in it is transparent" in text
    assert f"/pictures/{job.id}/after/small" in text


def test_a_page_that_did_not_change_is_not_sent_again(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    ask("/")  # opens the ledger, which may leave files beside it
    first = ask("/")
    again = ask("/", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert ask("/pictures", if_none_match=first.headers["etag"]).status_code in {200, 304}
    with studio.open() as ledger:
        studio.deliver(ledger)
    changed = ask("/", if_none_match=first.headers["etag"])
    assert (changed.status_code, "3 of 4 pictures delivered" in changed.text) == (200, True)


def test_times_on_a_page_grow_old_though_nothing_happens(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    first = ask("/").headers["etag"]
    ask.now = AT + timedelta(minutes=2)
    assert ask("/", if_none_match=first).status_code == 200


# --- pictures -------------------------------------------------------------------------------------------


def _image(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_before_and_after_are_views_and_never_the_files(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    before, after = (ask(f"/pictures/{pictures[0].id}/{side}/small") for side in ("before", "after"))
    assert before.headers["content-type"] == "image/jpeg"
    assert after.headers["content-type"] == "image/webp"
    assert _image(before).convert("RGB").getpixel((40, 30)) == pytest.approx((200, 40, 40), abs=8)
    assert _image(after).convert("RGBA").getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert before.content != (studio.input / "acme" / "1.jpg").read_bytes()


def test_a_view_comes_from_the_cache_the_second_time(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    first = ask(f"/pictures/{pictures[0].id}/after/small")
    kept = [one for one in ask.cache.rglob("*") if one.is_file()]
    assert [one.read_bytes() for one in kept] == [first.content]
    assert ask(f"/pictures/{pictures[0].id}/after/small").content == first.content


def test_an_original_that_was_moved_is_found_where_it_went(tmp_path: Path, asking: Opening) -> None:
    done = tmp_path / "done"
    studio = Studio(tmp_path / "studio", more=f'after = "move"\ndone = "{done}"')
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    (done / "acme").mkdir(parents=True)
    (studio.input / "acme" / "1.jpg").rename(done / "acme" / "1.jpg")
    assert asking(studio)(f"/pictures/{job.id}/before/small").status_code == 200


def test_what_stands_there_by_now_is_not_shown_as_what_was_sent(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    Image.new("RGB", (50, 50)).save(studio.input / "acme" / "1.jpg")
    assert asking(studio)(f"/pictures/{pictures[0].id}/before/small").status_code == 404


def test_of_several_files_each_is_shown_and_the_easiest_one_stands_for_all(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
        for name, target, colour in (("print", b"print.tif", (9, 9, 200)), ("shop", b"shop.png", (200, 200, 9))):
            Image.new("RGB", (60, 40), colour).save(studio.output / target.decode())
            made = Made(
                job_id=job.id, name=name, recipe_digest="r", state=MadeState.STANDING, made_at=AT, target=target,
                digest="d", size_bytes=1234,
            )  # fmt: skip
            ledger.record_made(made)
        failed = {"name": "list", "state": MadeState.FAILED, "reason": "It is too small for its canvas."}
        ledger.record_made(Made(job_id=job.id, recipe_digest="r", made_at=AT, **failed))  # type: ignore[arg-type]
    ask = asking(studio)
    text = ask(f"/pictures/{job.id}").text
    assert f'href="/pictures/{job.id}/shop/large?' in text
    assert "It is too small for its canvas." in text
    for side in ("after", "shop"):
        shown = _image(ask(f"/pictures/{job.id}/{side}/large"))
        assert shown.convert("RGB").getpixel((30, 20)) == pytest.approx((200, 200, 9), abs=8)
    assert ask(f"/pictures/{job.id}/list/large").status_code == 404
    assert [one["name"] for one in ask(f"/api/v1/jobs/{job.id}").json()["files"]] == ["print", "shop", "list"]


def _replaced_by_a_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _replaced_by_a_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _below_a_link(path: Path, target: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(target.parent)


@pytest.mark.parametrize("replace", [_replaced_by_a_link, _replaced_by_a_pipe, _below_a_link])
def test_a_link_out_of_the_folder_shows_nothing(
    studio: Studio, pictures: list[Job], asking: Opening, tmp_path: Path, replace: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "secret" / "1.png"
    secret.parent.mkdir()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(secret)
    replace(studio.output / "acme" / "1.png", secret)
    assert asking(studio)(f"/pictures/{pictures[0].id}/after/small").status_code == 404


def test_a_path_in_the_ledger_that_leads_out_shows_nothing(studio: Studio, asking: Opening, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.jpg")
    found = (tmp_path / "secret.jpg").stat()
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        (job,) = studio.deliver(ledger)
    import sqlite3

    with sqlite3.connect(studio.state / FILE_NAME) as connection:
        changed = (b"../../secret.jpg", b"../../secret.jpg", found.st_size, str(found.st_mtime_ns), job.id)
        connection.execute("UPDATE jobs SET source = ?, target = ?, size_bytes = ?, mtime_ns = ? WHERE id = ?", changed)
    connection.close()
    ask = asking(studio)
    for side in ("before", "after"):
        assert ask(f"/pictures/{job.id}/{side}/small").status_code == 404


def test_a_link_within_the_folder_is_followed(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    path = studio.output / "acme" / "1.png"
    path.rename(studio.output / "real.png")
    path.symlink_to(studio.output / "real.png")
    assert asking(studio)(f"/pictures/{pictures[0].id}/after/small").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/..%2f..%2fetc%2fpasswd",
        "/pictures/%2e%2e/%2e%2e/etc/passwd",
        "/pictures/1/..%2f..%2f..%2fetc%2fpasswd/small",
        "/pictures/1/before/..%2f..%2fsmall",
        "/pictures/1/before/small%00",
        "/pictures/1%00/before/small",
        "/pictures/99999999999999999999999999/before/small",
        "/pictures/99999999999999999999999999",
        "/pictures/-1",
        "/pictures/1/nothing/small",
        "/pictures/1/before/huge",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2fapp.py",
        "/static//etc/passwd",
        "/shoots/other/1",
        "/shoots/..%2f..%2fetc/1",
        "/nothing",
    ],
)
def test_no_address_leads_to_a_file(studio: Studio, pictures: list[Job], asking: Opening, path: str) -> None:
    answer = asking(studio)(path)
    assert answer.status_code == 404, answer.text
    assert "root:" not in answer.text


def test_a_bomb_is_refused_and_the_next_picture_is_fine(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    (studio.output / "acme" / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    answer = ask(f"/pictures/{pictures[0].id}/after/small")
    assert answer.status_code == 415
    assert ask(f"/pictures/{pictures[1].id}/after/small").status_code == 200


# --- threats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8787"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
def test_what_comes_from_elsewhere_is_refused_on_every_route(
    studio: Studio, pictures: list[Job], asking: Opening, headers: dict[str, str]
) -> None:
    ask = asking(studio)
    for route in [*_routes(pictures[0]), "/nothing"]:
        answer = ask(route, **headers)
        assert answer.status_code == 403, route
        assert "acme" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed_whoever_asks(studio: Studio, pictures: list[Job], asking: Opening, method: str) -> None:
    ask, before = asking(studio), (studio.state / FILE_NAME).read_bytes()
    for route in _routes(pictures[0]):
        assert ask(route, method, sec_fetch_site="same-origin", origin=f"http://{HOST}").status_code == 405
        assert ask(route, method, origin="http://evil.example").status_code == 403
    assert (studio.state / FILE_NAME).read_bytes() == before


def test_every_answer_forbids_what_a_page_could_do_wrong(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    for route in [*_routes(pictures[0]), "/nothing"]:
        for answer in (ask(route), ask(route, host="evil.example")):
            assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS), route
            assert not any(name.startswith("access-control") for name in answer.headers)
            assert "server" not in answer.headers


def test_no_page_holds_a_script_or_a_style_of_its_own(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    for route in ("/", "/shoots", "/pictures", "/failed", "/credits", f"/pictures/{pictures[2].id}", "/nothing"):
        text = ask(route).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), route
        assert not re.search(r'(?:src|href|action)="(?:[a-z]+:)?//', text), route


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_on_every_page(studio: Studio, asking: Opening, name: str) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, f"<b>shoot</b>/{name}".replace("</b>", "<_b>"), "zz.jpg")
        (job,) = studio.deliver(ledger, finding="<b>odd</b>")
        studio.fail(ledger, reason="<img src=x onerror=alert(3)>", code="<i>code</i>")
    ask = asking(studio)
    for route in _routes(job):
        answer = ask(route)
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        assert not re.search(r"<img src=x|<b>|<i>|alert\([0-9]\)</script>|1337\*1337 }}<!|1787569", answer.text), route
        assert "\u202e" not in answer.text
        assert "two\nlines" not in answer.text


def test_a_name_that_is_no_utf8_is_shown_and_served(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, b"acme/caf\xe9.jpg")
        (job,) = studio.deliver(ledger)
    ask = asking(studio)
    assert "caf\\xe9.jpg" in ask(f"/pictures/{job.id}").text
    assert ask(f"/pictures/{job.id}/before/small").status_code == 200
    listed = ask("/api/v1/jobs").json()["jobs"][0]
    assert (listed["source"], listed["source_hex"]) == ("acme/caf\ufffd.jpg", b"acme/caf\xe9.jpg".hex())


# --- who asks -----------------------------------------------------------------------------------------------


def _basic(password: str, name: str = "ann") -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def test_with_a_password_nothing_is_shown_without_it(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio, login=PasswordLogin("pässwörd"))
    for route in _routes(pictures[0]):
        expected = 200 if route in {"/livez", "/healthz"} else 401
        assert ask(route).status_code == expected, route
    assert ask("/").headers["www-authenticate"].startswith("Basic")
    for wrong in (_basic("wrong"), _basic(""), "Basic !!!", "Bearer right", ""):
        assert ask("/", authorization=wrong).status_code == 401, wrong
    right = ask("/", authorization=_basic("pässwörd", "ann <b>"))
    assert right.status_code == 200
    assert "ann &lt;b&gt;" in right.text


def test_a_wrong_password_costs_time_and_the_right_one_does_not(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    import time

    ask = asking(studio, login=PasswordLogin("right"))
    ask("/livez")
    begin = time.monotonic()
    ask("/static/page.css", authorization=_basic("wrong"))
    assert time.monotonic() - begin >= 0.2


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {"x_forwarded_user": "ann"}, 200),
        ("127.0.0.1", {}, 403),
        ("127.0.0.1", {"x_forwarded_user": "  "}, 403),
        ("10.0.0.9", {"x_forwarded_user": "ann"}, 403),
    ],
)
def test_a_proxy_is_believed_only_where_it_is_trusted(
    studio: Studio, pictures: list[Job], asking: Opening, peer: str, headers: dict[str, str], status: int
) -> None:
    ask = asking(studio, login=HeaderLogin("X-Forwarded-User", ("127.0.0.1",)), peer=peer)
    assert ask("/", **headers).status_code == status


# --- below a path, and several ---------------------------------------------------------------------------------


def test_below_a_path_every_link_begins_with_it_whether_the_proxy_leaves_it_or_not(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    ask = asking(studio, base_path="/rembg")
    for path in ("/rembg/", "/"):
        text = ask(path).text
        links = re.findall(r'(?:src|href|action)="([^"#]+)"', text)
        assert len(links) > 10
        assert [one for one in links if not one.startswith("/rembg/")] == []
    assert ask("/rembg/static/page.css").status_code == 200
    assert ask("/rembgx/").status_code == 404


def test_several_daemons_are_on_one_page_and_each_below_its_name(tmp_path: Path, asking: Opening) -> None:
    north, south = Studio(tmp_path / "north"), Studio(tmp_path / "south")
    with north.open() as ledger:
        north.drop(ledger, "acme/1.jpg")
        (job,) = north.deliver(ledger)
    ask = asking(north, south, names=("north", "south"))
    overview = ask("/").text
    assert 'href="/north/"' in overview
    assert "There is no ledger" in ask("/south/").text
    text = ask(f"/north/pictures/{job.id}").text
    assert f'src="/north/pictures/{job.id}/after/large' in text
    assert ask(f"/north/pictures/{job.id}/after/small").status_code == 200
    assert ask(f"/south/pictures/{job.id}").status_code == 503
    assert ask("/north/api/v1/jobs").json()["jobs"][0]["id"] == job.id
    assert ask("/pictures").status_code == 404


# --- for machines --------------------------------------------------------------------------------------------


def test_healthz_follows_the_daemon(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    assert (ask("/livez").text, ask("/healthz").status_code, ask("/healthz").text) == ("alive", 200, "well")
    assert ask("/healthz?strict").text == "well", "what failed is dealt with"
    studio.report(gate=GateView(is_open=False, reason="key_refused"))
    strict = ask("/healthz?strict")
    assert (strict.status_code, strict.text) == (503, "needs a person")
    ask.now = AT + timedelta(seconds=61)
    assert (ask("/healthz").status_code, ask("/healthz").text) == (503, "silent")


def test_a_daemon_whose_process_cannot_be_seen_lives_as_long_as_it_writes_and_did_not_end(
    studio: Studio, asking: Opening
) -> None:
    ask = asking(studio)
    studio.report(pid=2**22 + 1)
    assert ask("/healthz").status_code == 200
    ask.now = AT + timedelta(seconds=61)
    assert ask("/healthz").text == "not running"
    written = json.loads((studio.state / "status.json").read_text())
    (studio.state / "status.json").write_text(json.dumps(written | {"ended": True}))
    ask.now = AT
    assert ask("/healthz").text == "not running"
    (studio.state / "status.json").unlink()
    assert ask("/healthz").text == "not running"


def test_metrics_are_what_the_daemon_wrote(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    ask = asking(studio)
    assert ask("/metrics").status_code == 404
    (studio.state / "metrics.prom").write_text("rembg_watch_build_info 1\n")
    answer = ask("/metrics")
    assert (answer.text, answer.headers["content-type"]) == (
        "rembg_watch_build_info 1\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )


def test_the_api_goes_on_where_it_ended(studio: Studio, asking: Opening) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, *(f"s{number}/1.jpg" for number in range(5)))
    ask = asking(studio)
    for route, name in (("/api/v1/jobs?limit=2&", "jobs"), ("/api/v1/shoots?limit=2&", "shoots")):
        key = "before" if name == "jobs" else "from"
        seen, where = list[int](), route
        while where:
            page = ask(where).json()
            seen += [one["id"] for one in page[name]]
            where = f"{route}{key}={page['next']}" if page["next"] else ""
        assert (len(seen), len(set(seen))) == (5, 5)


def test_credits_are_strings_and_days_are_utc(studio: Studio, pictures: list[Job], asking: Opening) -> None:
    page = asking(studio)("/api/v1/credits").json()
    assert page["days"] == [
        {"day": "2026-11-27", "folder": "catalogue", "calls": 2, "charged": "2", "doubtful": "0", "in_doubt": 0,
         "refused": 0, "doubles": 0, "repeats": 0}
    ]  # fmt: skip


def test_an_error_is_json_for_machines_and_a_page_for_people(
    studio: Studio, pictures: list[Job], asking: Opening
) -> None:
    ask = asking(studio)
    assert json.loads(ask("/api/v1/jobs/999").text)["error"]
    assert "<h1>Not there</h1>" in ask("/pictures/999").text


def test_the_states_on_a_page_are_all_that_there_are() -> None:
    from rembg_watch.web import views

    assert set(views.WORDS) == set(State)


@pytest.mark.parametrize("by", ["shoot", "folder", "day", "picture"])
def test_a_month_is_a_file_for_a_spreadsheet(asking: Opening, studio: Studio, by: str) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "=cmd|x!A1/1.jpg", "acme/2.jpg", "acme/3.jpg")
        studio.deliver(ledger, 3)
    answer = asking(studio)(f"/credits.csv?month=2026-11&by={by}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f'filename="rembg-watch-2026-11-by-{by}.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(float(row["charged"]) for row in rows) == 3
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    assert len(list(csv.DictReader(io.StringIO(asking(studio)(f"/credits.csv?month=2026-10&by={by}").text)))) == 0


@pytest.mark.parametrize("query", ["month=2026-13", "month=x", "by=client", "month=2026-11&by="])
def test_a_bill_that_there_is_not_is_not_there(asking: Opening, studio: Studio, query: str) -> None:
    with studio.open():
        pass
    assert asking(studio)(f"/credits.csv?{query}").status_code == 404
