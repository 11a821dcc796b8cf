import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from rembg_watch.errors import ExitCode, LedgerError
from rembg_watch.jobs import State, Version, move
from rembg_watch.ledger import Access, LedgerUnavailableError, NoLedgerError, Target, Which, open_ledger
from rembg_watch.ledger.book import SqlLedger
from rembg_watch.ledger.migrations import ON_SQLITE, Migration
from rembg_watch.ledger.sqlite import SqliteStore
from rembg_watch.ledger.values import FILE_NAME
from tests.ledger.moves import NOW, at, claim, finish, one, receive, send, version

VERSION = version()


def opened(path: Path, access: Access = Access.OWN, migrations: Sequence[Migration] = ON_SQLITE) -> SqlLedger:
    return SqlLedger(SqliteStore.open(path, access, migrations))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def filled(path: Path, jobs: int = 500) -> Path:
    with opened(path) as ledger:
        ledger.add("f", [(b"%d.jpg" % number, VERSION) for number in range(jobs)], NOW)
    return path


class TestTheFile:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_only_its_owner_may_read_it_whatever_the_umask(self, path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            path.parent.mkdir(mode=0o700)
            path.parent.chmod(0o700)
            ledger = opened(path)
            ledger.set_note("a", 1)
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
            ledger.close()
        finally:
            os.umask(before)
        assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}

    def test_a_directory_that_is_missing_is_made_for_its_owner_alone(self, path: Path) -> None:
        opened(path).close()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_a_directory_that_cannot_be_made_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(LedgerError, match=r"no ledger can be made at .*file/ledger\.db"):
            opened(tmp_path / "file" / "ledger.db")

    def test_commits_wait_for_the_disk(self, path: Path) -> None:
        with opened(path) as ledger:
            ledger.set_note("a", 1)
            modes = ledger._store.write(
                lambda connection: [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("journal_mode", "synchronous", "auto_vacuum")
                ]
            )
        assert modes == ["wal", 2, 2]

    def test_a_commit_in_haste_does_not_make_the_next_one_hasty(self, path: Path) -> None:
        with opened(path) as ledger:
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

        with opened(path) as ledger:
            ledger._store.write(look)

    def test_a_start_that_died_while_it_made_the_ledger_leaves_the_next_one_undisturbed(self, path: Path) -> None:
        path.parent.mkdir()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"ledger.db.new{suffix}").write_bytes(b"half")
        filled(path)
        with opened(path) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
        assert [one.name for one in path.parent.iterdir()] == ["ledger.db"]

    def test_a_path_with_odd_characters_is_a_path(self, tmp_path: Path) -> None:
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/100%?#&mode=ro \xff/ledger.db"))
        filled(odd)
        with opened(odd, Access.READ) as ledger:
            assert ledger.counts()[State.QUEUED] == 500


class TestAccess:
    @pytest.mark.parametrize("access", [Access.READ, Access.JOIN])
    def test_who_is_not_the_owner_makes_no_ledger(self, path: Path, access: Access) -> None:
        with pytest.raises(NoLedgerError, match="nothing has run with this state_dir"):
            opened(path, access)
        assert not path.parent.exists()

    def test_who_only_looks_needs_no_right_to_write_and_leaves_nothing(self, path: Path) -> None:
        filled(path)
        looker = (
            "import os, sys\nfrom pathlib import Path\nfrom rembg_watch.jobs import State\n"
            "from rembg_watch.ledger import Access, book, open_ledger, sqlite\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "ledger = open_ledger(Path(sys.argv[1]).parent, Access.READ)\n"
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
            opened(path, access)
        message = str(refused.value)
        assert str(path) in message
        assert "move" in message
        assert "would be sent, and paid for, again" in message
        assert "\n" not in message
        assert refused.value.exit_code is ExitCode.CONFIG
        assert path.read_bytes() == before
        assert path not in [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]

    def test_another_programs_database_is_refused_and_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE jobs (id INTEGER)")
        with pytest.raises(LedgerError, match="no ledger of rembg-watch: point state_dir elsewhere"):
            opened(path)

    def test_a_directory_in_its_place_is_a_sentence(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(LedgerError, match="is no file: move it away"):
            opened(path)

    def test_a_log_without_its_ledger_is_not_played_into_a_new_one(self, path: Path) -> None:
        ledger = opened(path)
        ledger.add("f", [(b"a.jpg", VERSION)], NOW)
        log = path.with_name("ledger.db-wal")
        saved = log.read_bytes()
        ledger.close()
        path.unlink()
        log.write_bytes(saved)
        with pytest.raises(LedgerError, match=r"is gone, but its log ledger\.db-wal is there"):
            opened(path)
        assert not path.exists()

    def test_damage_that_shows_later_is_told_with_the_way_out(self, path: Path) -> None:
        with opened(filled(path, 20_000)) as ledger:  # more than its connections keep in memory
            overwrite(path, 8192, b"\xa5" * (path.stat().st_size - 8192))
            with pytest.raises(LedgerError, match=r"is damaged .* move ledger\.db, ledger\.db-wal"):
                list(ledger.jobs())
            with pytest.raises(LedgerError, match="is damaged"):
                ledger.add("f", [(b"new.jpg", VERSION)], NOW)

    def test_a_newer_ledger_is_refused_and_left_alone(self, path: Path) -> None:
        opened(path, migrations=(*ON_SQLITE, lambda _: None, lambda _: None)).close()
        for access in Access:
            newest = len(ON_SQLITE)
            with pytest.raises(
                LedgerError,
                match=rf"newer rembg-watch \(its tables are version {newest + 2}, this program knows {newest}",
            ):
                opened(path, access)


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
        with opened(path, migrations=(*ON_SQLITE, self._add_column)) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
            assert ledger._store.read(
                lambda connection: "colour" in {one["name"] for one in inspect(connection).get_columns("notes")}
            )
        with closing(sqlite3.connect(path.with_name(f"ledger.db.version-{len(ON_SQLITE)}"))) as kept:
            assert kept.execute("SELECT count(*) FROM jobs").fetchone() == (500,)
        assert stat.S_IMODE(path.with_name(f"ledger.db.version-{len(ON_SQLITE)}").stat().st_mode) == 0o600

    def test_a_step_is_taken_once(self, path: Path) -> None:
        for _ in range(2):
            opened(path, migrations=(*ON_SQLITE, self._add_column)).close()

    def test_a_step_that_fails_leaves_the_ledger_as_it_was(self, path: Path) -> None:
        filled(path)
        with pytest.raises(LedgerError, match="no such table"):
            opened(path, migrations=(*ON_SQLITE, self._add_column, self._break))
        with opened(path) as ledger:
            assert ledger.counts()[State.QUEUED] == 500
            assert ledger._store.read(
                lambda connection: (
                    {one["name"] for one in inspect(connection).get_columns("notes")} == {"name", "value"}
                )
            )

    @pytest.mark.parametrize("access", [Access.JOIN, Access.READ])
    def test_nobody_but_the_owner_changes_an_older_ledger(self, path: Path, access: Access) -> None:
        filled(path)
        with pytest.raises(LedgerError, match="older rembg-watch: start `rembg-watch run`"):
            opened(path, access, migrations=(*ON_SQLITE, self._add_column))


class TestRefusals:
    def test_a_full_disk_is_a_sentence_and_passes(self, path: Path) -> None:
        with opened(filled(path)) as ledger:
            limit(ledger, ledger._store.path.stat().st_size // 4096)
            with pytest.raises(LedgerUnavailableError, match="its disk is full: make room there") as refused:
                ledger.add("f", [(b"more %d.jpg" % number, VERSION) for number in range(2_000)], NOW)
            assert refused.value.exit_code is ExitCode.WAITING
            assert ledger.counts()[State.QUEUED] == 500
            limit(ledger, 2**31)
            assert ledger.add("f", [(b"more.jpg", VERSION)], NOW) == 1

    def test_another_process_that_keeps_it_locked_is_a_sentence_and_passes(self, path: Path) -> None:
        with opened(filled(path)) as ledger:
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


def driver(ledger: SqlLedger) -> sqlite3.Connection:
    connection = ledger._store._connection
    if connection is None:
        ledger.set_note("open", 1)
        connection = ledger._store._connection
    assert connection is not None
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def limit(ledger: SqlLedger, pages: int) -> None:
    driver(ledger).execute(f"PRAGMA max_page_count={pages}")


def impatient(ledger: SqlLedger) -> None:
    driver(ledger).execute("PRAGMA busy_timeout=1")


class TestTheWork:
    def test_what_is_expected_takes_one_statement_for_each_row_it_changes(self, path: Path) -> None:
        """Each costs a change of threads or seven, and a picture has three records."""
        ledger = opened(path)
        finish(ledger, one(ledger, b"first.jpg"))  # what is compiled is compiled
        statements: list[str] = []
        driver(ledger).set_trace_callback(statements.append)
        job = send(ledger, one(ledger), "other key")
        job = receive(ledger, job, names=[b"a.webp"])
        ledger.record(
            move(job, State.DONE, at=NOW), published=Target(folder="f", target=b"a.webp", source=b"a.jpg", digest="1")
        )
        # a statement is told again for each of the triggers that it sets off, which cost no change of threads
        rows = [row for row, _ in groupby(" ".join(one.split()[:3]) for one in statements)]
        begun = [number for number, row in enumerate(rows) if row.startswith("BEGIN")]
        assert [rows[first + 1 : rows.index("COMMIT", first)] for first in begun[-3:]] == [
            ["UPDATE jobs SET", "INSERT INTO calls"],
            ["INSERT INTO targets", "UPDATE calls SET", "UPDATE jobs SET"],
            ["UPDATE targets SET", "UPDATE jobs SET"],
        ]
        ledger.close()

    def test_room_of_what_was_forgotten_goes_back_to_the_disk(self, path: Path) -> None:
        sources = [(b"%0200d.jpg" % number, version(number)) for number in range(6_000)]
        with opened(path) as ledger:
            ledger.add("f", sources, NOW)
            ledger.gone("f", [source for source, _ in sources], at(1))
        with opened(path) as ledger:
            before = path.stat().st_size
            pruned = ledger.prune(at(2))
            assert pruned.jobs == 6_000
            assert pruned.freed_bytes > before / 2
        assert path.stat().st_size < before / 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
def test_a_reader_who_may_not_write_there_sees_a_daemon_that_starts_later() -> None:
    """It reads the file as it lies there while nobody has it open; and it looks anew when somebody has, and after."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        with open_ledger(path) as ledger:
            ledger.add("f", [(b"0.jpg", Version(size_bytes=1, mtime_ns=0, inode=0))], NOW)
        (path / FILE_NAME).chmod(0o644)
        asking, telling = os.pipe()
        answers, answering = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(65534, 65534, 65534)
                reader = open_ledger(path, Access.READ)
                while os.read(asking, 1) == b"?":
                    os.write(answering, bytes([reader.counts()[State.QUEUED]]))
            finally:
                os._exit(0)

        def seen() -> int:
            os.write(telling, b"?")
            return os.read(answers, 1)[0]

        try:
            assert seen() == 1
            with open_ledger(path) as ledger:
                for number in range(1, 4):
                    ledger.add("f", [(b"%d.jpg" % number, Version(size_bytes=1, mtime_ns=number, inode=0))], NOW)
                    for beside in path.glob("ledger.db-*"):
                        beside.chmod(0o644)
                    assert seen() == number + 1
            assert seen() == 4
            with open_ledger(path) as ledger:
                ledger.add("f", [(b"last.jpg", Version(size_bytes=1, mtime_ns=9, inode=0))], NOW)
            assert seen() == 5
        finally:
            os.write(telling, b".")
            os.waitpid(child, 0)


def test_a_reader_sees_another_ledger_in_the_place_of_the_one_it_read(path: Path) -> None:
    opened(path).close()
    with opened(path, Access.READ) as reader:
        assert reader.counts()[State.QUEUED] == 0
        other = path.parent / "other"
        with open_ledger(other) as ledger:
            one(ledger)
        (other / FILE_NAME).replace(path)
        assert sum(reader.counts().values()) == 1


def test_jobs_are_counted_in_no_time(path: Path) -> None:
    ledger = opened(path)
    for folder in ("f", "g"):
        ledger.add(folder, [(b"%d.jpg" % n, Version(size_bytes=1, mtime_ns=n, inode=n)) for n in range(3_000)], NOW)
    plan: list[str] = []
    driver(ledger).set_trace_callback(plan.append)
    began = time.perf_counter()
    for _ in range(20):
        counts = ledger.counts_by_folder()
    assert (time.perf_counter() - began) / 20 < 0.005
    assert {name: one[State.QUEUED] for name, one in counts.items()} == {"f": 3_000, "g": 3_000}


def test_the_counts_are_those_of_the_rows_whatever_was_done(path: Path) -> None:
    ledger = opened(path)
    for number in range(6):
        ledger.add("f", [(b"%d.jpg" % number, Version(size_bytes=1, mtime_ns=1, inode=number))], NOW)
    ledger.add("f", [(b"0.jpg", Version(size_bytes=2, mtime_ns=2, inode=0))], NOW)
    ledger.reject("g", b"no.jpg", Version(size_bytes=1, mtime_ns=1, inode=1), NOW, reason="no", code="no")
    first, second, third, *_ = claim(ledger)
    finish(ledger, first)
    send(ledger, second, "b")
    receive(ledger, send(ledger, third, "c"))
    ledger.gone("f", [b"1.jpg", b"5.jpg"], NOW)
    ledger.retry(Which(), NOW)
    ledger.prune(NOW + timedelta(days=1))
    counted = driver(ledger).execute("SELECT folder, state, count(*) FROM jobs GROUP BY 1, 2").fetchall()
    assert {(f, s): n for f, one in ledger.counts_by_folder().items() for s, n in one.items() if n} == {
        (f, s): n for f, s, n in counted
    }
    counted = [row for row in counted if row[1] not in ("sending", "received")]
    kept = driver(ledger).execute("SELECT folder, state, jobs FROM job_counts WHERE jobs > 0").fetchall()
    assert sorted(kept) == sorted(counted)
    assert driver(ledger).execute("SELECT min(jobs) FROM job_counts").fetchone()[0] == 0


def test_a_thread_that_comes_after_the_end_finds_the_ledger_closed_and_nothing_crashes(tmp_path: Path) -> None:
    """A share that hung lets a thread go when the program has ended for all others."""
    ledger = open_ledger(tmp_path)
    said: list[type[BaseException]] = []
    begun = threading.Barrier(5)

    def write() -> None:
        begun.wait()
        try:
            while True:
                ledger.set_note("name", "value", is_durable=False)
                ledger.note("name")
        except LedgerUnavailableError as error:
            said.append(type(error))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.05)
    ledger.close()
    for thread in threads:
        thread.join(30)
    assert said == [LedgerUnavailableError] * 4
