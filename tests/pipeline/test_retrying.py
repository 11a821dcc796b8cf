from collections.abc import Callable

import pytest

from rembg_watch.pipeline.retrying import call_with_retries


def failing(*errors: BaseException) -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


def test_it_is_called_until_it_succeeds_with_the_pauses_that_were_decided() -> None:
    slept: list[float] = []
    paused: list[tuple[str, float]] = []
    answer = call_with_retries(
        failing(ValueError("one"), ValueError("two"), ValueError("three")),
        lambda _, tries: 0.5 * (tries - 1),
        sleep=slept.append,
        on_pause=lambda error, pause_s: paused.append((str(error), pause_s)),
    )
    assert answer == "answer"
    assert slept == [0.0, 0.5, 1.0]
    assert paused == [("one", 0.0), ("two", 0.5), ("three", 1.0)]


def test_each_error_is_decided_once() -> None:
    asked: list[tuple[str, int]] = []

    def pause_after(error: BaseException, tries: int) -> float | None:
        asked.append((str(error), tries))
        return 0.0 if tries < 3 else None

    with pytest.raises(ValueError, match="three"):
        call_with_retries(failing(*map(ValueError, ("one", "two", "three"))), pause_after, sleep=lambda _: None)
    assert asked == [("one", 1), ("two", 2), ("three", 3)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), ValueError("?")], ids=repr)
def test_the_last_error_is_raised_as_it_was(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        call_with_retries(failing(error), lambda *_: None, sleep=pytest.fail)
    assert caught.value is error


def test_a_program_that_stops_tries_no_more() -> None:
    with pytest.raises(ValueError, match="one"):
        call_with_retries(failing(ValueError("one")), lambda *_: 9.0, sleep=pytest.fail, is_stopping=lambda: True)


def test_an_interruption_of_the_sleep_ends_it() -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_with_retries(failing(ValueError("one")), lambda *_: 9.0, sleep=interrupted)
