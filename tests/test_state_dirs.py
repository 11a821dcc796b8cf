"""Which ledger a configuration uses that names none: its own, or the one that it has used so far."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch import config, state_dirs
from rembg_watch.config.settings import Settings, own_state_dir
from rembg_watch.daemon import Daemon
from rembg_watch.sandbox import Sandbox
from tests.unprivileged import modes_count

Project = Callable[..., Path]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "REMBG_WATCH_API__KEY": "sandbox-key"}


@pytest.fixture
def shared(environ: dict[str, str]) -> Path:
    """Where all configurations of a user had their ledger once."""
    return Path(environ["HOME"]) / ".local" / "state" / "rembg-watch"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Make a project of one folder with a picture of its own; return its configuration."""
    count = iter(range(1, 99))

    def make(name: str, *, folder: str = "pictures", after: str = "keep", file: str = "rembg-watch.toml") -> Path:
        root = tmp_path / name
        (root / "in").mkdir(parents=True)
        Image.new("RGB", (30 + next(count), 20), (200, 30, 30)).save(root / "in" / f"{name}.jpg")
        (root / file).write_text(
            "[watch]\nsettle_s = 0.05\nscan_interval_s = 0.1\n[[folders]]\n"
            f'name = "{folder}"\ninput = "in"\noutput = "out"\nafter = "{after}"\n'
            + ('done = "done"\n' if after == "move" else "")
        )
        return root / file

    return make


def where(path: Path, environ: dict[str, str]) -> Path:
    return state_dirs.load(path, environ=environ, tolerate=config.FOR_LOOKING).state_dir


def used_once(path: Path, environ: dict[str, str], state_dir: Path, *, is_noted: bool = False) -> None:
    """Run the configuration with this state directory, as the version before did."""
    settings = config.load(path, environ={**environ, "REMBG_WATCH_STATE_DIR": str(state_dir)})
    with Daemon(settings, transport=Sandbox(engine="flat").transport()) as daemon:
        daemon.run_once()
    if is_noted:
        state_dirs.remember(settings, path)


def test_each_configuration_has_a_ledger_of_its_own(
    project: Project, environ: dict[str, str], shared: Path, tmp_path: Path
) -> None:
    one, other = project("one"), project("other")
    link = tmp_path / "link.toml"
    link.symlink_to(one)
    assert where(one, environ) != where(other, environ)
    assert where(one, environ) == where(one.parent / "in" / ".." / one.name, environ) == where(link, environ)
    assert where(one, environ).parent == shared
    assert where(one, environ).name.startswith("one-")
    assert config.load(one, environ=environ).state_dir == where(one, environ)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/rembg-watch/config.toml", "/var/lib/rembg-watch"),
        ("/etc/rembg-watch/north.toml", "/var/lib/rembg-watch-north"),
        (None, "/s/rembg-watch"),
    ],
)
def test_the_services_and_the_environment_alone_keep_theirs(path: str | None, expected: str) -> None:
    assert str(own_state_dir({"XDG_STATE_HOME": "/s"}, path and Path(path))) == expected  # type: ignore[arg-type]
    given = {"XDG_STATE_HOME": "/s", "STATE_DIRECTORY": "/var/lib/x"}
    assert str(own_state_dir(given, path and Path(path))) == "/var/lib/x"  # type: ignore[arg-type]


def test_odd_names_make_plain_folders(environ: dict[str, str], tmp_path: Path) -> None:
    for name in ("a b.toml", "ü✗.toml", os.fsdecode(b"caf\xe9.toml"), "-x.toml", "x" * 200 + ".toml"):
        found = own_state_dir(environ, tmp_path / name).name
        assert found.isascii()
        assert found.isprintable()
        assert len(found) <= 49


@pytest.mark.parametrize("after", ["keep", "move", "delete"])
def test_an_older_ledger_goes_on_being_used_by_whoever_used_it(
    project: Project, environ: dict[str, str], shared: Path, after: str
) -> None:
    one, two, new = project("one", after=after), project("two", after=after), project("new", after=after)
    used_once(one, environ, shared)
    used_once(two, environ, shared)  # the last run there was this one's
    assert where(one, environ) == where(two, environ) == shared
    (new.parent / "out").mkdir()
    assert where(new, environ).parent == shared, "the same name of the folder is not enough"


def test_another_folder_name_is_another_configuration(project: Project, environ: dict[str, str], shared: Path) -> None:
    one, new = project("one"), project("new", folder="others")
    used_once(one, environ, shared)
    assert (where(one, environ), where(new, environ).parent) == (shared, shared)


def test_what_cannot_be_known_is_never_paid_twice(project: Project, environ: dict[str, str], shared: Path) -> None:
    one, two = project("one"), project("two")
    used_once(one, environ, shared)
    used_once(two, environ, shared)
    (one.parent / "in").rename(one.parent / "away")
    shutil.rmtree(one.parent / "out")
    assert where(one, environ) == shared, "its share is away"
    (one.parent / "away").rename(one.parent / "in")
    shared.chmod(0)
    with modes_count():
        assert where(one, environ) == where(two, environ) == shared, "nobody may look"
    shared.chmod(0o700)
    (shared / "ledger.db").write_bytes(b"no ledger at all")
    (shared / "status.json").unlink()
    assert where(one, environ) == shared, "it is damaged"


def test_who_is_noted_needs_no_proof(project: Project, environ: dict[str, str], shared: Path) -> None:
    one, two = project("one", after="delete"), project("two")
    used_once(one, environ, shared, is_noted=True)
    used_once(two, environ, shared, is_noted=True)
    used_once(two, environ, shared, is_noted=True)
    shutil.rmtree(one.parent / "out")
    (one.parent / "out").mkdir()
    assert where(one, environ) == shared
    assert (shared / state_dirs.NOTE_NAME).read_text() == f"{one}\n{two}\n"


def test_a_configuration_that_was_moved_takes_its_ledger_along(
    project: Project, environ: dict[str, str], shared: Path, tmp_path: Path
) -> None:
    one = project("one")
    own = where(one, environ)
    used_once(one, environ, own, is_noted=True)
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / one.name
    assert where(moved, environ) == own
    assert where(project("two"), environ) != own
    state_dirs.remember(state_dirs.load(moved, environ=environ), moved)
    (tmp_path / "elsewhere" / "in" / "one.jpg").unlink()
    assert where(moved, environ) == own, "it is noted now"


def test_a_state_dir_that_is_named_is_the_one(project: Project, environ: dict[str, str], shared: Path) -> None:
    one = project("one")
    used_once(one, environ, shared)
    one.write_text(f'state_dir = "mine"\n{one.read_text()}')
    assert where(one, environ) == one.parent / "mine"


def test_two_configurations_of_one_user_count_apart(project: Project, environ: dict[str, str], shared: Path) -> None:
    one, two = project("one"), project("two")
    for path in (one, two):
        settings: Settings = state_dirs.load(path, environ=environ)
        with Daemon(settings, transport=Sandbox(engine="flat").transport()) as daemon:
            daemon.run_once()
            assert daemon.snapshot()["jobs"]["done"] == 1
    assert not (shared / "ledger.db").exists()
