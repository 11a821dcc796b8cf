"""The control routes: the books to read, the settings to change."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from rembg_watch.sandbox import Sandbox

Ask = Callable[..., httpx.Response]


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(engine="flat", credits=5)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(transport=sandbox.transport(), base_url="http://sandbox") as opened:
        yield opened


def test_the_books_count_what_happened(sandbox: Sandbox, client: httpx.Client, ask: Ask) -> None:
    ask(sandbox)
    ask(sandbox)
    ask(sandbox, {"w": "x"})
    state = client.get("/sandbox/state").json()
    assert (state["billed"], state["billed_twice"], state["spendable"], state["in_flight"]) == (2, 1, 3, 0)
    assert state["statuses"] == {"/rmbg 200": 2, "/rmbg 400": 1}


def test_settings_take_effect(sandbox: Sandbox, client: httpx.Client, ask: Ask) -> None:
    wanted = {
        "credits": 100,
        "prepaid": 7,
        "price": 2,
        "rate": "sliding:2:60",
        "latency_s": 0,
        "faults": ["status:status=500,count=1", {"kind": "html", "count": 1, "file": "a.jpg"}],
        "is_synced": False,
        "is_verified": True,
        "unknown_key": "anonymous",
        "daily_limit": 9,
        "use_app": 3,
    }
    answer = client.post("/sandbox/settings", json=wanted)
    assert answer.status_code == 200
    assert answer.json()["spendable"] == 100 + 7 - 3 * 2
    assert [ask(sandbox).status_code for _ in range(5)] == [500, 502, 200, 200, 429]
    assert sandbox.account.window(sandbox.now).start == int(
        sandbox.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    )


def test_time_can_be_moved_and_books_be_closed(sandbox: Sandbox, client: httpx.Client, ask: Ask) -> None:
    for _ in range(5):
        ask(sandbox)
    before = sandbox.now
    assert client.post("/sandbox/settings", json={"shift_s": 3600}).json()["spendable"] == 0
    assert (sandbox.now - before).total_seconds() >= 3600
    assert client.post("/sandbox/settings", json={"new_period": True, "reset": True}).json()["spendable"] == 5
    assert sandbox.billed == 0
    assert list(sandbox.requests) == []


def test_the_server_can_be_taken_down_and_brought_back_in_code(
    sandbox: Sandbox, client: httpx.Client, ask: Ask
) -> None:
    client.post("/sandbox/settings", json={"is_down": True})
    with pytest.raises(httpx.ConnectError):
        ask(sandbox)
    sandbox.is_down = False
    assert ask(sandbox).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"kredits": 5}, "there is no setting 'kredits'"),
        ({"credits": -1}, "whole number"),
        ({"credits": 1.5}, "whole number"),
        ({"credits": True}, "whole number"),
        ({"latency_s": "long"}, "number of 0 or more"),
        ({"shift_s": 1e300}, "number of 0 or more"),
        ({"reset": "yes"}, "true or false"),
        ({"rate": "fast"}, "requests a second"),
        ({"faults": "stall"}, "list of orders"),
        ({"faults": [{"kind": "nothing"}]}, "no kind of fault"),
        ({"faults": [5]}, "no kind of fault"),
        ({"unknown_key": "maybe"}, "refuse or anonymous"),
        ([], "one JSON object"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_nothing_changes(
    sandbox: Sandbox, client: httpx.Client, wanted: object, words: str
) -> None:
    both = {"prepaid": 99, **wanted} if isinstance(wanted, dict) else wanted
    answer = client.post("/sandbox/settings", json=both)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert sandbox.account.prepaid == 0


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/sandbox/settings", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_a_page_elsewhere_cannot_change_settings(client: httpx.Client) -> None:
    answer = client.post("/sandbox/settings", content=b'{"credits": 0}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_requests_are_told_from_a_number_on(sandbox: Sandbox, client: httpx.Client, ask: Ask) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        ask(sandbox, filename=name)
    everything = client.get("/sandbox/requests").json()["requests"]
    assert [r["filename"] for r in everything] == ["a.jpg", "b.jpg", "c.jpg"]
    assert everything[0]["billed"] == 1
    later = client.get("/sandbox/requests", params={"since": everything[1]["number"]}).json()["requests"]
    assert [r["filename"] for r in later] == ["c.jpg"]
    last = client.get("/sandbox/requests", params={"limit": 2}).json()["requests"]
    assert [r["filename"] for r in last] == ["b.jpg", "c.jpg"]


@pytest.mark.parametrize("nonsense", ["", "-1", "x", "²", "٣", "1.5", "9" * 5000])
def test_a_number_that_is_none_counts_as_left_out(
    sandbox: Sandbox, client: httpx.Client, ask: Ask, nonsense: str
) -> None:
    ask(sandbox)
    answer = client.get("/sandbox/requests", params={"since": nonsense, "limit": nonsense})
    assert [r["number"] for r in answer.json()["requests"]] == [1]
