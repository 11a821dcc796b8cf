"""Which request an order strikes, how often, and what it brings."""

import pytest

from rembg_watch.sandbox.exchange import Mishap, OrderError, Reply
from rembg_watch.sandbox.faults import SPOILERS, Fault, FaultKind, FaultOrders, fault_from, parse_fault


def orders(*faults: Fault) -> FaultOrders:
    standing = FaultOrders()
    for fault in faults:
        standing.add(fault)
    return standing


def statuses(standing: FaultOrders, names: list[str], chance: float = 0.5) -> list[int]:
    drawn = [standing.before("/rmbg", name, chance).refusal for name in names]
    return [reply.status if reply else 200 for reply in drawn]


def test_a_count_runs_out() -> None:
    standing = orders(Fault(kind=FaultKind.STATUS, count=2))
    assert statuses(standing, ["a", "b", "c"]) == [503, 503, 200]
    assert standing.standing() == []


def test_a_pattern_picks_by_name() -> None:
    standing = orders(Fault(kind=FaultKind.STATUS, file="*_bad.jpg"))
    assert statuses(standing, ["a.jpg", "a_bad.jpg", "A_BAD.jpg"]) == [200, 503, 200]


def test_the_first_so_many_may_pass() -> None:
    assert statuses(orders(Fault(kind=FaultKind.HTML, skip=1, count=1)), ["a", "b", "c"]) == [200, 502, 200]


def test_a_share_is_a_matter_of_chance() -> None:
    standing = orders(Fault(kind=FaultKind.STATUS, share=0.3))
    assert [statuses(standing, ["a"], chance)[0] for chance in (0.0, 0.29, 0.3, 0.99)] == [503, 503, 200, 200]


def test_the_first_order_that_strikes_is_the_one_and_delays_add_up() -> None:
    standing = orders(
        Fault(kind=FaultKind.LATENCY, seconds=2),
        Fault(kind=FaultKind.LATENCY, seconds=1),
        Fault(kind=FaultKind.STATUS, status=500, count=1),
        Fault(kind=FaultKind.HTML),
    )
    first, second = (standing.before("/rmbg", "a", 0) for _ in range(2))
    assert first.refusal is not None
    assert second.refusal is not None
    assert (first.delay_s, first.refusal.status, second.refusal.status) == (3, 500, 502)
    assert first.names == ("latency", "latency", "status")


def test_orders_for_another_route_do_not_strike() -> None:
    standing = orders(Fault(kind=FaultKind.STATUS, route="/api/membership-usage"))
    assert statuses(standing, ["a"]) == [200]
    assert standing.before("/api/membership-usage", None, 0).refusal is not None


def test_spoilers_wait_until_the_picture_is_paid_and_the_rest_does_not() -> None:
    for kind in FaultKind:
        standing = orders(Fault(kind=kind))
        before = standing.before("/rmbg", "a", 0)
        after = standing.after("/rmbg", "a", 0)
        assert (after is not None) == (kind in SPOILERS), kind
        assert bool(before.names) == (kind not in SPOILERS), kind
        assert Fault(kind=kind).is_billed == (kind in SPOILERS), kind


def test_billing_can_be_ordered_otherwise() -> None:
    paid_error = Fault(kind=FaultKind.STATUS, status=504, billed=True)
    assert paid_error.comes_after
    assert paid_error.spoil(Reply(status=200, body=b"picture")).status == 504
    assert not Fault(kind=FaultKind.STALL, billed=False).is_billed


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("too_quick", 429, "You're making requests too quickly, Please Upgrade or slow down."),
        ("daily", 429, "You've reached your daily limit. Please sign up for more access."),
        ("monthly", 429, "You've reached your monthly limit. Consider purchasing more credits."),
        ("bad_key", 401, "invalid api key"),
        ("unverified", 403, "Email address not verified – please check your inbox"),
    ],
)
def test_documented_refusals_come_to_order_to_the_letter(kind: str, status: int, words: str) -> None:
    reply = Fault(kind=FaultKind(kind)).replacement()
    assert reply is not None
    assert reply.status == status
    assert reply.body == f'{{"error": "{words}", "status": {status}}}'.encode()


def test_an_unknown_429_uses_none_of_the_known_words() -> None:
    reply = Fault(kind=FaultKind.UNKNOWN_429).replacement()
    assert reply is not None
    assert reply.status == 429
    assert not any(words in reply.body for words in (b"too quickly", b"daily", b"monthly"))


def test_advice_to_wait_can_be_added() -> None:
    reply = Fault(kind=FaultKind.TOO_QUICK, retry_after_s=7).replacement()
    assert reply is not None
    assert reply.headers["retry-after"] == "7"


def test_spoiled_answers_are_what_they_say() -> None:
    good = Reply(status=200, headers={"content-type": "image/webp"}, body=b"0123456789")
    spoiled = {kind: Fault(kind=kind).spoil(good) for kind in SPOILERS}
    assert spoiled[FaultKind.EMPTY].body == b""
    assert spoiled[FaultKind.CUT_PICTURE].body == b"01234"
    assert spoiled[FaultKind.JSON].body.startswith(b'{"error"')
    assert spoiled[FaultKind.GARBAGE].body[:4] not in (b"RIFF", b"\x89PNG", b"\xff\xd8\xff\xe0")
    broken = {kind: reply.breakage.mishap for kind, reply in spoiled.items() if reply.breakage}
    assert broken == {
        FaultKind.TRUNCATED: Mishap.CUT,
        FaultKind.RESET_AFTER: Mishap.RESET,
        FaultKind.STALL: Mishap.STALL,
        FaultKind.DRIP: Mishap.DRIP,
    }


def test_orders_are_read_as_a_person_writes_them() -> None:
    assert parse_fault("status:status=500,file=*_a.jpg,count=3") == Fault(
        kind=FaultKind.STATUS, status=500, file="*_a.jpg", count=3
    )
    assert parse_fault("stall") == Fault(kind=FaultKind.STALL)
    assert parse_fault("reset_after:billed=no,part=0.5") == Fault(kind=FaultKind.RESET_AFTER, billed=False, part=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", "no kind of fault"),
        ("", "no kind of fault"),
        ("stall:minutes=3", "has no 'minutes'"),
        ("stall:seconds", "no name=value"),
        ("stall:seconds=long", "must be a number"),
        ("stall:seconds=nan", "must be a number"),
        ("status:count=-1", "must be a number"),
        ("status:billed=perhaps", "must be true or false"),
    ],
)
def test_an_order_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(OrderError, match=words):
        parse_fault(text)


@pytest.mark.parametrize(
    "order", [{"kind": "stall", "route": 5}, {"kind": ["stall"]}, {"kind": "stall", "file": 3}, {}]
)
def test_orders_of_the_wrong_type_are_refused(order: dict[str, object]) -> None:
    with pytest.raises(OrderError):
        fault_from(order)
