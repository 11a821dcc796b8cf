"""Contact sheets, asked for as the page links to them."""

import re
from collections.abc import Callable

import pytest

from rembg_watch.jobs import Job
from rembg_watch.web import sheets
from tests.web.studio import HOSTILE, Asking, Studio

Opening = Callable[..., Asking]


@pytest.fixture
def jobs(studio: Studio) -> list[Job]:
    """Two delivered pictures of a shoot, and one that failed; one of another."""
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg", "bolt/1.jpg", "acme/3.jpg")
        found = studio.deliver(ledger, 3)
        studio.fail(ledger)
    return found


def test_a_shoot_links_to_its_sheet_which_is_a_download(studio: Studio, asking: Opening, jobs: list[Job]) -> None:
    ask = asking(studio)
    link = re.findall(r'href="([^"]+)" download', ask(f"/shoots/catalogue/{jobs[0].id}").text)
    assert link == [f"/sheet/catalogue/{jobs[0].id}.html"]
    answer = ask(link[0])
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="contact-sheet.html"')
    assert answer.headers["content-disposition"].endswith("''acme.html")
    assert re.findall("<bdi>(.*?)</bdi>", answer.text) == ["1.jpg", "2.jpg"]
    assert len(re.findall('src="data:image/', answer.text)) == 4
    assert answer.text.endswith("</html>\n")
    assert str(studio.root) not in answer.text


def test_what_is_not_there_and_what_is_too_large_is_told(
    studio: Studio, asking: Opening, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = asking(studio)
    for path in ("/sheet/catalogue/999.html", f"/sheet/other/{jobs[0].id}.html", f"/sheet/catalogue/{2**70}.html"):
        assert ask(path).status_code == 404
    monkeypatch.setattr(sheets, "PART", 1)
    assert ask(f"/sheet/catalogue/{jobs[0].id}.html").status_code == 413


def test_another_site_cannot_ask_for_one(studio: Studio, asking: Opening, jobs: list[Job]) -> None:
    assert asking(studio)(f"/sheet/catalogue/{jobs[0].id}.html", sec_fetch_site="cross-site").status_code == 403


def test_a_hostile_shoot_is_a_plain_name_in_the_header(studio: Studio, asking: Opening) -> None:
    shoot = 'x"; filename="evil\r\nset-cookie: a=b\u202e'
    with studio.open() as ledger:
        studio.drop(ledger, *(f"{shoot}/{name}" for name in HOSTILE))
        job = studio.deliver(ledger, len(HOSTILE))[0]
    answer = asking(studio)(f"/sheet/catalogue/{job.id}.html")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].count('"') == 2
    assert "<img src=x" not in answer.text
    assert "<script>" not in answer.text
