"""
What the ledger costs: jobs a second from enqueued to done, time to claim, memory.

Run it with ``python benchmarks/ledger.py``; it takes about a minute and writes into a
temporary directory (``--directory`` to measure another disk). The plain variant is what
one would write first: one connection behind a lock, a commit for each record.
"""

import argparse
import contextlib
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rembg_watch.api.errors import Charge
from rembg_watch.jobs import CallEnd, CallStart, Job, State, Version, move, with_content
from rembg_watch.ledger import Ledger, Target, Turn, open_ledger

ONE = Decimal(1)
START = CallStart(ONE, recipe="0123456789abcdef", sent_bytes=8_000_000)
ANSWERED = CallEnd(Charge.YES, ONE, status=200, answer_bytes=2_000_000, request_id="fra1::iad1::x2z9q-1795348800000")


def rss_mb() -> float:
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def sources(count: int, directories: int) -> list[tuple[bytes, Version]]:
    """Return sources as a scan finds them: directory by directory."""
    found = [
        (b"shoot-%04d/IMG_%06d.jpg" % (i % directories, i), Version(size_bytes=8_000_000, mtime_ns=i, inode=i))
        for i in range(count)
    ]
    return sorted(found, key=lambda one: one[0])


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def in_threads(count: int, act: Callable[[int], None]) -> float:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return timed(run)


def work_on(ledger: Ledger, job: Job) -> None:
    """Take one job the whole way: three durable records, and its output name where that is asked for."""
    key = f"{job.id:064x}"
    at = datetime.now(UTC)
    sent = ledger.record(move(with_content(job, key), State.SENDING, at=at), call=START)
    received = move(sent, State.RECEIVED, at=at, answer_digest=key, answer_bytes=2_000_000)
    received = ledger.record(received, call=ANSWERED)
    ledger.record(move(received, State.DONE, at=at, delivered_at=at, target=job.source + b".webp"))


def work_with_target(ledger: Ledger, job: Job) -> None:
    """The same with an output name of its own, and what stands there in the books."""
    key = f"{job.id:064x}"
    at = datetime.now(UTC)
    sent = ledger.record(move(with_content(job, key), State.SENDING, at=at), call=START)
    received = move(sent, State.RECEIVED, at=at, answer_digest=key, answer_bytes=2_000_000)
    received = ledger.record(received, call=ANSWERED, names=[job.source + b".webp"])
    assert received.target is not None
    published = Target(
        folder=job.folder, target=received.target, source=job.source, digest=key, size_bytes=2, mtime_ns=1, inode=1
    )
    ledger.record(move(received, State.DONE, at=at, delivered_at=at), published=published)


def end_to_end(ledger: Ledger, jobs: int, threads: int, act: Callable[[Ledger, Job], None]) -> float:
    """Return jobs a second with *threads* workers that claim 50 at a time; the queue behind them stays as long."""
    folder = f"{act.__name__} {threads}"
    ledger.add(folder, sources(jobs, 100), now())
    left = [jobs]
    lock = threading.Lock()

    def worker(_number: int) -> None:
        while True:
            with lock:
                want = min(50, max(1, left[0] // threads), left[0])
                left[0] -= want
            if not want:
                return
            for job in ledger.claim(want, at=datetime.now(UTC), run_id="bench", turns=[Turn(folder)]):
                act(ledger, job)

    rate = jobs / in_threads(threads, worker)
    assert ledger.counts(folder)[State.DONE] == jobs
    return rate


def plain_end_to_end(directory: Path, jobs: int, threads: int) -> float:
    """The same three records by hand: one connection, one lock, one commit each."""
    connection = sqlite3.connect(directory / "plain.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, source BLOB UNIQUE, state TEXT, changed REAL)")
    connection.execute("CREATE INDEX by_state ON jobs (state, id)")
    connection.executemany("INSERT INTO jobs (source, state) VALUES (?, 'queued')", ((b"%d" % i,) for i in range(jobs)))
    lock = threading.Lock()

    def worker(number: int) -> None:
        for job in range(number + 1, jobs + 1, threads):
            for state in ("sending", "received", "done"):
                with lock:
                    connection.execute("UPDATE jobs SET state = ?, changed = ? WHERE id = ?", (state, time.time(), job))

    with contextlib.closing(connection):
        return jobs / in_threads(threads, worker)


def claim_times_ms(ledger: Ledger, batch: int, turns: list[Turn], rounds: int = 40) -> list[float]:
    """Claim and put back, so that the queue stays as long as it is."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        jobs = ledger.claim(batch, at=datetime.now(UTC), run_id="bench", turns=turns)
        times.append((time.perf_counter() - began) * 1e3)
        ledger.release(jobs)
    return sorted(times)


def row(what: str, figure: str) -> None:
    print(f"{what:<66} {figure:>16}", flush=True)


def measure(directory: Path, rows: int, jobs: int, threads: int) -> None:
    ledger = open_ledger(directory)
    ledger.counts()
    before_mb = rss_mb()
    seen = sources(rows, 1000)
    with_list_mb = rss_mb()
    row(f"add {rows:,} sources, sources a second", f"{rows / timed(lambda: ledger.add('f', seen, now())):,.0f}")
    row("the same again, nothing new, sources a second", f"{rows / timed(lambda: ledger.add('f', seen, now())):,.0f}")
    directories = ledger.parents("f")
    scan_s = timed(lambda: [ledger.known("f", parent) for parent in directories])
    row(f"known(): {rows:,} sources in {len(directories):,} directories, s", f"{scan_s:.2f}")
    for batch in (1, 50):
        times = claim_times_ms(ledger, batch, [Turn("f"), Turn("g", priority=1), Turn("h")])
        row(f"claim {batch} of {rows:,} queued, ms: median, worst", f"{statistics.median(times):.2f}, {times[-1]:.2f}")
    row("counts(), ms", f"{timed(ledger.counts) * 1e3:.1f}")
    row("backlog(), ms", f"{timed(lambda: ledger.backlog(now())) * 1e3:.1f}")
    row("the 50 jobs changed last, ms", f"{timed(lambda: list(ledger.jobs(limit=50))) * 1e3:.1f}")
    row(f"memory with {rows:,} queued, MB more than before", f"{rss_mb() - with_list_mb:+.1f}")
    row("  (whole process; of that the benchmark's own list)", f"{rss_mb():.0f} ({with_list_mb - before_mb:.0f})")
    row("ledger file, MB", f"{(directory / 'ledger.db').stat().st_size / 1e6:.0f}")
    speeds(ledger, directory, jobs, threads)
    row("memory after that, MB", f"{rss_mb():.0f}")
    ledger.close()
    row("open again, with check, s", f"{timed(lambda: open_ledger(directory).close()):.2f}")


def speeds(ledger: Ledger, directory: Path, jobs: int, threads: int) -> None:
    row(f"end to end, {threads} threads, jobs a second", f"{end_to_end(ledger, jobs, threads, work_on):,.0f}")
    with_targets = end_to_end(ledger, jobs, threads, work_with_target)
    row(f"end to end with output names, {threads} threads, jobs a second", f"{with_targets:,.0f}")
    row("end to end, 1 thread, jobs a second", f"{end_to_end(ledger, jobs // 5, 1, work_on):,.0f}")
    row(f"plain variant, {threads} threads, jobs a second", f"{plain_end_to_end(directory, jobs, threads):,.0f}")
    row("the disk's own fsync, ms", f"{fsync_ms(directory):.2f}")


def fsync_ms(directory: Path, rounds: int = 100) -> float:
    with (directory / "fsync").open("wb", buffering=0) as file:

        def write() -> None:
            for _ in range(rounds):
                file.write(b"x" * 4096)
                os.fsync(file.fileno())

        return timed(write) / rounds * 1e3


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--directory", type=Path, help="where to write; default: the temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measure(Path(directory), options.rows, options.jobs, options.threads)


if __name__ == "__main__":
    main()
