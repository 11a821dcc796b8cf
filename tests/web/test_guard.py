"""Who may ask, and what is refused."""

import pytest

from rembg_watch.config.page import is_private
from rembg_watch.web.guard import HEADERS, Asked, door, may_name_its_user, refusal

LOOPBACK = "127.0.0.1:8787"


@pytest.mark.parametrize(
    ("listen", "hosts", "host", "is_known"),
    [
        (LOOPBACK, (), "127.0.0.1:8787", True),
        (LOOPBACK, (), "localhost:8787", True),
        (LOOPBACK, (), "LOCALHOST:8787", True),
        (LOOPBACK, (), "[::1]:8787", True),
        (LOOPBACK, (), "localhost", False),
        (LOOPBACK, (), "localhost:80", False),
        (LOOPBACK, (), "evil.example:8787", False),
        (LOOPBACK, (), "evil.example", False),
        (LOOPBACK, (), "localhost.evil.example:8787", False),
        (LOOPBACK, (), "127.0.0.1.evil.example:8787", False),
        (LOOPBACK, (), "", False),
        (LOOPBACK, (), "localhost:8787@evil.example", False),
        (LOOPBACK, ("studio.example",), "studio.example", True),
        (LOOPBACK, ("studio.example",), "Studio.Example:443", True),
        (LOOPBACK, ("studio.example",), "a.studio.example", False),
        (LOOPBACK, ("studio.example:8443",), "studio.example:8443", True),
        (LOOPBACK, ("studio.example:8443",), "studio.example", False),
        ("127.0.0.1:80", (), "localhost", True),
        ("192.168.1.7:8787", (), "192.168.1.7:8787", True),
        ("192.168.1.7:8787", (), "192.168.1.8:8787", False),
        ("[fd00::7]:8787", (), "[fd00::7]:8787", True),
        ("unix:/run/web.sock", (), "localhost", True),
        ("unix:/run/web.sock", (), "localhost:9", True),
        ("unix:/run/web.sock", (), "studio.example", False),
        ("unix:/run/web.sock", ("studio.example",), "studio.example", True),
    ],
)
def test_only_its_own_names_are_known(listen: str, hosts: tuple[str, ...], host: str, is_known: bool) -> None:
    assert (refusal(Asked(method="GET", host=host), door(listen, hosts)) is None) is is_known


def test_who_comes_by_another_name_is_told_which_setting_permits_it() -> None:
    found = refusal(Asked(method="GET", host="studio.example:8787"), door(LOOPBACK, ()))
    assert found is not None
    assert (found.status, "hosts in [web]" in found.sentence, "studio.example" in found.sentence) == (403, True, True)


def test_a_request_without_a_name_is_refused() -> None:
    assert refusal(Asked(method="GET", host=None), door(LOOPBACK, ())) is not None


VISIT = {"mode": "navigate", "dest": "document"}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (Asked(method="GET", host=LOOPBACK), None),
        (Asked(method="HEAD", host=LOOPBACK), None),
        (Asked(method="GET", host=LOOPBACK, site="none", **VISIT), None),
        (Asked(method="GET", host=LOOPBACK, site="same-origin", mode="cors", dest="empty"), None),
        (Asked(method="GET", host=LOOPBACK, site="cross-site", **VISIT), None),
        (Asked(method="GET", host=LOOPBACK, site="cross-site", mode="navigate", dest="iframe"), 403),
        (Asked(method="GET", host=LOOPBACK, site="cross-site", mode="no-cors", dest="image"), 403),
        (Asked(method="GET", host=LOOPBACK, site="cross-site", mode="cors", dest="empty"), 403),
        (Asked(method="GET", host=LOOPBACK, site="same-site", mode="no-cors", dest="script"), 403),
        (Asked(method="GET", host=LOOPBACK, site="cross-site"), 403),
        (Asked(method="GET", host=LOOPBACK, origin="http://127.0.0.1:8787"), None),
        (Asked(method="GET", host=LOOPBACK, origin="http://evil.example"), 403),
        (Asked(method="GET", host=LOOPBACK, origin="http://127.0.0.1:9999"), 403),
        (Asked(method="GET", host=LOOPBACK, origin="null"), 403),
        (Asked(method="GET", host=LOOPBACK, origin=""), 403),
        (Asked(method="GET", host=LOOPBACK, origin="file://127.0.0.1:8787"), 403),
        (Asked(method="POST", host=LOOPBACK), 405),
        (Asked(method="POST", host=LOOPBACK, site="same-origin", origin="http://127.0.0.1:8787"), 405),
        (Asked(method="POST", host=LOOPBACK, site="cross-site", **VISIT), 403),
        (Asked(method="DELETE", host=LOOPBACK, origin="http://evil.example"), 403),
        (Asked(method="OPTIONS", host=LOOPBACK), 405),
    ],
)
def test_what_other_sites_ask_is_refused_and_nothing_can_be_changed(asked: Asked, status: int | None) -> None:
    found = refusal(asked, door(LOOPBACK, ()))
    assert (None if found is None else found.status) == status


@pytest.mark.parametrize(
    ("listen", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.7:1", False),
        ("studio.example:1", False),
        ("localhost.example:1", False),
    ],
)
def test_what_only_this_machine_reaches(listen: str, private: bool) -> None:
    assert is_private(listen) is private


@pytest.mark.parametrize(
    ("peer", "trusted", "is_believed"),
    [
        (None, (), True),
        ("127.0.0.1", (), False),
        ("127.0.0.1", ("127.0.0.1",), True),
        ("10.1.2.3", ("10.1.0.0/16",), True),
        ("10.2.2.3", ("10.1.0.0/16",), False),
        ("::1", ("127.0.0.1",), False),
        ("nonsense", ("0.0.0.0/0",), False),
    ],
)
def test_who_is_believed_who_its_user_is(peer: str | None, trusted: tuple[str, ...], is_believed: bool) -> None:
    assert may_name_its_user(peer, trusted) is is_believed


def test_no_script_or_style_in_a_page_is_ever_run_and_nobody_frames_it() -> None:
    rules = dict(one.strip().split(" ", 1) for one in HEADERS["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert {rules[one] for one in ("img-src", "style-src", "script-src", "connect-src", "form-action")} == {"'self'"}
    assert "unsafe" not in HEADERS["content-security-policy"]
