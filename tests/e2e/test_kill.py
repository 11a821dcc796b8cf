"""Killed with -9 in the middle and started again: nothing is lost or half-made, what was doubled is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from rembg_watch.delivery.publish import sweep_staging
from rembg_watch.ledger import Access, open_ledger
from tests.e2e.studio import Studio, is_made_from

WORKERS = 6


@contextmanager
def eyes_on(output: Path) -> Iterator[list[str]]:
    """Open every cut-out as soon as it appears, as a colleague's viewer would; list what could not be shown."""
    seen: set[Path] = set()
    broken: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            for path in output.rglob("*"):
                if path in seen or path.name.startswith(".") or path.is_dir():
                    continue
                seen.add(path)
                try:
                    with Image.open(path) as image:
                        image.load()
                except (OSError, SyntaxError) as error:
                    broken.append(f"{path.name}: {error}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield broken
    finally:
        over.set()
        thread.join()
    assert seen


def killed_three_times(studio: Studio, sources: dict[str, bytes]) -> None:
    for goal in (15, 40, 65):
        with studio.running() as daemon:
            daemon.wait_until(
                lambda goal=goal: studio.sandbox.billed >= goal and studio.sandbox.in_flight > 0, f"{goal} calls"
            )
            daemon.kill()
    assert len(sources) > studio.sandbox.billed


def books(studio: Studio) -> "tuple[int, int, int]":
    """Return credits charged and maybe charged, and calls that may have paid again, as the ledger has them."""
    with open_ledger(studio.state, Access.READ) as ledger:
        spent = ledger.spending()
    return int(spent.charged), int(spent.doubtful), spent.doubles + spent.repeats


def in_doubt(studio: Studio) -> int:
    return int(studio.status()["jobs"]["in_doubt"])


def test_three_kills_lose_nothing_show_nothing_half_made_and_double_no_more_than_was_in_flight(studio: Studio) -> None:
    studio.configure(pool={"workers": WORKERS})
    studio.sandbox.latency_s = 0.3
    sources = {f"shoot {n % 3}/{n}.jpg": studio.drop(f"shoot {n % 3}/{n}.jpg", n) for n in range(90)}
    with eyes_on(studio.output) as broken:
        killed_three_times(studio, sources)
        with studio.running() as daemon:
            daemon.wait_until(lambda: len(studio.outputs()) + in_doubt(studio) == 90, "each picture over, or in doubt")
            if in_doubt(studio):  # one that was caught by two of the kills waits for a person
                assert studio.cli("retry", "--state", "in_doubt").code == 0
            daemon.wait_until(lambda: len(studio.outputs()) == 90, "all 90 cut-outs")
            assert daemon.stop() == 0
    assert broken == []
    outputs = studio.outputs()
    assert [n for n, content in sources.items() if not is_made_from(outputs[n[:-3] + "png"], content)] == []
    swept = sweep_staging(studio.output, older_than_s=-1)  # what a kill left is hidden, and swept when it is old
    assert (swept <= 3 * 16, studio.left_over()) == (True, [])

    charged, maybe, doubled = books(studio)
    assert studio.billed_twice <= 3 * WORKERS
    assert studio.billed_twice <= doubled, "every picture that was paid twice is in the books"
    assert charged <= studio.sandbox.billed_credits <= charged + maybe, "the truth is within what the books say"
    assert studio.status()["jobs"]["done"] == 90


def test_with_hold_a_kill_pays_for_nothing_twice_and_lists_what_is_in_doubt(studio: Studio) -> None:
    studio.configure(pool={"workers": WORKERS}, retry={"in_doubt": "hold"})
    studio.sandbox.latency_s = 0.4
    for number in range(40):
        studio.drop(f"{number}.jpg", number)
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.sandbox.billed >= 10 and studio.sandbox.in_flight > 0, "10 calls")
        daemon.kill()
    said = studio.cli("once")
    assert studio.billed_twice == 0
    in_doubt = [job["source"] for job in studio.jobs("--state", "in_doubt")]
    assert len(in_doubt) + len(studio.outputs()) == 40
    if in_doubt:  # which calls were caught between their last byte and their answer, chance decides
        assert said.code == 1
        assert f"{len(in_doubt)}" in said.out
        assert studio.cli("retry", "--state", "in_doubt").code == 0
        assert studio.cli("once").code == 0
    assert len(studio.outputs()) == 40


def test_a_killed_once_is_taken_up_by_the_next_one(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(latency_s=0.2)
    for number in range(20):
        studio.drop(f"{number}.png", number)
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.sandbox.in_flight > 0, "a call in flight")
        daemon.kill()
    assert studio.cli("once").code == 0
    assert len(studio.outputs()) == 20
    assert studio.cli("once").code == 0
    assert len(studio.calls) <= 20 + 8
