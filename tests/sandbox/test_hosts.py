"""The sandbox answers to addresses and loopback names, not to a name that a web page made lead here."""

import http.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.hosts import is_answered


@pytest.mark.parametrize(
    ("header", "listens_on", "expected"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.9.9.9:1", "127.0.0.1", True),
        ("localhost:8080", "127.0.0.1", True),
        ("LocalHost", "127.0.0.1", True),
        ("localhost.:80", "127.0.0.1", True),
        ("me.localhost", "127.0.0.1", True),
        ("[::1]:8080", "::1", True),
        ("[::1]:8080", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("evil.example", "127.0.0.1", False),
        ("evil.example:8080", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("api.rembg.com", "127.0.0.1", True),
        ("www.rembg.com:443", "127.0.0.1", True),
        ("xapi.rembg.com", "127.0.0.1", False),
        ("sandbox:8080", "0.0.0.0", True),
        ("192.168.1.5:8080", "127.0.0.1", False),
        ("192.168.1.5:8080", "192.168.1.5", True),
        ("192.168.1.5:8080", "0.0.0.0", True),
        ("[fe80::1]:8080", "::", True),
        ("evil.example", "0.0.0.0", False),
        ("studio.lan:8080", "studio.lan", True),
        ("STUDIO.lan:8080", "studio.lan", True),
        ("other.lan:8080", "studio.lan", False),
        ("[", "127.0.0.1", True),
    ],
)
def test_who_is_meant_is_who_answers(header: str, listens_on: str, expected: bool) -> None:
    assert is_answered(header, listens_on) is expected


@given(name=st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5}){1,3}", fullmatch=True), port=st.integers(0, 70_000))
def test_no_name_of_the_world_is_answered(name: str, port: int) -> None:
    assert not is_answered(f"{name}:{port}", "127.0.0.1") or name.endswith(".localhost")


@pytest.mark.parametrize("path", ["/sandbox/state", "/sandbox/settings", "/", "/rmbg", "/api/membership-usage"])
def test_a_page_that_leads_here_by_a_name_learns_and_changes_nothing(path: str) -> None:
    sandbox = Sandbox(engine="flat", credits=50)
    with sandbox.serve() as server:
        for host, status in ((f"evil.example:{server.port}", 421), (f"localhost:{server.port}", None)):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request(
                "POST", path, body=b'{"credits": 2}', headers={"Host": host, "Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert (answer.status == 421) == (status == 421)
            assert status is None or b"credits" not in answer.read()
            connection.close()
