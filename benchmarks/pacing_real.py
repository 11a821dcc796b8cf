"""
How much of a rate that nobody states is used, on a real clock, by the whole program.

    python -m benchmarks.pacing_real                       # 5 a second, burst 5, 16 workers, 8 minutes, a restart
    python -m benchmarks.pacing_real --minutes 2 --rate bucket:10:10

The sandbox limits, in a process of its own; the daemon is as delivered and knows nothing. It is
restarted once the time is over, to see that it goes on with the rate it has learned. Goodput
is accepted calls over rate times time, refused is over all calls; both without the first
fifth, in which the rate is learned.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.studio import Studio, jpegs, sandbox, sandbox_calls, status, wait_for
from rembg_watch.ledger import Access, open_ledger


def share_of(calls: list[tuple[float, int]], rate: float, first_s: float, last_s: float) -> tuple[float, float]:
    """Return goodput and refused of the calls in a time, each as a share."""
    answers = [status for at_s, status in calls if first_s <= at_s < last_s]
    accepted, refused = answers.count(200), answers.count(429)
    return accepted / (rate * (last_s - first_s)), refused / max(1, accepted + refused)


def measure(root: Path, rate: str, minutes: float, workers: int, restart_s: float) -> list[str]:
    per_s = float(rate.split(":")[1])
    options = ("--engine", "flat", "--latency", "0.3", "--credits", "1000000", "--rate", rate)
    with sandbox(root, *options) as url:
        studio = Studio(root / "studio", url, workers).prepare(note=None)
        jpegs(studio.input, int(per_s * (minutes * 60 + restart_s) * 1.1), per_directory=500)
        with studio.daemon():
            wait_for(lambda: status(studio).get("jobs", {}).get("done", 0) > 0, 60)
            began_s = time.time()
            time.sleep(minutes * 60)
            over_s = time.time()
        learned = _note(studio)
        with studio.daemon():
            again_s = time.time()
            time.sleep(restart_s)
            ended_s = time.time()
        calls = sandbox_calls(url)
    goodput, refused = share_of(calls, per_s, began_s + minutes * 12, over_s)
    goodput_again, refused_again = share_of(calls, per_s, again_s + 5, ended_s)
    what = f"pacing, real clock: {rate}, {workers} workers, {minutes:g} min"
    again = f"the same after a restart, {restart_s:g} s, with {learned:.2f}/s learned"
    return [
        f"| {what} | goodput **{goodput:.1%}**, refused **{refused:.2%}** |",
        f"| {again} | goodput {goodput_again:.1%}, refused {refused_again:.2%} |",
    ]


def _note(studio: Studio) -> float:
    with open_ledger(studio.state, Access.READ) as ledger:
        note: Any = ledger.note("pacer")
    return float(note["rate"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="bucket:5:5")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--restart-s", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(Path(temporary), options.rate, options.minutes, options.workers, options.restart_s)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
