"""The reference page: whole without the internet, and a person can send a request from it."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from rembg_watch.sandbox import Sandbox
from tests.browser import Browser, started

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def page() -> Iterator[httpx.Response]:
    with httpx.Client(transport=Sandbox().transport(), base_url="http://sandbox") as client:
        yield client.get("/")


def test_the_page_asks_no_other_host_for_anything(page: httpx.Response) -> None:
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", page.text)
    assert not re.findall(r"@import|<link[^>]+stylesheet|<script[^>]+src", page.text)


def test_the_page_forbids_the_browser_to_ask_another_host(page: httpx.Response) -> None:
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_the_page_takes_every_documented_parameter() -> None:
    with httpx.Client(transport=Sandbox().transport(), base_url="http://sandbox") as client:
        text = client.get("/").text
        form = client.get("/api/openapi").json()["paths"]["/rmbg"]["post"]["requestBody"]["content"]
    for name in form["multipart/form-data"]["schema"]["properties"].keys() - {"return_base64"}:
        assert f'id="{name}"' in text, name


def test_samples_are_offered_and_no_name_leads_out_of_their_folder() -> None:
    with httpx.Client(transport=Sandbox().transport(), base_url="http://sandbox") as client:
        names = client.get("/sandbox/samples").json()["samples"]
        assert "kitchen/mug.jpg" in names
        answer = client.get("/sandbox/samples/kitchen/mug.jpg")
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).format == "JPEG"
        assert client.get("/sandbox/samples/..%2f..%2f__init__.py").status_code == 404


@pytest.fixture
def browser() -> Iterator[Browser]:
    with started() as opened:
        yield opened


@pytest.mark.browser
def test_a_person_sends_a_picture_and_sees_the_cutout(browser: Browser) -> None:
    sandbox = Sandbox(engine="u2net", credits=10)
    with sandbox.serve() as server:
        browser.open(server.base_url)
        browser.type("#image", str(DATA / "packshots" / "mug.jpg"))
        browser.type("#w", "400")
        browser.click("#send")
        browser.wait("return document.getElementById('canvas').classList.contains('has-result')")
        width, height = browser.run(
            "const i = document.getElementById('after'); return [i.naturalWidth, i.naturalHeight]"
        )
        assert (width, height) == (400, 400)
        assert "200" in browser.run("return document.getElementById('facts').innerText")
        browser.wait("return document.getElementById('balance').innerText.startsWith('9 ')")
        pixels = _result_pixels(browser)
        assert pixels.getpixel((5, 5))[3] < 10, "the ground is see-through"
        assert pixels.getpixel((200, 240))[3] > 245, "the mug is not"
    assert sandbox.billed == 1
    sent = next(record for record in sandbox.requests if record.path == "/rmbg")
    assert sent.filename == "mug.jpg"
    assert dict(sent.params) == {"w": "400"}


def _result_pixels(browser: Browser) -> Image.Image:
    url = browser.run(
        "const i = document.getElementById('after'), c = document.createElement('canvas');"
        "c.width = i.naturalWidth; c.height = i.naturalHeight; c.getContext('2d').drawImage(i, 0, 0);"
        "return c.toDataURL()"
    )
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA")


@pytest.mark.browser
def test_a_person_sees_every_finding_of_a_refused_request(browser: Browser) -> None:
    with Sandbox(engine="flat").serve() as server:
        browser.open(server.base_url)
        browser.wait("return document.querySelectorAll('#samples button').length >= 5")
        browser.click("#samples button")
        browser.wait("return !document.getElementById('send').disabled")
        browser.type("#w", "abc")
        browser.type("#angle", "500")
        browser.click("#send")
        browser.wait("return document.getElementById('canvas').classList.contains('has-error')")
        said = browser.run("return document.getElementById('trouble').innerText")
    assert "'w' must be an integer, got: 'abc'" in said
    assert "'angle' must be between -360 and 360 degrees, got: 500.0" in said


@pytest.mark.browser
def test_the_page_shows_the_reference_and_breaks_no_rule_of_its_own(browser: Browser) -> None:
    with Sandbox(engine="flat").serve() as server:
        browser.open(server.base_url)
        browser.wait("return document.querySelectorAll('#error-rows .row').length >= 22")
        assert "exact_resize" in browser.run("return document.getElementById('parameter-rows').innerText")
        assert "listBillingCycles" in browser.run("return document.getElementById('usage-rows').innerText")
        asked = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
        complaints = browser.call("POST", "/se/log", type="browser")
    assert all(url.startswith((server.base_url, "blob:", "data:")) for url in asked)
    assert [c["message"] for c in complaints if c["level"] == "SEVERE"] == []
