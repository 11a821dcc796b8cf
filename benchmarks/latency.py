"""
How soon a dropped picture is sent: from its last byte on the disk to the head of its request.

    python -m benchmarks.latency           # 20 pictures, one at a time

The daemon does nothing else meanwhile. The settle time, which is configured, is part of it.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.studio import Studio, api, jpegs, status, times_of, wait_for


def delays_s(studio: Studio, url: str, count: int) -> list[float]:
    found = []
    with studio.daemon():
        wait_for(lambda: status(studio), 60)
        for number in range(count):
            time.sleep(0.37 + 0.13 * (number % 7))  # not in step with any clock of the daemon
            times_of(url)
            jpegs(studio.input, 1, first=number)
            dropped_s = time.monotonic()
            times: list[tuple[float, float]] = []
            wait_for(lambda: times.extend(times_of(url)) or times, 60, every_s=0.05)  # noqa: B023 - called at once
            found.append(times[0][0] - dropped_s)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--settle", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, api(Path(temporary), latency_s=0.05) as url:
        studio = Studio(Path(temporary) / "studio", url, settle_s=options.settle).prepare()
        beyond_s = sorted(one - options.settle for one in delays_s(studio, url, options.count))
    print(
        f"| from the last byte of a dropped file to its request, {options.count} times | settle time + "
        f"**{statistics.median(beyond_s):.2f} s** at the median, {beyond_s[-1]:.2f} s at the most |"
    )


if __name__ == "__main__":
    main()
