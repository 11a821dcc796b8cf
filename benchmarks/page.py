"""
What the page costs with a ledger of a million jobs.

    python -m benchmarks.page                    # a million jobs; about three minutes, 2 GB in the temporary directory
    python -m benchmarks.page --jobs 100000 --directory /var/tmp

The ledger has three folders of 20,000 shoots together, one call and one output name for each delivered picture, a
year of days, and some pictures that failed, are held or in doubt. It is served by ``rembg-watch web`` as a user starts
it. Every page and every answer of the API is asked for over one connection, each time after somebody has written to
the ledger, so that nothing can be answered with "not changed". Then ten tabs poll as the script of the page does, once
while nothing happens, and once while a picture is recorded each second.
"""

import argparse
import contextlib
import http.client
import itertools
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.studio import Process, Studio, announced, started
from rembg_watch.jobs import State
from rembg_watch.ledger import Ledger, open_ledger
from rembg_watch.ledger.pages import Mark
from rembg_watch.report.status import STATUS_NAME, CreditsView, FolderView, GateView, snapshot, write_snapshot
from rembg_watch.web.marks import mark_word, start_word

FOLDERS = ("studio", "press", "archive")
PER_SHOOT = 50
POLL_S, CALM = 3.0, 10  # as in static/page.js
_US = 1_000_000

JOBS_INTO = """
INSERT INTO jobs (id, folder, parent, source, size_bytes, mtime_ns, inode, state, enqueued_at, changed_at, due_at,
    content_key, answer_digest, answer_bytes, target, charged, reason, code, finding, figures, answer_w, answer_h,
    delivered_at, made_with, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
CALLS_INTO = """
INSERT INTO calls (job_id, folder, content_key, started_at, ended_at, charge, credits, code, follows)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'no')
"""
TARGETS_INTO = """
INSERT INTO targets (folder, "key", target, source, claimed_at, digest, size_bytes, mtime_ns, inode)
VALUES (?, ?, ?, ?, ?, ?, ?, '1', '1')
"""


def state_of(number: int) -> State:
    """Let most be delivered, as they are after a year; what stands still is spread over all of it."""
    share = number * 7919 % 1000
    ends = ((State.QUEUED, 5), (State.FAILED, 15), (State.HELD, 18), (State.IN_DOUBT, 20), (State.VANISHED, 25))
    return next((state for state, end in ends if share < end), State.DONE)


def rows(jobs: int, now: datetime) -> Iterator[tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...]]]:
    """Make a row of each table for each job: a shoot after the other, evenly over a year until now."""
    end_us, year_us = int(now.timestamp() * _US), 365 * 86_400 * _US
    chance = random.Random(14)  # keys that look like digests, the same each time
    for number in range(jobs):
        folder, shoot = FOLDERS[number // PER_SHOOT % len(FOLDERS)], number // PER_SHOOT
        parent = b"client-%03d shoot %05d" % (shoot % 400, shoot)
        source, state = parent + b"/IMG_%07d.jpg" % number, state_of(number)
        at_us = end_us - year_us + year_us * (number + 1) // jobs
        key, digest = f"{chance.getrandbits(256):064x}", f"{chance.getrandbits(256):064x}"
        is_done, target = state is State.DONE, source[:-4] + b".webp"
        odd = "faint" if is_done and number % 100 == 3 else None
        code = {State.FAILED: "image_too_large", State.HELD: "ask_above", State.IN_DOUBT: "no_answer"}.get(state)
        job = (
            number + 1, folder, parent, source, 8_000_000 + number, str(at_us * 1000), str(number), state.value,
            at_us - 60 * _US, at_us, at_us if state is State.QUEUED else None, key, digest if is_done else None,
            1_500_000 if is_done else 0, target if is_done else None, 10**9 if is_done else 0,
            "The picture is larger than can be sent." if code else None, code, odd,
            '{"opaque": 0.41, "border": 0.0}' if is_done else None, 4000 if is_done else None,
            6000 if is_done else None, at_us if is_done else None, "0" * 32, 3,
        )  # fmt: skip
        charge = "yes" if is_done else "maybe" if state is State.IN_DOUBT else "no"
        call = (number + 1, folder, key, at_us - 5 * _US, at_us, charge, 10**9, None if is_done else code)
        yield job, call, (folder, target.lower(), target, source, at_us, digest, 1_500_000)


def fill(studio: Studio, jobs: int, now: datetime) -> None:
    """Make the ledger: by hand, since a million pictures that pass one by one take ten minutes."""
    open_ledger(studio.state).close()
    with contextlib.closing(sqlite3.connect(studio.state / "ledger.db")) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        every = rows(jobs, now)
        while some := list(itertools.islice(every, 20_000)):
            with connection:
                connection.executemany(JOBS_INTO, [job for job, _, _ in some])
                connection.executemany(
                    CALLS_INTO, [call for job, call, _ in some if job[7] not in {"queued", "vanished"}]
                )
                connection.executemany(TARGETS_INTO, [target for job, _, target in some if job[7] == "done"])
        with connection:
            connection.execute("INSERT INTO job_counts SELECT folder, state, count(*) FROM jobs GROUP BY folder, state")


@dataclass
class StandIn:
    """In the place of a daemon, writes what one writes; *pid* lives, so that the page takes it for one."""

    ledger: Ledger
    state: Path
    pid: int

    def __post_init__(self) -> None:
        self._began_at = datetime.now(UTC)
        self._seen = 0
        self.report()

    def report(self) -> None:
        """Write the status, as a daemon does every 15 s that has nothing to do."""
        read = CreditsView(
            spendable=Decimal(1234), included=Decimal(1000), prepaid=Decimal(234), read_at=self._began_at
        )
        folders = [
            FolderView(name=name, input="/in", output="/out", state="watching", since=self._began_at)
            for name in FOLDERS
        ]
        shown = snapshot(
            counts={},
            unsettled=self._seen,
            gate=GateView(),
            credits=read,
            folders=folders,
            now=datetime.now(UTC),
            pid=self.pid,
        )
        write_snapshot(self.state / STATUS_NAME, shown)

    def work(self) -> None:
        """Write what makes every page another: to the ledger, and a status that says so."""
        self._seen += 1
        self.ledger.set_note("benchmark", self._seen, is_durable=False)
        self.report()


@dataclass
class Browser:
    """One connection to the page."""

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self.etags: dict[str, str] = {}

    def get(self, path: str, *, if_changed: bool = False) -> int:
        """Ask for a page as a browser does that was there before, or as one that was not; return its status."""
        known = self.etags.get(path) if if_changed else None
        try:
            answer = self._ask(path, known)
        except (http.client.RemoteDisconnected, ConnectionError):  # who has not asked for long is hung up on
            self._connection.close()
            answer = self._ask(path, known)
        answer.read()
        etag = answer.headers.get("etag")
        if etag is not None:
            self.etags[path] = etag
        return answer.status

    def _ask(self, path: str, known: str | None) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers={"If-None-Match": known} if known else {})
        return self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()


def paths(ledger: Ledger, jobs: int) -> dict[str, str]:
    """Name what is asked for, in the order in which it is shown."""
    middle = ledger.get(jobs // 2)
    assert middle is not None
    shoot = middle.source.partition(b"/")[0]
    return {
        "/": "/",
        "/shoots": "/shoots",
        "/shoots, far down": f"/shoots?folder={middle.folder}&from={start_word(shoot)}",
        "/shoots/FOLDER/ID": f"/shoots/{middle.folder}/{middle.id}",
        "/pictures": "/pictures",
        "/pictures, far down": f"/pictures?before={mark_word(Mark(middle.changed_at, middle.id))}",
        "/pictures?state=failed": "/pictures?state=failed",
        "/pictures?state=odd": "/pictures?state=odd",
        "/pictures?q=, of one": f"/pictures?q=IMG_{jobs // 2:07d}",
        "/pictures/ID": f"/pictures/{middle.id}",
        "/failed": "/failed",
        "/credits": "/credits",
        "/api/v1/status": "/api/v1/status",
        "/api/v1/jobs": "/api/v1/jobs",
        "/api/v1/jobs/ID": f"/api/v1/jobs/{middle.id}",
        "/api/v1/shoots": "/api/v1/shoots",
        "/api/v1/credits": "/api/v1/credits",
        "/api/v1/folders": "/api/v1/folders",
        "/healthz": "/healthz",
    }


def times_ms(act: Callable[[], object], rounds: int, before: Callable[[], object] = lambda: None) -> list[float]:
    found = []
    for _ in range(rounds):
        before()
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1e3)
    return sorted(found)


def p95(sorted_times: Sequence[float]) -> float:
    return sorted_times[min(len(sorted_times) - 1, int(0.95 * len(sorted_times)))]


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def pages(browser: Browser, asked: dict[str, str], rounds: int, write: Callable[[], None]) -> None:
    row("page", "first", "p50", "p95", "worst")
    row("---", "---", "---", "---", "---")
    for name, path in asked.items():
        write()
        first = times_ms(lambda path=path: expect(browser.get(path), 200), 1)[0]  # type: ignore[misc]
        found = times_ms(lambda path=path: expect(browser.get(path), 200), rounds, write)  # type: ignore[misc]
        row(name, *(f"{one:.1f} ms" for one in (first, statistics.median(found), p95(found), found[-1])))


def unchanged(browser: Browser, process: Process, rounds: int) -> None:
    browser.get("/")
    before_s = process.cpu_s()
    found = times_ms(lambda: expect(browser.get("/", if_changed=True), 304), rounds)
    cpu_ms = (process.cpu_s() - before_s) / rounds * 1e3
    row("304", f"p50 {statistics.median(found):.2f} ms", f"p95 {p95(found):.2f} ms", f"{cpu_ms:.2f} ms CPU each", "")


def expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise RuntimeError(f"answered {status}, not {wanted}")


@contextlib.contextmanager
def tabs(url: str, asked: Sequence[str], number: int) -> Iterator[None]:
    """Poll as so many open tabs do, while the context lasts."""
    is_over = threading.Event()

    def tab(index: int) -> None:
        browser, unchanged = Browser(url), 0
        is_over.wait(POLL_S * index / number)
        while not is_over.is_set():
            is_news = browser.get(asked[index % len(asked)], if_changed=True) != 304
            unchanged = 0 if is_news else unchanged + 1
            is_over.wait(POLL_S if unchanged < CALM else 2 * POLL_S)
        browser.close()

    threads = [threading.Thread(target=tab, args=(index,)) for index in range(number)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        is_over.set()
        for one in threads:
            one.join()


def share(process: Process, seconds: float, act: Callable[[], None], every_s: float) -> float:
    """Return the share of a core that is used while something is done every so often, once tabs have settled."""
    time.sleep((CALM + 2) * POLL_S)
    before_s, began_s = process.cpu_s(), time.monotonic()
    while time.monotonic() < began_s + seconds:
        act()
        time.sleep(every_s)
    return (process.cpu_s() - before_s) / (time.monotonic() - began_s)


def measure(root: Path, jobs: int, rounds: int, seconds: float) -> None:
    now = datetime.now(UTC)
    places = "".join(
        f'[[folders]]\nname = "{name}"\ninput = "{root}/{name}"\noutput = "{root}/{name}-out"\n' for name in FOLDERS[1:]
    )
    studio = Studio(root / "studio", "http://127.0.0.1:9", extra='[web]\nlisten = "127.0.0.1:0"\n').prepare()
    studio.config.write_text(studio.config.read_text(encoding="utf-8") + places, encoding="utf-8")
    fill(studio, jobs, now)
    print(f"ledger of {jobs:,} jobs: {(studio.state / 'ledger.db').stat().st_size / 2**20:,.0f} MiB", flush=True)
    command = [sys.executable, "-m", "rembg_watch", "web", "--config", str(studio.config)]
    with (
        open_ledger(studio.state) as ledger,
        subprocess.Popen(["sleep", "3600"]) as sleeper,
        started(command, root, name="web") as process,
    ):
        try:
            daemon = StandIn(ledger, studio.state, sleeper.pid)
            browse(process, announced(process), daemon, jobs, rounds, seconds)
        finally:
            sleeper.terminate()


def browse(process: Process, url: str, daemon: StandIn, jobs: int, rounds: int, seconds: float) -> None:
    asked, browser = paths(daemon.ledger, jobs), Browser(url)
    row("nobody looks", f"{share(process, seconds / 2, daemon.report, 15.0):.2%} of a core", "", "", "")
    pages(browser, asked, rounds, daemon.work)
    unchanged(browser, process, 5 * rounds)
    every = [path for name, path in asked.items() if not name.startswith(("/api", "/healthz"))]
    row("memory after that", f"{process.memory_mb():.0f} MB", f"peak {process.memory_mb('VmHWM'):.0f} MB", "", "")
    with tabs(url, every, 10):
        row("ten tabs, nothing happens", f"{share(process, seconds, daemon.report, 15.0):.2%} of a core", "", "", "")
        row("ten tabs, a change each second", f"{share(process, seconds, daemon.work, 1.0):.2%} of a core", "", "", "")
    for _ in range(10 * rounds):
        for path in every:
            browser.get(path)
    row(f"memory after {10 * rounds * len(every):,} more", f"{process.memory_mb():.0f} MB", "", "", "")
    browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100, help="how often each page is asked for")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long tabs poll")
    parser.add_argument("--directory", type=Path, help="where the ledger is made; default: the temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measure(Path(directory), options.jobs, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
