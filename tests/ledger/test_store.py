import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import FunctionType

import pytest
from sqlalchemy import Connection, inspect

from rembg_watch.api.errors import Charge
from rembg_watch.errors import ExitCode, LedgerError
from rembg_watch.jobs import CallEnd, CallStart, State, Version, move, with_content
from rembg_watch.ledger import Access, Ledger, LedgerUnavailableError, NoLedgerError, Turn, Which
from rembg_watch.ledger.commits import SharedCommits, _Entry
from rembg_watch.ledger.schema import MIGRATIONS

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
VERSION = Version(size_bytes=1, mtime_ns=2, inode=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def filled(path: Path, jobs: int = 500) -> Path:
    with Ledger.open(path) as ledger:
        ledger.add("f", [(b"%d.jpg" % number, VERSION) for number in range(jobs)], NOW)
    return path


class TestTheFile:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_only_its_owner_may_read_it_whatever_the_umask(self, path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            path.parent.mkdir(mode=0o700)
            path.parent.chmod(0o700)
            ledger = Ledger.open(path)
            ledger.set_note("a", 1)
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
            ledger.close()
        finally:
            os.umask(before)
        assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}

    def test_a_directory_that_is_missing_is_made_for_its_owner_alone(self, path: Path) -> None:
        Ledger.open(path).close()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_a_directory_that_cannot_be_made_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(LedgerError, match=r"no ledger can be made at .*file/ledger\.db"):
            Ledger.open(tmp_path / "file" / "ledger.db")

    def test_commits_wait_for_the_disk(self, path: Path) -> None:
        with Ledger.open(path) as ledger:
            ledger.set_note("a", 1)
            modes = ledger._store.write(
                lambda connection: [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("journal_mode", "synchronous", "auto_vacuum")
                ]
            )
        assert modes == ["wal", 2, 2]

    def test_a_commit_in_haste_does_not_make_the_next_one_hasty(self, path: Path) -> None:
        with Ledger.open(path) as ledger:
            asked = [
                ledger._store.write(
                    lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar_one(), is_durable=durable
                )
                for durable in (True, False, False, True)
            ]
        assert asked == [2, 1, 1, 2]

    def test_who_writes_has_the_ledger_to_himself_from_his_first_look(self, path: Path) -> None:
        def look(connection: Connection) -> None:
            connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one()
            with (
                closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
                pytest.raises(sqlite3.OperationalError, match="locked"),
            ):
                other.execute("BEGIN IMMEDIATE")

        with Ledger.open(path) as ledger:
            ledger._store.write(look)

    def test_a_start_that_died_while_it_made_the_ledger_leaves_the_next_one_undisturbed(self, path: Path) -> None:
        path.parent.mkdir()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"ledger.db.new{suffix}").write_bytes(b"half")
        filled(path)
        with Ledger.open(path) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
        assert [one.name for one in path.parent.iterdir()] == ["ledger.db"]

    def test_a_path_with_odd_characters_is_a_path(self, tmp_path: Path) -> None:
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/100%?#&mode=ro \xff/ledger.db"))
        filled(odd)
        with Ledger.open(odd, Access.READ) as ledger:
            assert ledger.counts()[State.QUEUED] == 500


class TestAccess:
    @pytest.mark.parametrize("access", [Access.READ, Access.JOIN])
    def test_who_is_not_the_owner_makes_no_ledger(self, path: Path, access: Access) -> None:
        with pytest.raises(NoLedgerError, match="nothing has run with this state_dir"):
            Ledger.open(path, access)
        assert not path.parent.exists()

    def test_others_see_at_once_what_the_daemon_commits_and_the_other_way_round(self, path: Path) -> None:
        filled(path, 1)
        with (
            Ledger.open(path) as daemon,
            Ledger.open(path, Access.JOIN) as beside,
            Ledger.open(path, Access.READ) as looking,
        ):
            (job,) = daemon.claim(1, at=NOW, run_id="r", turns=[Turn("f")])
            held = daemon.record(move(job, State.HELD, at=NOW))
            assert looking.counts()[State.HELD] == 1
            assert beside.retry(Which(), NOW) == 1
            assert daemon.claim(1, at=NOW, run_id="r", turns=[Turn("f")])[0].revision == held.revision + 1

    def test_who_only_looks_cannot_write(self, path: Path) -> None:
        with Ledger.open(filled(path), Access.READ) as ledger, pytest.raises(LedgerError, match="for looking only"):
            ledger.set_note("a", 1)

    def test_who_only_looks_needs_no_right_to_write_and_leaves_nothing(self, path: Path) -> None:
        filled(path)
        looker = (
            "import os, sys\nfrom pathlib import Path\nfrom rembg_watch.jobs import State\n"
            "from rembg_watch.ledger import Access, Ledger\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "ledger = Ledger.open(Path(sys.argv[1]), Access.READ)\n"
            "print(ledger.counts()[State.QUEUED])\nledger.close()\n"
        )
        path.chmod(0o444)
        path.parent.chmod(0o555)
        with reachable(path):
            try:
                done = subprocess.run([sys.executable, "-c", looker, path], capture_output=True, text=True, check=False)
            finally:
                path.parent.chmod(0o755)
        assert (done.stdout, done.stderr) == ("500\n", "")
        assert [one.name for one in path.parent.iterdir()] == ["ledger.db"]


@contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Let another user reach the temporary directory."""
    closed = [one for one in path.parents if one.stat().st_uid == os.geteuid() and not one.stat().st_mode & 0o005]
    modes = {one: stat.S_IMODE(one.stat().st_mode) for one in closed if one != Path("/")}
    try:
        for one, mode in modes.items():
            one.chmod(mode | 0o055)
        yield
    finally:
        for one, mode in modes.items():
            one.chmod(mode)


def spoiled(path: Path, spoil: Callable[[Path], object]) -> Path:
    spoil(filled(path, 5_000))
    return path


def overwrite(path: Path, offset: int, junk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(junk)


class TestDamage:
    @pytest.mark.parametrize("access", Access)
    @pytest.mark.parametrize(
        "spoil",
        [
            pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
            pytest.param(lambda path: path.write_bytes(b"not a database at all" * 400), id="something else"),
            pytest.param(lambda path: path.write_bytes(path.read_bytes()[:70_000]), id="cut off"),
            pytest.param(lambda path: overwrite(path, 0, b"\0" * 512), id="its beginning zeroed"),
            pytest.param(lambda path: overwrite(path, 40_960, b"\xa5" * 65_536), id="overwritten in the middle"),
        ],
    )
    def test_a_damaged_ledger_is_refused_with_the_way_out(
        self, path: Path, spoil: Callable[[Path], object], access: Access
    ) -> None:
        spoiled(path, spoil)
        before = path.read_bytes()
        with pytest.raises(LedgerError) as refused:
            Ledger.open(path, access)
        message = str(refused.value)
        assert str(path) in message
        assert "move" in message
        assert "would be sent, and paid for, again" in message
        assert "\n" not in message
        assert refused.value.exit_code is ExitCode.CONFIG
        assert path.read_bytes() == before

    def test_another_programs_database_is_refused_and_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE jobs (id INTEGER)")
        with pytest.raises(LedgerError, match="no ledger of rembg-watch: point state_dir elsewhere"):
            Ledger.open(path)

    def test_a_directory_in_its_place_is_a_sentence(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(LedgerError, match="is no file: move it away"):
            Ledger.open(path)

    def test_a_log_without_its_ledger_is_not_played_into_a_new_one(self, path: Path) -> None:
        ledger = Ledger.open(path)
        ledger.add("f", [(b"a.jpg", VERSION)], NOW)
        log = path.with_name("ledger.db-wal")
        saved = log.read_bytes()
        ledger.close()
        path.unlink()
        log.write_bytes(saved)
        with pytest.raises(LedgerError, match=r"is gone, but its log ledger\.db-wal is there"):
            Ledger.open(path)
        assert not path.exists()

    def test_damage_that_shows_later_is_told_with_the_way_out(self, path: Path) -> None:
        with Ledger.open(filled(path, 20_000)) as ledger:  # more than its connections keep in memory
            overwrite(path, 8192, b"\xa5" * (path.stat().st_size - 8192))
            with pytest.raises(LedgerError, match=r"is damaged .* move ledger\.db, ledger\.db-wal"):
                list(ledger.jobs())
            with pytest.raises(LedgerError, match="is damaged"):
                ledger.add("f", [(b"new.jpg", VERSION)], NOW)

    def test_a_newer_ledger_is_refused_and_left_alone(self, path: Path) -> None:
        Ledger.open(path, migrations=(*MIGRATIONS, lambda _: None, lambda _: None)).close()
        for access in Access:
            with pytest.raises(
                LedgerError, match=r"newer rembg-watch \(its tables are version 3, this program knows 1"
            ):
                Ledger.open(path, access)


class TestMigrations:
    @staticmethod
    def _add_column(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN colour TEXT")

    @staticmethod
    def _break(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN shape TEXT")
        connection.exec_driver_sql("SELECT * FROM nowhere")

    def test_an_older_ledger_is_brought_up_to_date_by_its_owner_and_keeps_its_jobs(self, path: Path) -> None:
        filled(path)
        with Ledger.open(path, migrations=(*MIGRATIONS, self._add_column)) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
            with ledger._store.reading() as connection:
                assert "colour" in {one["name"] for one in inspect(connection).get_columns("notes")}
        with closing(sqlite3.connect(path.with_name("ledger.db.version-1"))) as kept:
            assert kept.execute("SELECT count(*) FROM jobs").fetchone() == (500,)
        assert stat.S_IMODE(path.with_name("ledger.db.version-1").stat().st_mode) == 0o600

    def test_a_step_is_taken_once(self, path: Path) -> None:
        for _ in range(2):
            Ledger.open(path, migrations=(*MIGRATIONS, self._add_column)).close()

    def test_a_step_that_fails_leaves_the_ledger_as_it_was(self, path: Path) -> None:
        filled(path)
        with pytest.raises(LedgerError, match="no such table"):
            Ledger.open(path, migrations=(*MIGRATIONS, self._add_column, self._break))
        with Ledger.open(path) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
            with ledger._store.reading() as connection:
                assert {one["name"] for one in inspect(connection).get_columns("notes")} == {"name", "value"}

    @pytest.mark.parametrize("access", [Access.JOIN, Access.READ])
    def test_nobody_but_the_owner_changes_an_older_ledger(self, path: Path, access: Access) -> None:
        filled(path)
        with pytest.raises(LedgerError, match="older rembg-watch: start `rembg-watch run`"):
            Ledger.open(path, access, migrations=(*MIGRATIONS, self._add_column))


class TestRefusals:
    def test_a_full_disk_is_a_sentence_and_passes(self, path: Path) -> None:
        with Ledger.open(filled(path)) as ledger:
            limit(ledger, ledger._store.path.stat().st_size // 4096)
            with pytest.raises(LedgerUnavailableError, match="its disk is full: make room there") as refused:
                ledger.add("f", [(b"more %d.jpg" % number, VERSION) for number in range(2_000)], NOW)
            assert refused.value.exit_code is ExitCode.WAITING
            assert ledger.counts()[State.QUEUED] == 500
            limit(ledger, 2**31)
            assert ledger.add("f", [(b"more.jpg", VERSION)], NOW) == 1

    def test_another_process_that_keeps_it_locked_is_a_sentence_and_passes(self, path: Path) -> None:
        with Ledger.open(filled(path)) as ledger:
            ledger.set_note("a", 1)
            ledger._store.write(lambda connection: connection.exec_driver_sql("SELECT 1"))
            impatient(ledger)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(LedgerUnavailableError, match="another process keeps it locked"):
                    ledger.set_note("a", 2)
                assert ledger.note("a") == 1
                other.execute("ROLLBACK")
            ledger.set_note("a", 3)
            assert ledger.note("a") == 3


def driver(ledger: Ledger) -> sqlite3.Connection:
    connection = ledger._store._connection
    if connection is None:
        ledger.set_note("open", 1)
        connection = ledger._store._connection
    assert connection is not None
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def limit(ledger: Ledger, pages: int) -> None:
    driver(ledger).execute(f"PRAGMA max_page_count={pages}")


def impatient(ledger: Ledger) -> None:
    driver(ledger).execute("PRAGMA busy_timeout=1")


def is_in(thread: threading.Thread, *functions: FunctionType) -> bool:
    """Say whether a thread has got into all these functions and not yet out of them."""
    codes = set()
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    return codes >= {function.__code__ for function in functions}


class Recorder:
    """Stands for a database: it notes which work went into which transaction."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.durable: list[bool] = []
        self.fails = 0
        self.entered = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    @contextmanager
    def __call__(self, is_durable: bool) -> Iterator[Connection]:
        group: list[str] = []
        self.group = group
        self.entered.set()
        assert self.may_commit.wait(10)
        yield None  # type: ignore[misc]  # the work below wants no database
        if self.fails:
            self.fails -= 1
            raise OSError("commit failed")
        self.groups.append(group)
        self.durable.append(is_durable)

    def work(self, name: str) -> Callable[[Connection], str]:
        def act(_connection: Connection) -> str:
            self.group.append(name)
            if name.startswith("bad"):
                raise ValueError(name)
            return f"did {name}"

        return act


class TestSharedCommits:
    @staticmethod
    def _together(commits: SharedCommits, recorder: Recorder, names: list[str]) -> dict[str, object]:
        """Let one thread lead and the others come while its transaction is open."""
        found: dict[str, object] = {}

        def run(name: str) -> None:
            try:
                found[name] = commits.run(recorder.work(name), is_durable=not name.endswith("lax"))
            except Exception as error:  # noqa: BLE001 - it is looked at below
                found[name] = error

        recorder.may_commit.clear()
        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        threads[0].start()
        assert recorder.entered.wait(10)
        for came, thread in enumerate(threads[1:], start=1):
            thread.start()
            while len(commits._waiting) < came:
                assert thread.is_alive()
        recorder.may_commit.set()
        for thread in threads:
            thread.join(10)
        return found

    def test_who_is_alone_commits_alone(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        assert [commits.run(recorder.work(name), is_durable=True) for name in "ab"] == ["did a", "did b"]
        assert recorder.groups == [["a"], ["b"]]

    def test_those_who_come_during_a_commit_share_the_next(self) -> None:
        recorder = Recorder()
        found = self._together(SharedCommits(recorder), recorder, ["first", "a", "b", "c"])
        assert recorder.groups == [["first"], ["a", "b", "c"]]
        assert found == {name: f"did {name}" for name in ("first", "a", "b", "c")}

    def test_one_that_fails_fails_alone(self) -> None:
        recorder = Recorder()
        found = self._together(SharedCommits(recorder), recorder, ["first", "a", "bad 1", "b", "bad 2", "c"])
        assert recorder.groups == [["first"], ["a", "b", "c"]]
        assert [str(found[name]) for name in ("a", "bad 1", "b", "bad 2", "c")] == [
            "did a",
            "bad 1",
            "did b",
            "bad 2",
            "did c",
        ]

    def test_a_commit_that_fails_fails_for_all_who_shared_it_and_for_nobody_after(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        commits.run(recorder.work("before"), is_durable=True)
        recorder.fails = 2
        found = self._together(commits, recorder, ["first", "a", "b"])
        assert {str(one) for one in found.values()} == {"commit failed"}
        assert commits.run(recorder.work("after"), is_durable=True) == "did after"

    def test_a_group_is_no_larger_than_it_may_be(self) -> None:
        recorder = Recorder()
        self._together(SharedCommits(recorder, most=2), recorder, ["first", "a", "b", "c"])
        assert recorder.groups == [["first"], ["a", "b"], ["c"]]

    def test_one_who_needs_the_disk_makes_all_wait_for_it(self) -> None:
        recorder = Recorder()
        self._together(SharedCommits(recorder, most=2), recorder, ["first lax", "a lax", "b", "c lax", "d lax"])
        assert recorder.durable == [False, True, False]

    def test_a_leader_that_is_interrupted_leaves_nobody_waiting(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)

        def interrupted(_connection: Connection) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            commits.run(interrupted, is_durable=True)
        assert commits.run(recorder.work("after"), is_durable=True) == "did after"

    def test_one_who_is_interrupted_while_he_waits_takes_his_work_away_and_leaves_nobody_waiting(self) -> None:
        recorder = Recorder()
        commits = SharedCommits(recorder)
        recorder.may_commit.clear()
        leader = threading.Thread(target=commits.run, args=(recorder.work("first"),), kwargs={"is_durable": True})
        leader.start()
        assert recorder.entered.wait(10)

        is_over = threading.Event()

        def interrupt() -> None:
            while not is_in(threading.main_thread(), SharedCommits.run, threading.Event.wait):
                assert not is_over.wait(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                commits.run(recorder.work("second"), is_durable=True)
        finally:
            is_over.set()
            signal.signal(signal.SIGINT, before)
        recorder.may_commit.set()
        leader.join(10)
        assert commits.run(recorder.work("third"), is_durable=True) == "did third"
        assert recorder.groups == [["first"], ["third"]]

    def test_one_who_is_interrupted_when_he_was_just_chosen_to_lead_passes_it_on(self) -> None:
        commits = SharedCommits(Recorder())
        gone, next_one = (_Entry(Recorder().work(name), is_durable=True) for name in ("gone", "next"))
        commits._waiting.extend([gone, next_one])  # type: ignore[list-item]
        commits._is_led = gone.leads = True
        commits._leave(gone)
        assert next_one.leads
        assert next_one.woken.is_set()
        assert list(commits._waiting) == [next_one]


def test_sixteen_threads_and_a_scanner_lose_nothing_and_claim_nothing_twice(path: Path) -> None:
    jobs, threads = 320, 16
    with Ledger.open(path) as ledger:
        done: list[int] = []
        failures: list[BaseException] = []
        enough = threading.Event()

        def scan() -> None:
            for number in range(jobs):
                ledger.add("f", [(b"%d.jpg" % number, VERSION)], NOW)
            enough.set()

        def work() -> None:
            try:
                while True:
                    is_last = enough.is_set()
                    claimed = ledger.claim(3, at=NOW, run_id="r", turns=[Turn("f")])
                    for job in claimed:
                        sending = move(with_content(job, f"{job.id}"), State.SENDING, at=NOW)
                        sent = ledger.record(sending, call=CallStart(Decimal(1)))
                        received = ledger.record(
                            move(sent, State.RECEIVED, at=NOW), call=CallEnd(Charge.YES, Decimal(1))
                        )
                        ledger.record(move(received, State.DONE, at=NOW))
                        done.append(job.id)
                    if is_last and not claimed:
                        return
            except BaseException as error:  # noqa: BLE001 - it is looked at below
                failures.append(error)

        running = [threading.Thread(target=one) for one in [scan] + [work] * threads]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(60)
        assert failures == []
        assert sorted(done) == sorted(set(done))
        assert ledger.counts()[State.DONE] == jobs
        assert ledger.spending().charged == jobs
