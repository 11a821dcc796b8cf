"""Proxies and certificates of the environment: whom they concern, and what is wrong with them in words."""

import ipaddress
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch import Client
from rembg_watch.account.retry import RULES, Fate, rule_name
from rembg_watch.api.environment import Proxy, Target, own_certificates, passes_by, proxy_for
from rembg_watch.api.errors import Charge, RembgError, Scope, UnreachableError

KEY = "k-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(500)
CUT = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(1000)
HOST = Target("https", "api.rembg.com", 443)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that runs the tests counts."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def target(url: str) -> Target:
    scheme, _, rest = url.partition("://")
    host, port = rest.rsplit(":", 1)
    return Target(scheme, host.strip("[]"), int(port))


@pytest.mark.parametrize(
    ("no_proxy", "url", "expected"),
    [
        ("", "https://api.rembg.com:443", False),
        ("*", "https://api.rembg.com:443", True),
        ("localhost, *", "https://api.rembg.com:443", True),
        ("rembg.com", "https://api.rembg.com:443", True),
        ("rembg.com", "https://rembg.com:443", True),
        ("rembg.com", "https://notrembg.com:443", False),
        (".rembg.com", "https://api.rembg.com:443", True),
        (".rembg.com", "https://rembg.com:443", False),
        ("*.rembg.com", "https://api.rembg.com:443", True),
        ("REMBG.com.", "https://api.rembg.com:443", True),
        ("api.rembg.com:443", "https://api.rembg.com:443", True),
        ("api.rembg.com:8443", "https://api.rembg.com:443", False),
        ("https://api.rembg.com", "https://api.rembg.com:443", True),
        ("http://api.rembg.com", "https://api.rembg.com:443", False),
        ("all://api.rembg.com", "https://api.rembg.com:443", True),
        ("localhost", "http://localhost:8080", True),
        ("localhost", "http://x.localhost:8080", False),
        ("localhost,127.0.0.1,::1", "http://127.0.0.1:8080", True),
        ("localhost,127.0.0.1,::1", "http://[::1]:8080", True),
        ("[::1]", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:80", "http://[::1]:8080", False),
        ("0:0:0:0:0:0:0:1", "http://[::1]:8080", True),
        ("127.0.0.0/8", "http://127.0.0.1:8080", True),
        ("127.0.0.5/8", "http://127.0.0.1:8080", True),
        ("10.0.0.0/8", "http://127.0.0.1:8080", False),
        ("fe80::/10", "http://[fe80::1]:80", True),
        ("[fe80::]/10", "http://[fe80::1]:80", True),
        ("fe80::/10", "http://[::1]:80", False),
        ("fe80::/10,127.0.0.1", "http://127.0.0.1:80", True),
        ("fe80::1%eth0", "http://[fe80::1]:80", True),
        ("::ffff:127.0.0.1", "http://127.0.0.1:80", True),
        ("10.0.0.0/8", "https://api.rembg.com:443", False),
        ("nonsense[,]:::,://,a:b:c,/8,%,[", "https://api.rembg.com:443", False),
        ("[,rembg.com", "https://api.rembg.com:443", True),
        ("rembg.com:http", "https://api.rembg.com:443", False),
        ("one.example rembg.com", "https://api.rembg.com:443", True),
    ],
)
def test_no_proxy_is_read_as_people_write_it(no_proxy: str, url: str, expected: bool) -> None:
    assert passes_by(target(url), no_proxy) is expected


@given(
    no_proxy=st.text(alphabet="[]:/.*,%-_@ \\abc019e\tü", max_size=40), host=st.sampled_from(["a.b", "::1", "10.1.1.1"])
)
def test_nothing_in_no_proxy_makes_anything_fail(no_proxy: str, host: str) -> None:
    assert passes_by(Target("https", host, 443), no_proxy) in (True, False)
    assert passes_by(Target("https", host, 443), f"{no_proxy.replace(',', '')},{host}") is True


@given(net=st.ip_addresses(v=4) | st.ip_addresses(v=6), bits=st.integers(0, 32), data=st.data())
def test_a_net_exempts_its_own_addresses_alone(
    net: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int, data: st.DataObject
) -> None:
    whole = ipaddress.ip_network(f"{net}/{bits}", strict=False)
    inside = data.draw(st.ip_addresses(network=whole))
    assert passes_by(Target("http", str(inside), 80), f"x.example,{whole}")
    outside = data.draw(st.ip_addresses(v=whole.version))
    assert passes_by(Target("http", str(outside), 80), str(whole)) == (outside in whole)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "proxy:3128"}, Proxy("HTTPS_PROXY", "http://proxy:3128")),
        ({"https_proxy": "http://one", "HTTPS_PROXY": "http://two"}, Proxy("https_proxy", "http://one")),
        ({"https_proxy": "", "HTTPS_PROXY": "http://two"}, None),
        ({"ALL_PROXY": "socks5://p:1080"}, Proxy("ALL_PROXY", "socks5://p:1080")),
        ({"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://b"}, Proxy("HTTPS_PROXY", "http://b")),
        ({"HTTP_PROXY": "http://a"}, None),
        ({"HTTPS_PROXY": "http://a", "no_proxy": "rembg.com"}, None),
        ({"HTTPS_PROXY": "nonsense://a", "NO_PROXY": "*"}, None),
    ],
)
def test_the_proxy_is_the_one_that_is_named_for_the_scheme(environ: dict[str, str], expected: Proxy | None) -> None:
    assert proxy_for(HOST, environ) == expected


BAD_PROXIES = [
    "nonsense://user:geheim@x",
    "http://user:ge:heim@[::1",
    "http://x:geheim",
    "http://",
    "socks4://geheim:1",
]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("value", BAD_PROXIES)
def test_a_proxy_that_is_none_fails_the_call_and_not_the_client(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with Client(KEY) as client:
        for act in (lambda: client.remove_background(PNG), client.account):
            with pytest.raises(UnreachableError) as caught:
                act()
            error = caught.value
            assert (error.code, error.charge, error.scope) == ("proxy_unusable", Charge.NO, Scope.SERVICE)
            assert RULES[rule_name(error)].fate is Fate.COUNTED  # held as any other trouble with the way
            assert name in str(error)
            assert "heim" not in str(error)
            assert error.__context__ is None


@pytest.mark.skipif(find_spec("socksio") is not None, reason="the package is there")
def test_socks_without_its_package_says_which_variable_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with Client(KEY) as client, pytest.raises(UnreachableError, match=r"ALL_PROXY .* 'rembg-watch\[socks\]'"):
        client.remove_background(PNG)


@pytest.mark.parametrize(
    "no_proxy", ["fe80::/10,127.0.0.1", "[::1],127.0.0.1", "10.0.0.0/8,127.0.0.0/8", "[, :::, 127.0.0.1"]
)
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
def test_odd_exemptions_do_not_keep_a_picture_from_its_way(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxy: str
) -> None:
    server = serve(lambda v: (v.read_all(), v.answer("200 OK", CUT)))
    monkeypatch.setenv("no_proxy", no_proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with Client(KEY, url=server.url) as client:
        assert client.remove_background(PNG).content == CUT


def test_each_address_has_a_proxy_of_its_own(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    account = json.dumps({"credits": 10}).encode()
    direct = serve(lambda v: (v.read_all(), v.answer("200 OK", CUT)))
    proxy = serve(lambda v: (v.read_all(), v.answer("200 OK", account)))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", f"127.0.0.1:{direct.port}")
    with Client(KEY, url=direct.url, usage_url="http://usage.invalid/usage") as client:
        assert client.remove_background(PNG).content == CUT
        assert client.account().credits == 10
    assert proxy.visitors[0].head.startswith(b"GET http://usage.invalid/usage")


# --- certificates


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("SSL_CERT_FILE", "/"),
        ("SSL_CERT_FILE", __file__),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent:/neither"),
    ],
)
def test_certificates_that_are_not_there_fail_the_call_and_are_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with Client(KEY, url="https://127.0.0.1:1/rmbg") as client:
        with pytest.raises(UnreachableError) as caught:
            client.remove_background(PNG)
        error: RembgError = caught.value
        assert (error.code, error.retryable) == ("certificates_unusable", True)
        assert variable in str(error)
        assert value in str(error)
        with pytest.raises(UnreachableError, match=variable):
            client.account()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_without_tls_nobody_asks_for_certificates(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server = serve(lambda v: (v.read_all(), v.answer("200 OK", CUT)))
    monkeypatch.setenv(variable, "/nonexistent")
    with Client(KEY, url=server.url, usage_url=server.url) as client:
        assert client.remove_background(PNG).content == CUT


def test_certificates_that_come_later_are_found(
    serve_tls: Callable[..., Any], certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve_tls(lambda v: (v.read_all(), v.answer("200 OK", CUT)))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "late.pem"))
    with Client(KEY, url=server.url) as client:
        with pytest.raises(UnreachableError):
            client.remove_background(PNG)
        (tmp_path / "late.pem").write_bytes(certificate[0].read_bytes())
        assert client.remove_background(PNG).content == CUT


def test_certificates_that_vouch_for_another_are_named(
    serve_tls: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve_tls(lambda v: v.read_all())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Client(KEY, url=server.url) as client, pytest.raises(UnreachableError, match="that SSL_CERT_DIR names"):
        client.remove_background(PNG)


def test_a_proxy_that_does_not_answer_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://user:geheim@127.0.0.1:1")
    with Client(KEY) as client, pytest.raises(UnreachableError) as caught:
        client.remove_background(PNG)
    assert "could not be sent to api.rembg.com by the proxy that ALL_PROXY names" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_nothing_that_is_set_means_the_usual_certificates() -> None:
    assert own_certificates({}) is None
    assert own_certificates({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) is None
