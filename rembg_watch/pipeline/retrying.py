"""The one retry loop, of the daemon and of ``remove``: ``account.retry`` decides, tenacity runs it."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

_T = TypeVar("_T")

PauseAfter = Callable[[BaseException, int], float | None]
"""Given an error and the number of tries so far: seconds to wait before the next try, or None to give up."""


def call_with_retries(
    call: Callable[[], _T],
    pause_after: PauseAfter,
    *,
    sleep: Callable[[float], object],
    is_stopping: Callable[[], bool] = lambda: False,
    on_pause: Callable[[BaseException, float], None] = lambda _error, _pause_s: None,
) -> _T:
    """
    Call until it succeeds, gives up or the program stops; the last error is raised as it was.

    *sleep* returns early when the program stops; then there is no next try.
    *on_pause* is called before each wait.
    """
    pause_s: float | None = None

    def is_tried_again(state: tenacity.RetryCallState) -> bool:
        nonlocal pause_s
        error = state.outcome.exception() if state.outcome else None
        pause_s = None if error is None else pause_after(error, state.attempt_number)
        return pause_s is not None

    def report_pause(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            on_pause(error, state.upcoming_sleep)

    def wait(seconds: float) -> None:
        sleep(seconds)

    tries = tenacity.Retrying(
        retry=is_tried_again,
        wait=lambda _: pause_s or 0.0,
        stop=lambda _: is_stopping(),
        before_sleep=report_pause,
        sleep=wait,
        reraise=True,
    )
    return tries(call)
