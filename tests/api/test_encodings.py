"""Bodies that are encoded although nobody asked for it: pictures are refused, words are read within a bound."""

import functools
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rembg_watch import Client
from rembg_watch.account.retry import RULES, Fate, rule_name
from rembg_watch.api.encodings import MOST_LAYERS, encodings_of, plain, spoken
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    NoAnswerError,
    RembgError,
    Scope,
    Throttle,
    ThrottledError,
)
from rembg_watch.api.exchange import LARGEST_ACCOUNT_BYTES
from rembg_watch.api.refusals import BODY_LIMIT_BYTES

KEY = "k-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(3_000)
CUT = b"RIFF\x10\x0a\x20\x00WEBPVP8 " + bytes(20_000)
MB = 1 << 20
REFUSAL = json.dumps({"error": "You are sending requests too quickly. Please slow down."}).encode()
ACCOUNT = json.dumps({"membership": "P", "credits": 10, "prepaidCredits": 1, "app_usage": 0, "api_usage": 4}).encode()


def bare_deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": bare_deflated,
    "identity": bytes,
    "Identity": bytes,
    "": bytes,
}
UNKNOWN = ("br", "zstd", "compress", "aes128gcm", "snappy", "x\x7f; drop", "BR")


def packed(body: bytes, names: tuple[str, ...]) -> bytes:
    """Encode *body* with each of *names* in turn; what is unknown here makes bytes that nobody reads."""
    for name in names:
        body = PACKERS[name](body) if name in PACKERS else b"\xff\xfe\x00" + body[::-1]
    return body


class Wire(httpx.BaseTransport):
    """Answers with a body in blocks, as a wire brings it."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, block: int = 8_192) -> None:
        self.status, self.headers, self.body, self.block = status, headers, body, block

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return httpx.Response(self.status, headers=self.headers, stream=Blocks(self.body, self.block))


class Blocks(httpx.SyncByteStream):
    def __init__(self, body: bytes, block: int) -> None:
        self.body, self.block = body, block

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), self.block):
            yield self.body[start : start + self.block]


def removing(status: int, names: tuple[str, ...], body: bytes) -> bytes | None:
    with Client(KEY, transport=Wire(status, [("content-encoding", ", ".join(names))], body)) as client:
        return client.remove_background(PNG).content


def asking(status: int, names: tuple[str, ...], body: bytes) -> Decimal:
    with Client(KEY, transport=Wire(status, [("content-encoding", ", ".join(names))], body)) as client:
        return client.account().spendable


layers = st.lists(st.sampled_from([*PACKERS, *UNKNOWN]), min_size=0, max_size=MOST_LAYERS).map(tuple)


def is_none(names: tuple[str, ...]) -> bool:
    return all(name.lower() in {"", "identity"} for name in names)


def is_known(names: tuple[str, ...]) -> bool:
    return all(name in PACKERS for name in names)


@given(names=layers)
def test_an_encoded_picture_is_refused_whatever_the_encoding(names: tuple[str, ...]) -> None:
    body = packed(CUT, names)
    if is_none(names):
        assert removing(200, names, body) == CUT
        return
    with pytest.raises(NoAnswerError) as caught:
        removing(200, names, body)
    error = caught.value
    assert (error.code, error.status, error.charge, error.scope) == (
        "answer_not_decodable",
        200,
        Charge.MAYBE,
        Scope.SERVICE,
    )
    assert RULES[rule_name(error)].fate is Fate.DOUBT  # as with any other success that brings no picture
    first = next(name.lower() for name in names if name.lower() not in {"", "identity"})
    assert ("something unknown" if "\x7f" in first else first) in str(error)
    assert "proxy" in str(error)
    assert str(error).isprintable()


@given(names=layers)
def test_a_refusal_is_read_through_the_encodings_that_are_known(names: tuple[str, ...]) -> None:
    with pytest.raises(ThrottledError) as caught:
        removing(429, names, packed(REFUSAL, names))
    error = caught.value
    assert error.charge is Charge.NO
    assert error.throttle is (Throttle.SHORT_TERM if is_known(names) else Throttle.UNKNOWN)
    assert ("too quickly" in str(error)) == is_known(names)
    assert ("encoded" in str(error)) != is_known(names)


@given(names=layers)
def test_the_account_is_read_through_the_encodings_that_are_known(names: tuple[str, ...]) -> None:
    body = packed(ACCOUNT, names)
    if is_known(names):
        assert asking(200, names, body) == 7
        return
    with pytest.raises(NoAnswerError) as caught:
        asking(200, names, body)
    assert (caught.value.code, caught.value.charge) == ("answer_not_decodable", Charge.NO)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "utf-8", "none"])
def test_words_that_a_gateway_unpacked_without_saying_so_are_read(name: str) -> None:
    with pytest.raises(ThrottledError) as caught:
        removing(429, (name,), REFUSAL)
    assert caught.value.throttle is Throttle.SHORT_TERM
    assert asking(200, (name,), ACCOUNT) == 7


# --- bounds


@functools.cache
def bomb(names: tuple[str, ...], size_mb: int = 96) -> bytes:
    """Pack *size_mb* of zeros; the layers above the first make next to nothing of it."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16 if names[0] == "gzip" else zlib.MAX_WBITS)
    body = b"".join(packer.compress(bytes(MB)) for _ in range(size_mb)) + packer.flush()
    return packed(body, names[1:])


BOMBS = [("gzip",), ("deflate",), ("gzip", "gzip"), ("deflate", "gzip"), ("gzip", "gzip", "gzip"), ("gzip", "br")]


def peak_of(act: Callable[[], object]) -> tuple[int, RembgError]:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(RembgError) as caught:
            act()
        return tracemalloc.get_traced_memory()[1] - before, caught.value
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("names", BOMBS, ids=", ".join)
@pytest.mark.parametrize("where", ["answer", "error", "account", "refused account"])
def test_what_unpacks_to_gigabytes_takes_no_memory(where: str, names: tuple[str, ...]) -> None:
    body = bomb(names)
    act = {
        "answer": lambda: removing(200, names, body),
        "error": lambda: removing(500, names, body),
        "account": lambda: asking(200, names, body),
        "refused account": lambda: asking(503, names, body),
    }[where]
    peak, error = peak_of(act)
    assert peak < (16 * MB if where == "account" else 3 * MB)
    assert KEY not in str(error)


def test_a_bomb_over_a_real_connection_takes_no_memory(serve: Callable[..., object]) -> None:
    body = bomb(("gzip", "gzip"))
    server = serve(lambda v: (v.read_all(), v.answer("200 OK", body, "Content-Encoding: gzip, gzip")))
    with Client(KEY, url=server.url) as client:  # type: ignore[attr-defined]
        peak, error = peak_of(lambda: client.remove_background(PNG))
    assert peak < 3 * MB
    assert error.code == "answer_not_decodable"


def test_an_account_that_unpacks_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(BadAnswerError) as caught:
        asking(200, ("gzip",), gzip.compress(b" " * (LARGEST_ACCOUNT_BYTES + 1)))
    assert caught.value.code == "answer_too_large"


@settings(max_examples=200)
@given(body=st.binary(max_size=400), names=st.lists(st.text(max_size=8), max_size=9), limit=st.integers(1, 300))
def test_nothing_unpacks_to_more_than_the_limit(body: bytes, names: list[str], limit: int) -> None:
    found = plain(body, names, limit_bytes=limit)
    assert found is None or found == body or len(found) <= limit
    assert spoken(names).isprintable()


def test_the_start_of_cut_off_words_is_read() -> None:
    body = gzip.compress(b"x" * 1000 + bytes(range(256)) * 40)
    assert plain(body[: len(body) // 2], ["gzip"], limit_bytes=BODY_LIMIT_BYTES)[:1000] == b"x" * 1000  # type: ignore[index]


def test_encodings_are_listed_over_several_headers() -> None:
    headers = httpx.Headers([("content-encoding", "gzip"), ("content-encoding", " BR , identity,")])
    assert encodings_of({name.lower(): value for name, value in headers.items()}) == ("gzip", "br")
