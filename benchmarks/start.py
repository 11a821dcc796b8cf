"""
How soon a new picture is sent after a start on a large tree that is dealt with.

    python -m benchmarks.start             # 100,000 finished files, then a start with a new one among them
    python -m benchmarks.start --files 10000

The tree and its ledger are made as the program leaves them; the daemon is started beside a
picture that landed while it was down. The clock runs from the start of the process to the
head of the first request at the server, less the settle time, which no start can shorten.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.studio import Studio, api, finished_tree, jpegs, times_of, wait_for


def first_request_s(root: Path, files: int) -> float:
    with api(root) as url:
        studio = Studio(root / "studio", url).prepare()
        finished_tree(studio, files)
        jpegs(studio.input / "shoot-new", 1, first=10_000_000)
        times_of(url)
        began_s = time.monotonic()
        times: list[tuple[float, float]] = []
        with studio.daemon():
            wait_for(lambda: times.extend(times_of(url)) or times, 120, every_s=0.02)
        return times[0][0] - began_s - studio.settle_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        took_s = first_request_s(Path(temporary), options.files)
    what = f"start: {options.files:,} finished files, to the first request for a new one"
    print(f"| {what} | settle time + **{took_s:.1f} s** |")


if __name__ == "__main__":
    main()
