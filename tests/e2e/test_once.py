"""``once`` for cron and for a try: exit codes, JSON, the dry run; ``status`` and ``retry`` beside a running daemon."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.studio import Studio, picture

JOB_STATES = {"queued", "sending", "received", "done", "failed", "held", "in_doubt", "vanished"}


def is_as_designed(snapshot: dict[str, object]) -> bool:
    gate, credits_ = snapshot["gate"], snapshot["credits"]
    assert isinstance(gate, dict)
    assert isinstance(credits_, dict)
    assert isinstance(snapshot["jobs"], dict)
    return (
        set(snapshot["jobs"]) == JOB_STATES
        and isinstance(snapshot["unsettled"], int)
        and {"open", "reason", "until"} <= set(gate)
        and {"included", "prepaid", "spendable", "period_end"} <= set(credits_)
    )


def test_once_with_nothing_to_do_is_content(studio: Studio) -> None:
    said = studio.cli("once")
    assert said.code == 0, said.text
    assert studio.calls == []


def test_once_json_is_one_object_on_standard_output(studio: Studio) -> None:
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    said = studio.cli("once", "--json")
    assert said.code == 0
    assert len(said.out.splitlines()) == 1
    assert is_as_designed(said.json)
    assert said.json["jobs"]["done"] == 3
    assert said.json["credits"]["spendable"] == 4997
    assert said.json["credits"]["period_end"] is not None


def test_a_dry_run_says_what_it_would_send_and_cost_and_sends_nothing(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=2)
    studio.configure(watch={"grace_s": 300})
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    studio.put("twin.jpg", picture(0))
    studio.put("letter.jpg", b"Dear client, " * 99)
    said = studio.cli("once", "--dry-run")
    assert said.code == 0, said.text
    assert "4 pictures" in said.out
    assert "3 credits needed, 2 credits can be spent: 1 credit too few" in said.out
    assert "letter.jpg would not be sent yet: it is a text" in said.out
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["pictures"], told["doubles"], told["credits"], told["spendable"]) == (4, 1, 3, 2)
    assert (told["unsettled"], [one["source"] for one in told["unsettled_files"]]) == (1, ["letter.jpg"])
    assert studio.calls == []
    assert studio.outputs() == {}
    assert not studio.state.exists()


def test_a_dry_run_counts_on_calls_that_take_as_long_as_they_did(studio: Studio) -> None:
    studio.sandbox.latency_s = 0.5
    studio.drop("first.jpg", 99)
    assert studio.cli("once").code == 0
    for number in range(8):
        studio.drop(f"{number}.jpg", number)
    studio.configure(pool={"workers": 1})
    told = studio.cli("once", "--dry-run", "--json").json
    assert told["pace_is_learned"]
    assert 8 * 0.5 <= told["time_s"] <= 8 * 1.5


def test_a_dry_run_counts_no_copy_of_what_was_paid_for_unless_its_cutout_is_gone(studio: Studio) -> None:
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    assert studio.cli("once").code == 0
    for number in range(3):
        studio.put(f"copies/{number}.jpg", picture(number))
    (studio.input / "0.jpg").rename(studio.input / "renamed.jpg")
    studio.drop("new.jpg", 9)
    calls = len(studio.calls)
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["pictures"], told["known"], told["credits"], told["now"]) == (5, 4, 1, 1)
    (studio.output / "2.png").write_bytes(b"edited")
    said = studio.cli("once", "--dry-run")
    assert "3 of them paid for before: they cost nothing" in said.out
    assert "2 credits needed" in said.out
    assert len(studio.calls) == calls
    assert studio.cli("once").code == 0
    assert len(studio.calls) == calls + 2, "what then happens"


def test_a_dry_run_knows_the_other_pictures_of_a_folder_whose_options_have_changed(studio: Studio) -> None:
    studio.drop("a.jpg", 1)
    assert studio.cli("once").code == 0
    studio.put("copy.jpg", picture(1))
    changed = studio.configure("changed.toml", options={"format": "webp"})
    told = studio.cli("once", "--dry-run", "--json", config=changed).json
    assert (told["pictures"], told["known"], told["credits"]) == (1, 0, 1)


def two_folders(studio: Studio, *budgets: int) -> list[dict[str, Any]]:
    folders = []
    for number, budget in enumerate(budgets):
        root = studio.root / f"folder-{number}"
        for kind in ("in", "out"):
            (root / kind).mkdir(parents=True)
        for other in range(4):
            (root / "in" / f"{other}.jpg").write_bytes(picture(10 * number + other))
        paths = {"input": str(root / "in"), "output": str(root / "out")}
        folders.append({"name": f"f{number}", "daily_budget": budget, **paths})
    return folders


@pytest.mark.parametrize(
    ("budgets", "account", "now", "words"),
    [
        (
            (3, 0),
            0,
            7,
            ["7 would be sent now, 1 would wait", "f0: its daily budget leaves room for 3 until midnight UTC"],
        ),
        (
            (3, 1),
            0,
            4,
            ["4 would be sent now, 4 would wait", "f0: its daily budget leaves", "f1: its daily budget leaves"],
        ),
        (
            (3, 0),
            5,
            5,
            ["5 would be sent now, 3 would wait", "credits.daily_budget leaves room for 5 until midnight UTC"],
        ),
        ((4, 4), 8, 8, []),
    ],
    ids=["one folder", "both folders", "the account's before a folder's", "just enough"],
)
def test_a_dry_run_knows_the_daily_budgets(
    studio: Studio, budgets: tuple[int, ...], account: int, now: int, words: list[str]
) -> None:
    studio.configure(folders=two_folders(studio, *budgets), credits={"daily_budget": account})
    said = studio.cli("once", "--dry-run")
    assert all(one in said.out for one in words), said.text
    assert ("would wait" in said.out) is bool(words)
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["now"], told["later"], told["credits"]) == (now, 8 - now, 8)
    assert studio.cli("once").code == (75 if words else 0)
    assert len(studio.calls) == now, "what then happens"
    again = studio.cli("once", "--dry-run", "--json").json
    assert (again["now"], again["later"]) == (0, 8 - now)


def test_a_dry_run_says_what_it_would_wait_for_and_until_when(studio: Studio) -> None:
    studio.sandbox.add_fault("daily")
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    assert studio.cli("once").code == 75
    studio.sandbox.clear_faults()
    calls = len(studio.calls)
    said = studio.cli("once", "--dry-run")
    assert (
        "nothing would be sent now: the API counts these calls as anonymous, and its daily limit is reached" in said.out
    ), said.text
    assert "; next try 20" in said.out
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["now"], told["later"], told["gate"]["open"], told["gate"]["reason"]) == (0, 3, False, "daily_limit")
    assert told["gate"]["until"]
    assert studio.cli("once").code == 75
    assert len(studio.calls) == calls, "what then happens"


def test_a_dry_run_knows_what_a_free_look_at_the_account_ends(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(credits=0)
    studio.drop("a.jpg", 1)
    assert studio.cli("once").code == 75
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["now"], told["gate"]["reason"]) == (0, "credits")
    studio.sandbox.account.prepaid += 5
    told = studio.cli("once", "--dry-run", "--json").json
    assert (told["now"], told["later"], told["gate"]) == (1, 0, {"open": True, "reason": None, "until": None})
    assert studio.cli("once").code == 0


def test_a_refused_picture_makes_once_end_with_1_and_delivers_the_others(studio: Studio) -> None:
    studio.sandbox.add_fault("status", file="bad*", status=400)
    studio.drop("bad.jpg", 1)
    for number in range(2, 6):
        studio.drop(f"{number}.jpg", number)
    said = studio.cli("once")
    assert said.code == 1, said.text
    assert "4 delivered" in said.out
    assert len(studio.outputs()) == 4
    failed = studio.jobs("--state", "failed")
    assert [job["source"] for job in failed] == ["bad.jpg"]
    assert failed[0]["reason"]
    calls = len(studio.calls)
    studio.cli("once")
    assert len(studio.calls) == calls, "it is not tried again by itself"
    studio.sandbox.clear_faults()
    said = studio.cli("retry", "bad*")
    assert said.out.strip() == "1 put back in the queue"
    assert studio.cli("once").code == 0
    assert "bad.png" in studio.outputs()


def test_retry_alone_ends_every_pause_and_puts_nothing_back(studio: Studio) -> None:
    studio.sandbox.add_fault("status", file="bad*", status=400)
    studio.drop("bad.jpg", 1)
    assert studio.cli("once").code == 1
    studio.sandbox.add_fault("monthly")
    studio.drop("good.jpg", 2)
    assert studio.cli("once").code == 75
    studio.sandbox.clear_faults()
    said = studio.cli("retry")
    assert said.code == 0, said.text
    assert " ".join(said.out.split()) == (
        "every pause is retried now; nothing was put back in the queue: "
        "to choose pictures, give a pattern, --state, --folder or --all"
    )
    assert studio.cli("once").code == 0
    assert set(studio.outputs()) == {"good.png"}
    assert studio.status()["jobs"]["failed"] == 1


def test_every_command_that_is_advised_can_be_given(studio: Studio) -> None:
    studio.configure(retry={"in_doubt": "hold"})
    studio.sandbox.add_fault("status", file="bad*", status=400)
    studio.sandbox.add_fault("reset_after", file="doubt*")
    studio.drop("bad.jpg", 1)
    studio.drop("doubt.jpg", 2)
    told = studio.cli("once").text + studio.cli("status").out
    advised = set(re.findall(r"rembg-watch ((?:[a-z]+)(?: --?[a-z]+(?: [a-z_]+)?)?)", told))
    assert {"jobs --state failed", "retry --state in_doubt"} <= advised
    for command in sorted(advised - {"run"}):
        said = studio.cli(*command.split())
        assert said.code == 0, f"{command}: {said.text}"
    assert studio.status()["jobs"]["queued"] == 1, "the one that was in doubt"


def test_an_api_that_is_down_is_told_and_waited_for(studio: Studio) -> None:
    for number in range(4):
        studio.drop(f"{number}.jpg", number)
    studio.sandbox.is_down = True
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.reported()["jobs"]["queued"] == 4, "they are in line")
        daemon.says("cannot be reached")
        assert studio.status()["gate"]["reason"] == "circuit"
        assert studio.outputs() == {}
        studio.sandbox.is_down = False
        daemon.wait_until(lambda: len(studio.outputs()) == 4, "all of them, by itself")
        assert daemon.stop() == 0
    assert studio.sandbox.billed == 4


def test_an_api_that_refuses_everything_as_too_quick_is_told_with_its_words_and_waited_for(studio: Studio) -> None:
    for number in range(4):
        studio.drop(f"{number}.jpg", number)
    studio.sandbox.add_fault("too_quick")
    with studio.running() as daemon:
        daemon.wait_until(lambda: not studio.reported()["gate"]["open"], "the status says that nothing goes")
        gate = studio.status()["gate"]
        assert gate["reason"] == "short_term"
        assert gate["until"] is not None
        daemon.says("too quick")
        shown = studio.cli("status").out
        assert "PAUSED" in shown
        assert "too quickly" in shown
        studio.sandbox.clear_faults()
        daemon.wait_until(lambda: len(studio.outputs()) == 4, "all of them, by itself")
        daemon.says("work goes on")
        assert daemon.stop() == 0
    assert studio.sandbox.billed == 4


def test_the_api_fails_for_a_while_and_every_picture_comes_all_the_same(studio: Studio) -> None:
    studio.sandbox.add_fault("status", status=503)
    for number in range(14):
        studio.drop(f"{number}.jpg", number)
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.reported()["gate"]["reason"] == "circuit", "the circuit opens")
        assert len(studio.calls) <= 5 + 8
        assert studio.status()["gate"]["until"] is not None
        studio.sandbox.clear_faults()
        daemon.wait_until(lambda: len(studio.outputs()) == 14, "all of them, by itself")
        assert daemon.stop() == 0
    assert studio.sandbox.billed == 14
    assert studio.status()["jobs"]["done"] == 14


def test_a_few_errors_of_the_server_are_ridden_out_by_once(studio: Studio) -> None:
    studio.sandbox.add_fault("status", status=500, count=1, file="1.jpg")
    studio.sandbox.add_fault("reset_before", count=1, file="2.jpg")
    for number in range(6):
        studio.drop(f"{number}.jpg", number)
    said = studio.cli("once")
    assert said.code == 0, said.text
    assert len(studio.outputs()) == studio.sandbox.billed == 6


def test_answers_that_are_no_pictures_are_never_delivered(studio: Studio) -> None:
    spoilt = ("json", "truncated")
    for number, kind in enumerate(spoilt):
        studio.put(f"{kind}.jpg", picture(number, size=(64, 48)))
        studio.sandbox.add_fault(kind, file=f"{kind}.jpg", count=1)
    said = studio.cli("once")
    assert said.code == 0, said.text
    outputs = studio.outputs()
    assert set(outputs) == {f"{kind}.png" for kind in spoilt}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in outputs.values())
    assert studio.billed_twice == len(spoilt), "each was paid, was worth nothing and was asked for once more"


def surprised(studio: Studio, *names: str) -> None:
    """Have the answers to these pictures be of an unexpected size."""
    for number, name in enumerate(names):
        studio.put(name, picture(number, size=(1200, 800)))
        studio.sandbox.add_fault("wrong_size", file=name, count=1)


def test_an_answer_of_an_unexpected_size_is_held_until_it_is_accepted(studio: Studio) -> None:
    surprised(studio, "a.jpg")
    studio.drop("good.jpg", 7)
    said = studio.cli("once")
    assert said.code == 75, said.text
    assert "1 waits (rembg-watch jobs --state held says why)" in said.out
    assert set(studio.outputs()) == {"good.png"}
    (job,) = studio.jobs("--state", "held")
    assert job["reason"].startswith("the answer is 460 x 307, expected 1200 x 800; such previews come when an account")
    listed = " ".join(studio.cli("jobs", "--state", "held").out.split())
    assert '"rembg-watch accept" delivers it as it is, "rembg-watch redo" pays again' in listed
    assert "network" not in said.text
    assert "held until you decide: 1 cut-out; " in studio.cli("retry", "--all").out
    assert studio.cli("once").code == 75
    assert studio.sandbox.billed == 2, "however often it is looked at, it is paid for once"
    assert studio.cli("accept", "a*").out.strip() == "1 answer accepted: delivered next, at no cost"
    assert studio.cli("once").code == 0
    assert set(studio.outputs()) == {"good.png", "a.png"}
    assert studio.sandbox.billed == 2
    assert "look at it: it is much smaller than expected" in " ".join(studio.cli("jobs", "a*").out.split())


def test_a_folder_is_held_after_three_of_them_and_may_take_them_from_now_on(studio: Studio) -> None:
    surprised(studio, *(f"{number}.jpg" for number in range(9)))
    studio.configure(pool={"workers": 1})
    said = studio.cli("once")
    assert said.code == 75, said.text
    assert 3 <= (paid := studio.sandbox.billed) <= 4, "the next one may be under way when the third is looked at"
    assert "3 answers in a row are not of the size that was expected" in said.text
    name = studio.status()["folders"][0]["name"]
    assert studio.status()["folders"][0]["state"] == "held"
    told = studio.cli("accept", "--folder", name)
    assert told.out.splitlines() == [
        f"{paid} answers accepted: delivered next, at no cost",
        f"{name} takes answers of any size from now on",
    ]
    assert studio.cli("once").code == 0
    assert len(studio.outputs()) == studio.sandbox.billed == 9
    assert studio.cli("accept", "--folder", "other").code == 2
    assert studio.cli("accept").code == 2


def test_redo_says_its_price_and_makes_cutouts_anew(studio: Studio) -> None:
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    assert studio.cli("once").code == 0
    (studio.root / "out/1.png").unlink()
    assert "it is missing" in " ".join(studio.cli("jobs", "1*").out.split())
    assert "delivered already: 1 picture" in studio.cli("retry", "1*").out
    assert studio.cli("redo").code == 2
    assert studio.cli("redo", "*").code == 2, "nobody was asked"
    assert studio.cli("redo", "nothing*").out.startswith("there is nothing to make anew")
    assert studio.cli("once").code == 0
    assert studio.sandbox.billed == 3
    said = studio.cli("redo", "--missing", "--yes")
    assert said.out.splitlines()[0] == "1 cut-out to be made anew, for up to 1 credit (missing from the output: 1)"
    assert studio.cli("once").code == 0
    assert (len(studio.outputs()), studio.sandbox.billed) == (3, 4)


def test_a_change_of_options_says_what_stays_as_it_is(studio: Studio) -> None:
    for number in range(3):
        studio.drop(f"{number}.jpg", number)
    assert "other options" not in studio.cli("once").text
    name = studio.status()["folders"][0]["name"]
    studio.configure(options={"format": "png", "w": 20})
    told = (
        f'3 pictures were delivered with other options and stay as they are; "rembg-watch redo --folder {name}" makes'
    )
    assert told in studio.cli("once", "--dry-run").out
    assert json.loads(studio.cli("once", "--dry-run", "--json").out)["made_otherwise"] == {name: 3}
    said = studio.cli("once").text
    assert re.search(rf"warning\W+{name}: 3 pictures were", said), "a terminal shows warnings alone"
    assert told in said
    assert told not in studio.cli("once").text, "once is enough"
    assert studio.cli("redo", "--folder", name, "--yes").code == 0
    assert studio.cli("once").code == 0
    assert studio.sandbox.billed == 6


def test_an_answer_that_never_is_a_picture_ends_in_doubt_after_one_more_try(studio: Studio) -> None:
    studio.sandbox.add_fault("garbage", file="a.jpg")
    studio.drop("a.jpg", 1)
    studio.drop("b.jpg", 2)
    said = studio.cli("once")
    assert said.code == 1, said.text
    assert sum(call.filename == "a.jpg" for call in studio.calls) == 2
    assert set(studio.outputs()) == {"b.png"}
    assert [(job["source"], job["state"]) for job in studio.jobs("--state", "in_doubt")] == [("a.jpg", "in_doubt")]


def test_status_beside_a_running_daemon_knows_what_is_going_on(studio: Studio) -> None:
    studio.sandbox.latency_s = 3.0
    with studio.running() as daemon:
        daemon.wait_until((studio.state / "status.json").exists, "it runs")
        for number in range(40):
            studio.drop(f"{number}.jpg", number)
        daemon.wait_until(lambda: studio.sandbox.in_flight > 0, "a call in flight")
        seen = studio.status()
        assert is_as_designed(seen)
        assert seen["running"] is True
        assert seen["pid"] == daemon.process.pid
        screen = studio.cli("status").out
        assert "WORKING" in screen
        assert "to go" in screen
        studio.sandbox.latency_s = 0.0
        assert daemon.stop() == 0
    after = studio.status()
    assert after["running"] is False
    assert after["jobs"]["done"] == len(studio.outputs()) == studio.sandbox.billed
    assert "NOT RUNNING" in studio.cli("status").out
