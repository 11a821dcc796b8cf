"""Credits run out and come back; every limit of the API is waited for as it deserves."""

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.studio import Studio


def order(studio: Studio, **settings: Any) -> None:
    """Change the emulated account by its control route, as a person with curl would."""
    request = urllib.request.Request(
        f"{studio.server.base_url}/sandbox/settings",
        data=json.dumps(settings).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def drop(studio: Studio, count: int) -> None:
    for number in range(count):
        studio.drop(f"set {number % 2}/{number}.jpg", number)


def gate(studio: Studio) -> dict[str, Any]:
    found: dict[str, Any] = studio.status()["gate"]
    return found


def test_20_credits_and_50_pictures(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=20)
    drop(studio, 50)
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) == 20, "20 cut-outs")
        daemon.wait_until(lambda: not studio.reported()["gate"]["open"], "it says that it waits")
        readings = studio.readings
        daemon.wait_until(lambda: studio.readings >= readings + 2, "the account is read again, which is free")
        assert len(studio.calls) == 20
        seen = studio.status()
        assert seen["gate"]["reason"] == "credits"
        end = studio.sandbox.account.window(studio.sandbox.now).end
        until = datetime.fromisoformat(seen["gate"]["until"])
        assert 0 <= (until - datetime.fromtimestamp(end, UTC)).total_seconds() <= 120
        assert seen["gate"]["since"] is not None
        assert seen["credits"]["spendable"] == 0
        assert seen["jobs"]["queued"] == 30
        screen = studio.cli("status").out
        assert "PAUSED" in screen
        assert "credits" in screen
        assert f"{until.astimezone():%Y-%m-%d}" in screen
        assert "the account is read again at" in screen
        assert seen["gate"]["look_by"] == "account"

        order(studio, credits=100)
        daemon.wait_until(lambda: len(studio.outputs()) == 50, "the rest follows by itself")
        assert daemon.stop() == 0
    assert len(studio.calls) == studio.sandbox.billed == 50
    after = studio.status()
    assert after["gate"]["open"] is True
    assert after["credits"]["spendable"] == 50


def test_a_new_period_brings_the_credits_back(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=3)
    drop(studio, 5)
    with studio.running() as daemon:
        daemon.wait_until(
            lambda: len(studio.outputs()) == 3 and not studio.reported()["gate"]["open"], "3 of 5, then a pause"
        )
        order(studio, new_period=True)
        daemon.wait_until(lambda: len(studio.outputs()) == 5, "the rest, in the new period")
    assert len(studio.calls) == 5


@pytest.mark.parametrize(
    ("account", "settings", "delivered"),
    [
        pytest.param({"credits": 20}, {"reserve": 16}, 4, id="a reserve is left alone"),
        pytest.param({"credits": 9, "price": 2}, {"per_image": 2}, 4, id="a price of two"),
        pytest.param({"credits": 2, "prepaid": 2}, {}, 4, id="prepaid credits after the included ones"),
        pytest.param({"credits": 90}, {"daily_budget": 4}, 4, id="a daily budget"),
        pytest.param({"credits": 0}, {}, 0, id="nothing at all"),
    ],
)
def test_once_sends_what_can_be_paid_and_leaves_the_rest_in_line(
    open_studio: Callable[..., Studio], account: dict[str, int], settings: dict[str, int], delivered: int
) -> None:
    studio = open_studio(**account)
    studio.configure(credits=settings)
    drop(studio, 7)
    said = studio.cli("once", "--json")
    assert said.code == 75
    assert len(studio.outputs()) == len(studio.calls) == delivered
    assert said.json["jobs"]["queued"] == 7 - delivered
    assert said.json["gate"]["open"] is False
    assert said.json["gate"]["until"] is not None


def test_once_after_buying_credits_goes_on_at_once(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=2)
    studio.configure(credits={"recheck_s": 3600})
    drop(studio, 4)
    assert studio.cli("once").code == 75
    order(studio, credits=50)
    said = studio.cli("once")
    assert said.code == 0, said.text
    assert len(studio.outputs()) == len(studio.calls) == 4


def test_what_is_left_is_said_although_nothing_had_to_be_sent(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=100)
    drop(studio, 5)
    assert studio.cli("once", "--json").json["credits"]["spendable"] == 95
    assert studio.cli("once", "--json").json["credits"]["spendable"] == 95
    assert studio.status()["credits"]["spendable"] == 95


# --- the 429s -----------------------------------------------------------------------------------


def test_too_quickly_slows_everybody_down_and_fails_nobody(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(rate=6)
    drop(studio, 18)
    said = studio.cli("once", "--json")
    assert said.code == 0, said.text
    assert len(studio.outputs()) == studio.sandbox.billed == 18
    refused = [call for call in studio.calls if call.status == 429]
    assert len(refused) <= 12
    assert {job["attempts"] for job in studio.jobs()} == {0}


def test_a_retry_after_is_heeded(studio: Studio) -> None:
    studio.configure(pool={"workers": 2})
    studio.sandbox.add_fault("too_quick", count=1, retry_after_s=5)
    drop(studio, 8)
    assert studio.cli("once").code == 0
    refused = next(call for call in studio.calls if call.status == 429)
    after = [call for call in studio.calls if call.number > refused.number and call.status == 200]
    assert len(after) >= 7
    early = [call for call in after if (call.at - refused.at).total_seconds() < 4.9]
    assert len(early) <= 1, "a call that was under way when the refusal came is nobody's fault"


def test_a_monthly_limit_holds_the_account_and_uses_up_no_attempt(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=1000)
    studio.sandbox.add_fault("monthly")
    drop(studio, 9)
    with studio.running() as daemon:
        daemon.wait_until(lambda: not studio.reported()["gate"]["open"], "the gate shuts")
        calls = len(studio.calls)
        assert calls <= 8, "no more than was under way"
        seen = gate(studio)
        assert seen["reason"] == "monthly_limit"
        assert "monthly limit" in seen["why"]
        assert seen["until"] is not None
        assert len(studio.calls) == calls
        studio.sandbox.clear_faults()
        assert studio.cli("retry", "--all").code == 0  # "try it now"
        daemon.wait_until(lambda: len(studio.outputs()) == 9, "all of them")
    assert {job["attempts"] for job in studio.jobs()} == {0}
    assert studio.sandbox.billed == 9


def test_a_daily_limit_says_that_the_key_was_not_taken_as_one(studio: Studio) -> None:
    studio.sandbox.add_fault("daily")
    drop(studio, 9)
    said = studio.cli("once")
    assert said.code == 75, said.text
    assert "key" in said.text
    assert len(studio.calls) <= 8
    seen = gate(studio)
    assert seen["reason"] == "daily_limit"
    assert seen["until"] is not None
    studio.sandbox.clear_faults()
    calls = len(studio.calls)
    assert studio.cli("once").code == 75, "a restart inside the hold sends nothing"
    assert len(studio.calls) == calls
    assert studio.cli("retry", "--all").code == 0
    assert studio.cli("once").code == 0
    assert len(studio.outputs()) == 9


def test_a_wrong_key_that_counts_as_anonymous_is_found_out_by_the_account(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(unknown_key="anonymous", daily_limit=3)
    studio.write_key("some-other-key")
    drop(studio, 9)
    said = studio.cli("once")
    assert said.code == 77, said.text
    assert "key" in said.text
    assert len(studio.calls) <= 3 + 8


def test_a_429_in_other_words_is_told_with_its_words(studio: Studio) -> None:
    studio.sandbox.add_fault("unknown_429")
    drop(studio, 9)
    with studio.running() as daemon:
        daemon.wait_until(lambda: not studio.reported()["gate"]["open"], "the gate shuts")
        assert gate(studio)["reason"] == "unknown_refusal"
        assert "Service is busy" in gate(studio)["why"]
        daemon.says("Service is busy")
        assert len(studio.calls) <= 8
        studio.sandbox.clear_faults()
        assert studio.cli("retry", "--all").code == 0
        daemon.wait_until(lambda: len(studio.outputs()) == 9, "all of them")
    assert {job["attempts"] for job in studio.jobs()} == {0}
