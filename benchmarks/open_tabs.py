"""
Whether the daemon is slower while people look at its page.

    python -m benchmarks.open_tabs                      # 8 and 16 workers, five tabs open, three rounds
    python -m benchmarks.open_tabs --workers 64 --rounds 5

As ``throughput``: the API is ``plain_api`` with 0.3 s of latency in a process of its own, and the steady part of a run
counts. Runs with the page open and without it follow each other in turns. The page is served by ``rembg-watch web``
with a lower priority, as its unit asks for; every tab shows another page and asks every three seconds, and each time
hears that something has changed.
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.page import tabs
from benchmarks.studio import Studio, announced, api, jpegs, started, times_of, wait_for
from benchmarks.throughput import LATENCY_S, steady_per_s

PAGES = ("/", "/shoots", "/pictures", "/failed", "/credits")
NICE = "10"  # as in systemd/rembg-watch-web.service


def deliver(url: str, pictures: Path, room: Path, workers: int, open_tabs: int) -> tuple[float, float, float]:
    """Return answers a second, the daemon's processor time for a picture in ms, and the page's share of a core."""
    room.mkdir()
    studio = Studio(room, url, workers, extra='[web]\nlisten = "127.0.0.1:0"\n').prepare()
    studio.input.rmdir()
    studio.input.symlink_to(pictures)
    count = len(list(pictures.iterdir()))
    times_of(url)
    with ExitStack() as stack:
        page = None
        if open_tabs:
            command = ["nice", "-n", NICE, sys.executable, "-m", "rembg_watch", "web", "--config", str(studio.config)]
            page = stack.enter_context(started(command, room, name="web"))
            stack.enter_context(tabs(announced(page), PAGES, open_tabs))
        daemon = stack.enter_context(studio.daemon())
        before_s = page.cpu_s() if page is not None else 0.0
        wait_for(lambda: len(list(studio.output.iterdir())) >= count, 300, every_s=0.5)
        cpu_ms = daemon.cpu_s() / count * 1e3
        page_s = page.cpu_s() - before_s if page is not None else 0.0
        times = times_of(url)
    took_s = times[-1][1] - times[0][0]
    return steady_per_s([ended_s for _, ended_s in times], workers), cpu_ms, page_s / took_s


def measure(root: Path, workers: int, seconds: float, rounds: int, open_tabs: int) -> None:
    jpegs(root / "pictures", int(workers / LATENCY_S * seconds) + 3 * workers, size_bytes=100_000)
    found: dict[int, list[tuple[float, float, float]]] = {0: [], open_tabs: []}
    with api(root, latency_s=LATENCY_S) as url:
        for number in range(rounds):
            for tabs_open in found if number % 2 else reversed(found):
                room = root / f"{tabs_open}-{number}"
                found[tabs_open].append(deliver(url, root / "pictures", room, workers, tabs_open))
    base = statistics.median(rate for rate, _, _ in found[0])
    for tabs_open, runs in found.items():
        rate, cpu_ms, share = (statistics.median(one) for one in zip(*runs, strict=True))
        each = " ".join(f"{one:.2f}" for one, _, _ in sorted(runs))
        against = f"{rate:.2f}/s | {rate / base - 1:+.2%} | {each}"
        print(f"| {workers} | {tabs_open} | {against} | {cpu_ms:.2f} ms | {share:.1%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the ideal would take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tabs", type=int, default=5)
    options = parser.parse_args()
    print(
        "| workers | tabs | answers | against none | each run | daemon's CPU for a picture | page's share of a core |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for workers in options.workers:
            root = Path(temporary) / str(workers)
            root.mkdir()
            measure(root, workers, options.seconds, options.rounds, options.tabs)


if __name__ == "__main__":
    main()
