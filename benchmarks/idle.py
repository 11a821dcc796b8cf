"""
What the daemon uses of a processor while there is nothing to do.

    python -m benchmarks.idle              # 100,000 finished files; 10,000 queued behind a hold
    python -m benchmarks.idle --seconds 120

Measured after the walk through the tree has ended, in user and system time of all threads.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.studio import Process, Studio, api, finished_tree, jpegs, sandbox, status, wait_for


def share(process: Process, rest_s: float, seconds: float) -> float:
    """Return the share of one core over *seconds*, after a rest."""
    time.sleep(rest_s)
    before_s, began_s = process.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return (process.cpu_s() - before_s) / (time.monotonic() - began_s)


def with_finished(root: Path, files: int, seconds: float) -> str:
    with api(root) as url:
        studio = Studio(root / "finished", url).prepare()
        finished_tree(studio, files)
        with studio.daemon() as process:
            wait_for(lambda: status(studio), 60)
            used = share(process, 20, seconds)
    return f"| idle: {files:,} finished files, nothing to do | **{used:.2%}** of a core |"


def behind_a_hold(root: Path, files: int, seconds: float) -> str:
    with sandbox(root, "--engine", "flat", "--credits", "0") as url:
        studio = Studio(root / "held", url).prepare()
        jpegs(studio.input, files, per_directory=500)
        with studio.daemon() as process:
            wait_for(lambda: status(studio).get("jobs", {}).get("queued", 0) >= files, 300)
            used = share(process, 20, seconds)
    return f"| idle: {files:,} queued behind a hold (no credits) | **{used:.2%}** of a core |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.files:
            print(with_finished(Path(temporary), options.files, options.seconds), flush=True)
        if options.queued:
            print(behind_a_hold(Path(temporary), options.queued, options.seconds), flush=True)


if __name__ == "__main__":
    main()
