"""What one daemon leaves for others to see, while it starts, is killed, is upgraded or is set up anew."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rembg_watch.errors import ConfigError, LedgerError
from rembg_watch.jobs import State
from rembg_watch.ledger import FILE_NAME
from rembg_watch.report.status import Liveness
from rembg_watch.web.daemons import Daemon, named, without_key
from tests.unprivileged import modes_count
from tests.web.studio import AT, Studio


def test_a_ledger_that_comes_later_is_seen(studio: Studio) -> None:
    with closing(Daemon("", studio.config, {})) as daemon:
        with pytest.raises(LedgerError, match="There is no ledger"):
            daemon.ledger()
        assert daemon.look(now=AT).alive is Liveness.GONE
        with studio.open() as ledger:
            studio.drop(ledger, "a/1.jpg")
        assert daemon.ledger().counts()[State.QUEUED] == 1


def test_what_a_daemon_writes_that_started_after_the_page_is_seen(studio: Studio) -> None:
    """A reader of a ledger that nobody writes reads it as it lies there; it must not stay with that."""
    with studio.open() as ledger:
        studio.drop(ledger, "a/1.jpg")
    with closing(Daemon("", studio.config, {})) as daemon:
        for number in range(2, 5):  # the log of the ledger comes and goes with each of them
            assert daemon.ledger().counts()[State.QUEUED] == number - 1
            with studio.open() as ledger:
                studio.drop(ledger, f"a/{number}.jpg")
                assert daemon.ledger().counts()[State.QUEUED] == number


def test_on_a_state_folder_that_is_read_only_a_daemon_that_starts_later_is_seen(studio: Studio) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "a/1.jpg")
    studio.state.chmod(0o555)
    with closing(Daemon("", studio.config, {})) as daemon:

        def seen() -> int:
            with modes_count():
                return daemon.ledger().counts()[State.QUEUED]

        try:
            assert seen() == 1
            assert not list(studio.state.glob("*-wal"))
            studio.state.chmod(0o755)
            with studio.open() as ledger:
                studio.state.chmod(0o555)
                studio.drop(ledger, "a/2.jpg")
                assert seen() == 2
                studio.state.chmod(0o755)
            studio.state.chmod(0o555)
            assert seen() == 2
        finally:
            studio.state.chmod(0o755)


def test_an_older_or_newer_ledger_is_told_in_a_sentence(studio: Studio) -> None:
    studio.open().close()
    with closing(sqlite3.connect(studio.state / FILE_NAME)) as connection, connection:
        connection.execute("INSERT INTO schema_steps VALUES (99, 0)")
    with closing(Daemon("", studio.config, {})) as daemon, pytest.raises(LedgerError, match="newer rembg-watch"):
        daemon.ledger()


def test_a_ledger_that_was_replaced_is_looked_at_anew(studio: Studio, tmp_path: Path) -> None:
    with studio.open() as ledger:
        studio.drop(ledger, "a/1.jpg")
    with closing(Daemon("", studio.config, {})) as daemon:
        assert daemon.ledger().counts()[State.QUEUED] == 1
        (studio.state / FILE_NAME).rename(tmp_path / "old")
        for one in studio.state.glob(f"{FILE_NAME}-*"):
            one.unlink()
        with studio.open() as ledger:
            studio.drop(ledger, "b/1.jpg", "b/2.jpg")
        assert daemon.ledger().counts()[State.QUEUED] == 2


def test_a_configuration_that_changes_is_read_anew_and_a_wrong_one_is_left(studio: Studio) -> None:
    with closing(Daemon("", studio.config, {})) as daemon:
        assert daemon.depth("catalogue") == 1
        right = studio.config.read_text()
        studio.config.write_text(right + "\nshoot_depth = 2\n")
        assert daemon.depth("catalogue") == 2
        studio.config.write_text("this is no toml [")
        assert daemon.depth("catalogue") == 2


def test_a_configuration_that_is_wrong_at_the_start_is_refused(studio: Studio) -> None:
    studio.config.write_text("[web]\nnonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        Daemon("", studio.config, {})


def test_the_key_is_read_from_nowhere(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "studio")
    secret = "kkkkkkkk-secret-kkkkkkkk"
    (tmp_path / "api_key").write_text(secret)
    with studio.config.open("a") as file:
        file.write(f'[api]\nkey_file = "{tmp_path / "api_key"}"\n')
    environ = {"REMBG_WATCH_API__KEY": secret, "CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": str(tmp_path)}
    os.utime(tmp_path / "api_key", (1, 1))
    with closing(Daemon("", studio.config, environ)) as daemon:
        assert daemon.settings.api.key is None
        assert secret not in repr(daemon.settings.model_dump())
    assert (tmp_path / "api_key").stat().st_atime == 1, "nobody has read it"
    assert secret not in repr(without_key(environ))


@pytest.mark.parametrize(
    ("configs", "names"),
    [
        (["/etc/rembg-watch/config.toml"], [""]),
        (["/etc/rembg-watch/north.toml", "/etc/rembg-watch/south.toml"], ["north", "south"]),
        (["/a/rembg-watch.toml", "/b/rembg-watch.toml"], ["a", "b"]),
        (["/a/x.toml", "/b/x.toml"], ["x", "x-2"]),
        (["/a/äö x.toml", "/b/..toml"], ["---x", "-"]),
    ],
)
def test_each_daemon_has_a_name_of_its_own(configs: list[str], names: list[str]) -> None:
    assert list(named([Path(one) for one in configs])) == names


def test_the_figures_are_read_where_the_daemon_writes_them(tmp_path: Path) -> None:
    plain, elsewhere = Studio(tmp_path / "plain"), tmp_path / "collector" / "rembg.prom"
    told = Studio(tmp_path / "told", web=f'[metrics]\ntextfile = "{elsewhere}"')
    elsewhere.parent.mkdir()
    elsewhere.write_text("told 1\n")
    for one in (plain, told):
        (one.state / "metrics.prom").write_text("plain 1\n")
    with closing(Daemon("", plain.config, {})) as daemon:
        assert daemon.metrics() == b"plain 1\n"
    with closing(Daemon("", told.config, {})) as daemon:
        assert daemon.metrics() == b"told 1\n"
