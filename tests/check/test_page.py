"""``check`` says in a sentence each why the page would not start."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rembg_watch import check, config
from rembg_watch.check import page
from rembg_watch.config import Finding, Severity

Found = Callable[[str], list[Finding]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    def look(web: str) -> list[Finding]:
        for name in ("in", "out", "state"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "config.toml").write_text(
            f'state_dir = "state"\n[[folders]]\nname = "f"\ninput = "in"\noutput = "out"\n{web}\n'
        )
        reading = config.read(tmp_path / "config.toml", environ={"HOME": "/", "REMBG_WATCH_API__KEY": "k"})
        every = check.findings(reading, ask=None, service={})
        assert not [one for one in every if one.severity is Severity.ERROR], "the daemon works without the page"
        return [one for one in every if "the page" in one.what]

    return look


@pytest.mark.parametrize(
    "web",
    ["", "[web]", '[web]\nlisten = "127.0.0.1:9"', '[web]\nlisten = "unix:/tmp/x.sock"', '[web]\nauth = "password"'],
    ids=["not set up", "as delivered", "loopback", "a socket", "a password by systemd"],
)
def test_a_page_that_would_start_is_no_finding(found: Found, web: str) -> None:
    assert found(web) == []


@pytest.mark.parametrize(
    ("web", "what", "todo"),
    [
        ('listen = "0.0.0.0:8787"', "the page would not start: listen = '0.0.0.0:8787' would show", "password"),
        ('auth = "header"', 'the page would not start: auth = "header": anybody could say', "trusted_proxies"),
        ('auth = "password"\npassword_file = "none"', "there is no password", "password_file"),
        ('listen = "192.0.2.7:80"\nauth = "password"', "cannot listen on 192.0.2.7:80: Cannot assign", "of this"),
        ('listen = "unix:/nowhere/web.sock"', "there is no folder /nowhere", "an address"),
    ],
    ids=["open to everybody", "anybody's header", "no password", "not our address", "no folder"],
)
def test_a_page_that_would_not_start_is_one_sentence(found: Found, web: str, what: str, todo: str) -> None:
    (one,) = found(f"[web]\n{web}")
    assert what in one.what
    assert todo in one.todo
    assert one.severity is Severity.WARNING
    assert "config.toml" in one.where


def test_a_package_that_is_missing_is_named_with_its_extra(found: Found, tmp_path: Path) -> None:
    found("[web]\nthumbnails_mb = 100")
    reading = config.read(tmp_path / "config.toml", environ={"HOME": "/", "REMBG_WATCH_API__KEY": "k"})
    assert reading.settings is not None
    (one,) = page.findings(reading.settings, reading.where, {}, packages=["starlette", "no_such_package"])
    assert (one.what, one.todo) == (
        "the page cannot be served: no_such_package is not installed",
        "pip install 'rembg-watch[web]'",
    )
