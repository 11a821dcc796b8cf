"""
What the daemon needs of memory: while large pictures are uploaded, and with a long queue.

    python -m benchmarks.memory            # 16 uploads of 45 MB at once; 100,000 queued
    python -m benchmarks.memory --queued 10000

The server reads no body before 16 have begun, so that they are really under way at once.
Growth is the most that the kernel ever counted (``VmHWM``) less what the daemon had at rest. Both are sums over the
daemon and its children that decode answers; the sum of their peaks is more than was ever used at once.
The long queue is found by the daemon itself in its folder, and held by an account without credits.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.studio import Studio, api, jpegs, sandbox, status, times_of, wait_for

WORKERS = 16
MB = 1_000_000


def uploads(root: Path, count: int) -> str:
    """Upload *count* pictures of 45 MB, 16 at once, and say by how much the daemon grew."""
    with api(root, latency_s=1.0, gather=WORKERS) as url:
        studio = Studio(root / "uploads", url, WORKERS).prepare()
        with studio.daemon() as process:
            wait_for(lambda: status(studio), 30)
            warm_up = studio.input / "warm-up"
            jpegs(warm_up, WORKERS)
            wait_for(lambda: status(studio)["jobs"]["done"] >= WORKERS, 60)
            process.forget_peak()
            idle_mb = process.memory_mb()
            times_of(url)
            jpegs(root / "large", count, first=1000, size_bytes=45 * MB)
            (root / "large").rename(studio.input / "large")
            wait_for(lambda: status(studio)["jobs"]["done"] >= WORKERS + count, 120)
            peak_mb = process.memory_mb("VmHWM")
        at_once = most_at_once(times_of(url))
    return (
        f"| memory: {count} pictures of 45 MB, up to {at_once} under way at once | idle {idle_mb:.0f} MB, "
        f"peak {peak_mb:.0f} MB: **{peak_mb - idle_mb:+.0f} MB** |"
    )


def most_at_once(times: list[tuple[float, float]]) -> int:
    changes = sorted([(began_s, 1) for began_s, _ in times] + [(ended_s, -1) for _, ended_s in times])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def queue(root: Path, count: int) -> str:
    """Let the daemon find *count* pictures that nobody pays for, and say how large it ever was."""
    with sandbox(root, "--engine", "flat", "--credits", "0") as url:
        studio = Studio(root / "queue", url, WORKERS).prepare()
        jpegs(studio.input, count, per_directory=500)
        with studio.daemon() as process:
            wait_for(lambda: status(studio).get("jobs", {}).get("queued", 0) >= count, 120)
            peak_mb = process.memory_mb("VmHWM")
    return f"| memory: {count:,} queued, found by the daemon itself | peak **{peak_mb:.0f} MB** |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=32)
    parser.add_argument("--queued", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.uploads:
            print(uploads(Path(temporary), options.uploads), flush=True)
        if options.queued:
            print(queue(Path(temporary), options.queued), flush=True)


if __name__ == "__main__":
    main()
