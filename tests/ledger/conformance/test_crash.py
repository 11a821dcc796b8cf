import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rembg_watch.jobs import State, Version
from rembg_watch.ledger import Access, Turn
from tests.ledger.engines import Home

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
VERSION = Version(size_bytes=1, mtime_ns=2, inode=3)

WORKER = """
import sys, threading, time
from datetime import UTC, datetime
from decimal import Decimal
from rembg_watch.api.errors import Charge
from rembg_watch.jobs import CallEnd, CallStart, State, move, with_content
from rembg_watch.ledger import Turn

now = lambda: datetime.now(UTC)
found = ledger.recover(now())
for job in found.in_doubt:
    ledger.record(move(job, State.QUEUED, at=now()))
lock = threading.Lock()
most = int(sys.argv[1]) if sys.argv[1:] else sys.maxsize

def say(job):
    global most
    with lock:
        print(job.id, job.state.value, flush=True)
        most -= 1
        while not most:  # until it is killed
            time.sleep(60)

def publish(job):
    say(ledger.record(move(job, State.DONE, at=now())))

def work():
    while jobs := ledger.claim(3, at=now(), run_id="r", turns=[Turn("f")]):
        for job in jobs:
            sending = move(with_content(job, str(job.id)), State.SENDING, at=now())
            sent = ledger.record(sending, call=CallStart(Decimal(1)))
            say(sent)
            received = move(sent, State.RECEIVED, at=now(), answer_digest="d")
            received = ledger.record(received, call=CallEnd(Charge.YES, Decimal(1)), names=[job.source + b".webp"])
            say(received)
            publish(received)

for job in ledger.claim(1000, at=now(), run_id="r", turns=[Turn("f")], state=State.RECEIVED):
    publish(job)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("finished", flush=True)
"""

ORDER = [State.SENDING, State.RECEIVED, State.DONE]


@contextmanager
def worker(home: Home, *most: str) -> Iterator["subprocess.Popen[str]"]:
    code = home.opening() + WORKER
    process = subprocess.Popen([sys.executable, "-c", code, *most], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until_killed(home: Home, lines: int) -> list[str]:
    """
    Run a worker until it has told *lines* records, kill it, and return all that it told.

    It tells at most 25 more, so that it is not at the end of its work if we are slow.
    """
    with worker(home, str(lines + 25)) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    return [line for line in told if line.endswith("\n")]  # a line cut by the kill tells nothing


def test_every_record_that_returned_is_there_after_a_kill_and_every_job_is_done_in_the_end(home: Home) -> None:
    with home.open() as ledger:
        ledger.add("f", [(b"%d.jpg" % number, VERSION) for number in range(120)], NOW)
    calls = 0
    for lines in (1, 7, 20, 33, 60):
        told = read_until_killed(home, lines)
        calls += sum(line.endswith("sending\n") for line in told)
        with home.open(Access.JOIN) as ledger:
            for line in told:
                job_id, state = line.split()
                job = ledger.get(int(job_id))
                assert job is not None
                assert ORDER.index(job.state) >= ORDER.index(State(state))
            # who was killed may have committed one more call in each thread than it could tell
            assert calls <= ledger.spending().calls <= calls + 4 * 5
    with worker(home) as process:
        assert process.stdout is not None
        assert process.stdout.read().endswith("finished\n")
    with home.open() as ledger:
        assert ledger.counts()[State.DONE] == 120
        sums = ledger.spending()
        assert sums.charged == 120
        assert sums.calls == 120 + sums.in_doubt
        assert sums.doubles == sums.in_doubt
        assert sums.in_doubt <= 5 * 4
        assert sum(job.charged for job in ledger.jobs()) == sums.booked


def test_two_processes_share_one_ledger_and_no_job(home: Home) -> None:
    with home.open() as ledger:
        ledger.add("f", [(b"%d.jpg" % number, VERSION) for number in range(200)], NOW)
    claimer = (
        f"{home.opening(Access.JOIN)}"
        "import sys; from datetime import UTC, datetime\n"
        "from rembg_watch.ledger import Turn\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "while jobs := ledger.claim(1, at=datetime.now(UTC), run_id=sys.argv[1], turns=[Turn('f')]):\n"
        "    print(jobs[0].id, flush=True)\n"
        "ledger.close()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", claimer, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    claimed = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=60)
        claimed.append([int(line) for line in out.split()])
    assert sorted(claimed[0] + claimed[1]) == list(range(1, 201))


def test_the_daemon_works_on_while_others_look_and_retry(home: Home) -> None:
    with home.open() as ledger:
        ledger.add("f", [(b"%d.jpg" % number, VERSION) for number in range(150)], NOW)
    with worker(home) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None:
            with home.open(Access.READ) as looking:
                counts = looking.counts()
                assert sum(counts.values()) == 150
                assert looking.spending().calls >= counts[State.DONE]
            if counts[State.DONE] == 150:
                break
        assert process.stdout.read().endswith("finished\n")


def test_a_claim_that_a_kill_left_is_taken_up_again(home: Home) -> None:
    with home.open() as ledger:
        ledger.add("f", [(b"a.jpg", VERSION)], NOW)
    claimer = (
        f"{home.opening()}"
        "import os, signal; from datetime import UTC, datetime\n"
        "from rembg_watch.ledger import Turn\n"
        "assert ledger.claim(1, at=datetime.now(UTC), run_id='first', turns=[Turn('f')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", claimer], check=False).returncode == -signal.SIGKILL
    with home.open() as ledger:
        assert ledger.claim(1, at=NOW, run_id="second", turns=[Turn("f")]) == []
        assert ledger.recover(NOW).claims == 1
        assert len(ledger.claim(1, at=NOW, run_id="second", turns=[Turn("f")])) == 1
