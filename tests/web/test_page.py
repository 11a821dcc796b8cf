"""The page in a real Chromium: as a photographer's assistant uses it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rembg_watch.jobs import State
from tests.browser import Browser, started
from tests.web.running import Running, running
from tests.web.studio import HOSTILE, Studio

pytestmark = pytest.mark.browser

LEFT, RIGHT = "\ue012", "\ue014"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as opened:
        yield opened


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = Studio(
        tmp_path_factory.mktemp("page"), web='listen = "127.0.0.1:0"', more='[folders.options]\nbg_color = "#e8ddd0"'
    )
    with studio.open() as ledger:
        studio.drop(ledger, *(f"acme/IMG_{number}.jpg" for number in range(1, 9)))
        studio.deliver(ledger, 6)
        studio.fail(ledger, 1, reason="<img src=x onerror=alert(1)> is too wide.")
        studio.deliver(ledger, 1, finding="all_opaque")
        studio.drop(ledger, *(f"<i>shoot<_i>/{name}" for name in HOSTILE))
        studio.deliver(ledger, len(HOSTILE))
    return studio


@pytest.fixture(scope="module")
def page(studio: Studio) -> Iterator[Running]:
    with running(studio.config, home=studio.root) as page:
        yield page


@pytest.fixture(autouse=True)
def _as_usual(browser: Browser) -> Iterator[None]:
    browser.resize(1280)
    browser.prefer("light")
    yield
    browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    browser.run("localStorage.clear()")
    browser.complaints()


def _open(browser: Browser, page: Running, path: str = "") -> None:
    browser.open(f"{page.url}{path}")
    browser.wait("return [...document.images].every(i => i.complete || i.loading === 'lazy')")


def _path(browser: Browser) -> str:
    found: str = browser.run("return location.pathname + location.search")
    return found


EVERY = ("", "shoots", "shoots/catalogue/1", "pictures", "pictures/1", "pictures/7", "pictures/9", "pictures/10",
         "pictures/11", "pictures/12", "pictures/13", "failed", "credits", "pictures/999")  # fmt: skip


def test_nothing_hostile_runs_and_nothing_is_asked_of_anybody_else(browser: Browser, page: Running) -> None:
    for path in EVERY:
        _open(browser, page, path)
        assert not browser.run("return document.querySelector('main i, main b, main script, img[src=\"x\"]')"), path
        asked = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
        assert [one for one in asked if not one.startswith(page.url)] == []
    complaints = [one for one in browser.complaints() if "status of 404" not in one]
    assert complaints == [], "the rules of the page are kept, by itself too"


def test_from_the_first_page_to_what_failed_it_is_two_clicks(browser: Browser, page: Running) -> None:
    _open(browser, page)
    browser.click("main .reasons a")
    browser.wait("return location.pathname === '/pictures'")
    browser.click("main .card")
    browser.wait("return location.pathname === '/pictures/7'")
    assert "is too wide." in browser.run("return document.querySelector('main .reason').innerText")


def test_a_picture_is_looked_at_by_keyboard_alone(browser: Browser, page: Running) -> None:
    _open(browser, page, "pictures/2")
    browser.press(RIGHT)
    browser.wait("return location.pathname === '/pictures/3'")
    browser.press(LEFT)
    browser.wait("return location.pathname === '/pictures/2'")
    seen = []
    for _ in range(6):
        seen.append(browser.run("return getComputedStyle(document.getElementById('paper')).background"))
        browser.press("b")
    assert len(set(seen)) == 6
    assert any("rgb(232, 221, 208)" in one for one in seen), "the colour that the folder is delivered with"
    browser.press("s")
    assert browser.run("return document.getElementById('compare-slide').checked")
    browser.press("z")
    browser.wait("return location.search === '?size=whole'")
    assert browser.run("return document.querySelector('#paper img').naturalWidth") == 90
    browser.press("u")
    browser.wait("return location.pathname.startsWith('/shoots/catalogue/')")


def test_the_slider_shows_as_much_of_the_original_as_it_says(browser: Browser, page: Running) -> None:
    _open(browser, page, "pictures/2")
    browser.click("label:has(#compare-slide)")
    browser.run("cut.value = 50; cut.dispatchEvent(new Event('input', {bubbles: true}))")
    box = browser.run("const b = paper.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]")
    left, top, width, height = (int(one) for one in box)
    shot = browser.screenshot()
    red, green, _ = shot.getpixel((left + width // 2 - 40, top + height // 2))  # type: ignore[misc]
    assert red > 150 > green, "the original is red"
    red, green, _ = shot.getpixel((left + width // 2 + 40, top + height // 2))  # type: ignore[misc]
    assert green > 120 > red, "the cut-out is green"


def test_what_was_chosen_is_kept_for_the_next_picture(browser: Browser, page: Running) -> None:
    _open(browser, page, "pictures/2")
    browser.click("label:has(#paper-black)")
    _open(browser, page, "pictures/3")
    assert browser.run("return document.getElementById('paper-black').checked")
    assert "rgb(0, 0, 0)" in browser.run("return getComputedStyle(document.getElementById('paper')).background")


def test_without_scripts_everything_is_there_but_the_slider(browser: Browser, page: Running) -> None:
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    _open(browser, page, "pictures/2")
    shown = "return [...document.querySelectorAll('.stage img')].map(i => i.naturalWidth && i.clientWidth > 100)"
    assert browser.run(shown) == [True, True]
    assert browser.run("return getComputedStyle(document.getElementById('own')).display") in {"none", "inline-block"}
    assert browser.run("return document.getElementById('compare-slide').getClientRects().length") == 0
    browser.click("label:has(#paper-black)")
    assert "rgb(0, 0, 0)" in browser.run("return getComputedStyle(document.getElementById('paper')).background")
    browser.click("#later")
    browser.wait("return location.pathname === '/pictures/3'")


@pytest.mark.parametrize("width", [320, 640, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(browser: Browser, page: Running, width: int, scheme: str) -> None:
    browser.prefer(scheme)
    browser.resize(width, 800)
    for path in EVERY:
        _open(browser, page, path)
        assert browser.run("return document.documentElement.scrollWidth") <= width, path


def test_in_the_dark_it_is_dark_and_can_be_read(browser: Browser, page: Running) -> None:
    for scheme, is_dark in (("light", False), ("dark", True)):
        browser.prefer(scheme)
        _open(browser, page)
        for css in ("main .faint", "main .text", "nav a", ".badge", ".now p", "main a", "footer"):
            ratio = browser.run(_CONTRAST.replace("CSS", css))
            assert ratio >= 4.5, (scheme, css, ratio)
        assert (browser.run(_LIGHT) < 0.2) is is_dark


_LUMINANCE = """
const straight = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).map((v) => straight(Number(v) / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
"""
_LIGHT = _LUMINANCE + "return light(getComputedStyle(document.body).backgroundColor)"
_CONTRAST = (
    _LUMINANCE
    + """
const one = document.querySelector("CSS");
const ground = (element) => getComputedStyle(element).backgroundColor;
let behind = one;
while (["rgba(0, 0, 0, 0)", "transparent"].includes(ground(behind))) behind = behind.parentElement;
const both = [light(getComputedStyle(one).color), light(ground(behind))].sort((a, b) => b - a);
return (both[0] + 0.05) / (both[1] + 0.05);
"""
)


def test_everything_that_is_used_has_a_name_for_a_screen_reader(browser: Browser, page: Running) -> None:
    roles = {
        "link",
        "button",
        "image",
        "radio",
        "searchbox",
        "combobox",
        "slider",
        "progressbar",
        "navigation",
        "region",
    }
    for path in EVERY:
        _open(browser, page, path)
        nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
        used = [one for one in nodes if not one.get("ignored") and one["role"]["value"] in roles]
        assert len(used) > 5, path
        nameless = [one["role"]["value"] for one in used if not one.get("name", {}).get("value", "").strip()]
        assert nameless == [], path
        levels = [one for one in nodes if one["role"]["value"] == "heading" and not one.get("ignored")]
        assert levels, path
        assert browser.run("return document.querySelectorAll('h1').length") == 1, path


def test_what_happens_appears_by_itself_and_a_page_that_is_gone_is_told(browser: Browser, tmp_path: Path) -> None:
    studio = Studio(tmp_path / "studio", web='listen = "127.0.0.1:0"')
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg")
        with running(studio.config, home=tmp_path) as page:
            _open(browser, page)
            browser.wait("return document.body.innerText.includes('0 of 1 picture delivered')")
            browser.run("window.isTheSame = true; document.querySelector('main .card').focus()")
            time.sleep(3.5)  # one look without any change, by which the page knows what to compare with
            studio.deliver(ledger)
            browser.wait("return document.body.innerText.includes('1 of 1 picture delivered')")
            assert browser.run("return window.isTheSame"), "it was not loaded anew"
            assert browser.run("return document.activeElement.className") == "card", "the focus stays"
        browser.wait("return !document.getElementById('away').hidden")


def test_seven_tabs_are_served_at_once(browser: Browser, page: Running) -> None:
    first = browser.call("GET", "/window")
    tabs = [browser.call("POST", "/window/new", type="tab")["handle"] for _ in range(7)]
    try:
        for tab in tabs:
            browser.call("POST", "/window", handle=tab)
            _open(browser, page)
        for tab in tabs:
            browser.call("POST", "/window", handle=tab)
            assert browser.run("return document.querySelectorAll('main .card').length") > 5
    finally:
        for tab in tabs:
            browser.call("POST", "/window", handle=tab)
            browser.call("DELETE", "/window")
        browser.call("POST", "/window", handle=first)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Studio, Running]]:
    """A page that may act, behind a password that the browser has typed already."""
    (tmp_path / "password").write_text("secret")
    acting = f'listen = "127.0.0.1:0"\nmay = "act"\nauth = "password"\npassword_file = "{tmp_path / "password"}"'
    studio = Studio(tmp_path / "studio", web=acting)
    with studio.open() as ledger:
        studio.drop(ledger, *(f"acme/IMG_{number}.jpg" for number in range(1, 9)))
        studio.deliver(ledger, 3)
        studio.fail(ledger, 4)
    with running(studio.config, home=tmp_path) as page:
        host = page.url.removeprefix("http://")
        yield studio, Running(page.process, f"http://anna:secret@{host}")


def test_a_shoot_is_approved_and_rejected_by_keyboard(browser: Browser, desk: tuple[Studio, Running]) -> None:
    studio, page = desk
    browser.complaints()  # those of whoever looked before
    _open(browser, page, "pictures/1")
    browser.press("a")
    browser.wait("return location.pathname === '/pictures/2'")
    assert "1 picture approved." in browser.run("return document.querySelector('[role=status].did').innerText")
    browser.press("r")
    browser.wait("return location.pathname === '/pictures/3'")
    browser.press("a")
    browser.wait("return location.pathname === '/pictures/4'")
    with studio.open() as ledger:
        found = {id_: one.verdict.value for id_, one in ledger.verdicts(list(ledger.jobs())).items()}
    assert found == {1: "approved", 2: "rejected", 3: "approved"}
    _open(browser, page, "reviewed?verdict=rejected")
    assert browser.run("return document.querySelectorAll('main .card').length") == 1
    assert [one for one in browser.complaints() if "CONNECTION_REFUSED" not in one] == []  # of a page that was before


def test_a_failed_group_is_tried_again_with_one_button(browser: Browser, desk: tuple[Studio, Running]) -> None:
    studio, page = desk
    _open(browser, page, "failed")
    browser.click("main form button")
    browser.wait("return location.pathname === '/act'")
    assert "up to 4 credits" in browser.run("return document.querySelector('main').innerText")
    browser.click("main form button")
    browser.wait("return location.pathname === '/failed'")
    assert "4 pictures put back in line." in browser.run("return document.querySelector('main').innerText")
    with studio.open() as ledger:
        assert ledger.counts()[State.FAILED] == 0


def test_what_can_be_done_works_without_scripts_and_on_a_narrow_screen(
    browser: Browser, desk: tuple[Studio, Running]
) -> None:
    studio, page = desk
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    browser.resize(320, 800)
    _open(browser, page, "pictures/1")
    browser.click("#act-redo")
    browser.wait("return location.pathname === '/act'")
    assert browser.run("return document.documentElement.scrollWidth") <= 320
    browser.click("main form button")
    browser.wait("return location.pathname === '/pictures/1'")
    with studio.open() as ledger:
        job = ledger.get(1)
        assert job is not None
        assert job.state is State.QUEUED
