"""
What the program does for speed or memory alone, and what each of these tunings gains.

    python -m benchmarks.tunings                                  # each at 8 and 64 workers
    python -m benchmarks.tunings --only spares --workers 64 --rounds 9
    python -m benchmarks.tunings --without spares,heaps -- run --config rembg-watch.toml

``TUNINGS`` is the whole list. The package has no switch for them: to go without one, its name is
replaced before the program starts, so that everything works without it, only slower or larger
(``tests/e2e/test_tunings.py``). A tuning stays only where it gains 1 %
or more of the throughput, the processor time or the memory at 8 or at 64 workers.

Daemons with all tunings and with all but one run in turns. A ratio is that of two neighbouring
runs, and what is printed are medians, with the middle half of the ratios. Processor time is that of
the daemon and its decoders for each further picture, without the start. On a machine with other
work it says more than the throughput, which is left out where the other work slows it down.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from statistics import linear_regression, median, quantiles

import httpx

from benchmarks.studio import Studio, api, jpegs, times_of, wait_for
from benchmarks.throughput import LATENCY_S, steady_per_s
from rembg_watch.__main__ import main as program
from rembg_watch.api.upload import MultipartBody
from rembg_watch.delivery.decoders import COMMAND, Decoders
from rembg_watch.ledger.prepared import Documented


@dataclass(frozen=True)
class Tuning:
    """Something that is there for speed or memory alone; *without* says which names give way, and to what."""

    what: str
    without: Mapping[str, object]


_PLAIN_DECODER = "import rembg_watch.delivery.decoder as one; one.limit_heaps = lambda: False; one.main()"


def _built(http: httpx.Client, url: httpx.URL, body: MultipartBody) -> httpx.Request:
    headers = {"accept": "image/*", "content-type": body.content_type, "content-length": str(body.length_bytes)}
    return http.build_request("POST", url, headers=headers, content=body)


TUNINGS = {
    "headers": Tuning(
        "The headers of a request are not merged by httpx.",
        {"rembg_watch.api.client:_request": _built},
    ),
    "cookies": Tuning(
        "No answer is searched for cookies, which are not kept anyway.",
        {"rembg_watch.api.client:_NoCookies.extract_cookies": httpx.Cookies.extract_cookies},
    ),
    "processors": Tuning(
        "The threads of a large pool share a processor.",
        {"rembg_watch.host.processors:shared_processor": lambda _workers: None},
    ),
    "heaps": Tuning(
        "The C library uses two heaps and keeps some memory, in the daemon and in its decoders.",
        {
            "rembg_watch.cli.run:limit_heaps": lambda: False,
            "rembg_watch.daemon.assembly:Decoders": partial(Decoders, command=(*COMMAND[:-1], _PLAIN_DECODER)),
        },
    ),
    "spares": Tuning(
        "The files of published answers are written over with the next ones.",
        {"rembg_watch.delivery.spool:MOST_SPARES": 0},
    ),
    "prepared": Tuning(
        "Statements that every picture needs are compiled once; alone: ``benchmarks.ledger``.",
        {"rembg_watch.ledger.prepared:way": Documented},
    ),
}


def go_without(names: Iterable[str]) -> None:
    """
    Take these tunings out of this process.

    Raises:
        AttributeError: What is to give way is no longer there: the list is out of date.
    """
    for path, other in ((path, other) for name in names for path, other in TUNINGS[name].without.items()):
        module, _, attribute = path.partition(":")
        *way, last = attribute.split(".")
        place: object = reduce(getattr, way, importlib.import_module(module))
        getattr(place, last)
        setattr(place, last, other)


@dataclass(frozen=True)
class Used:
    """What a daemon used for each further picture, and what it needed."""

    cpu_ms: float
    of_ideal: float
    memory_mb: float


def used(room: Path, url: str, workers: int, pictures: Path, without: str) -> Used:
    """Let a daemon without these tunings send all *pictures*."""
    studio = Studio(room, url, workers).prepare()
    studio.input.rmdir()
    studio.input.symlink_to(pictures)
    count, seen, cpu_s = len(list(pictures.iterdir())), [], []

    def is_done() -> bool:
        done = len(list(studio.output.iterdir()))
        if done > count // 8:
            seen.append(done)
            cpu_s.append(process.cpu_s())
        return done >= count

    times_of(url)
    with studio.daemon("-m", "benchmarks.tunings", "--without", without, "--") as process:
        wait_for(is_done, 300)
        memory_mb = process.memory_mb("VmHWM")
    steady = steady_per_s([ended_s for _, ended_s in times_of(url)], workers)
    return Used(linear_regression(seen, cpu_s).slope * 1e3, steady * LATENCY_S / workers, memory_mb)


def measure(root: Path, workers: int, seconds: float, rounds: int, names: Sequence[str]) -> None:
    """Print what each tuning gains with so many workers."""
    pairs: dict[str, list[tuple[Used, Used]]] = {name: [] for name in names}
    jpegs(root / "pictures", int(workers / LATENCY_S * seconds) + 3 * workers, size_bytes=100_000)
    with api(root, latency_s=LATENCY_S) as url:
        for number in range(rounds):
            for name in names:
                runs = {
                    without: used(root / f"{name}-{number}{without}", url, workers, root / "pictures", without)
                    for without in (("", name) if number % 2 else (name, ""))
                }
                pairs[name].append((runs[""], runs[name]))
    for name, found in pairs.items():
        figures = [_compared(found, one) for one in ("cpu_ms", "of_ideal", "memory_mb")]
        print(f"| {workers} | {name} | {' | '.join(figures)} |", flush=True)


def _compared(pairs: Sequence[tuple[Used, Used]], name: str) -> str:
    """Say by how much a figure changes without the tuning: the median, and from where to where the middle half goes."""
    changes = [getattr(without, name) / getattr(all_on, name) - 1 for all_on, without in pairs]
    low, _, high = quantiles(changes, n=4, method="inclusive") if len(changes) > 1 else changes * 3
    usual = median(getattr(all_on, name) for all_on, _ in pairs)
    return f"{usual:.3g}: {median(changes):+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--seconds", type=float, default=6.0, help="how long the ideal would take")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=TUNINGS, default=list(TUNINGS))
    parser.add_argument(
        "--without", help="run the program without these instead, separated by commas, or without any: all"
    )
    parser.add_argument("command", nargs="*", help="the command of the program, after --")
    options = parser.parse_args()
    if options.without is not None:
        go_without(TUNINGS if options.without == "all" else filter(None, options.without.split(",")))
        sys.argv[1:] = options.command
        program()
        return
    print("| workers | without | ms CPU each | of the ideal | MB at the most |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for workers in options.workers:
            root = Path(temporary) / str(workers)
            root.mkdir()
            measure(root, workers, options.seconds, options.rounds, options.only)


if __name__ == "__main__":
    main()
