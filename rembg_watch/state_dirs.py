"""
Which state directory belongs to a configuration that names none.

Each configuration has a default of its own. Before that was so, all of one user shared one:
such a ledger goes on being used by the configurations that used it. Each start notes which
those are; of an older ledger, its folders tell. Where they cannot, it is used: a fresh one
would pay for every picture again.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rembg_watch import config
from rembg_watch.config import FOR_LOOKING, FindingKind, FolderSettings, Reading, Settings
from rembg_watch.config.rules import all_places, is_away, places
from rembg_watch.config.settings import default_state_dir
from rembg_watch.errors import ConfigError, LedgerError
from rembg_watch.host.disk import version_of
from rembg_watch.host.silence import silent
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Access, Ledger, Which, open_ledger
from rembg_watch.report.status import read_snapshot

NOTE_NAME = "configurations"
"""The file in a state directory that lists who uses it, a line each."""

_LEDGER_NAME = "ledger.db"
_MOST_JOBS = 500


def load(
    path: Path | None, *, environ: Mapping[str, str] | None = None, tolerate: frozenset[FindingKind] = frozenset()
) -> Settings:
    """
    Do what ``config.load`` does, with the state directory that belongs to the configuration.

    Raises:
        ConfigError: Something is wrong that the caller cannot live with.
    """
    reading = read(path, environ=environ, on_disk=not tolerate >= FOR_LOOKING)  # those do not touch a folder first
    errors = reading.errors(tolerate=tolerate)
    if errors or reading.settings is None:
        raise ConfigError([str(found) for found in errors])
    return reading.settings


def read(path: Path | None, *, environ: Mapping[str, str] | None = None, on_disk: bool = True) -> Reading:
    """Do what ``config.read`` does, with the state directory that belongs to the configuration."""
    environ = os.environ if environ is None else environ
    reading = config.read(path, environ=environ, on_disk=on_disk)
    if reading.settings is None or reading.chooses_state_dir or path is None:
        return reading
    with suppress(RuntimeError):  # no home: nothing was ever kept there
        found = _standing(reading.settings, path, shared=default_state_dir(environ, path))
        if found != reading.settings.state_dir:
            return config.read(path, environ=environ, default_state_dir=found, on_disk=on_disk)
    return reading


def remember(settings: Settings, path: Path) -> None:
    """Note in the state directory that the configuration at *path* uses it; a disk that refuses is told elsewhere."""
    name = os.path.realpath(path)
    with suppress(OSError):
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if name not in _users(settings.state_dir):
            with (settings.state_dir / NOTE_NAME).open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{name}\n")


def noted(environ: Mapping[str, str]) -> list[Path]:
    """List the configurations that may concern this user: in the usual places, or noted by a run of theirs."""
    found = [*config.usual_places(environ)]
    with suppress(RuntimeError):  # no home: nothing was ever kept there
        shared = default_state_dir(environ)
        found += [Path(name) for one in [shared, *_below(shared)] for name in _users(one)]
    return found


def _users(state_dir: Path) -> list[str]:
    try:
        return (state_dir / NOTE_NAME).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _standing(settings: Settings, path: Path, *, shared: Path) -> Path:
    """Return the state directory whose ledger is this configuration's; its own default if there is none."""
    own = settings.state_dir
    if own == shared or _has_ledger(own):
        return own
    settings = _that_answer(settings)
    name = os.path.realpath(path)
    if _has_ledger(shared) is not False and (
        name in _users(shared) or _is_known_there(settings, shared, if_unclear=True)
    ):
        return shared
    others = [one for one in _below(shared) if _has_ledger(one)]
    noted = next((one for one in others if name in _users(one)), None)
    return noted or next((one for one in others if _was_left(one) and _is_known_there(settings, one)), own)


def _that_answer(settings: Settings) -> Settings:
    """Leave out the folders on a share that hangs: they tell nothing, and to look at one would never end."""
    silences = silent(all_places(settings))
    answering = [one for one in settings.folders if silences.isdisjoint(places(one).values())]
    return settings.model_copy(update={"folders": tuple(answering)})


def _has_ledger(state_dir: Path) -> bool | None:
    """Say whether a ledger stands there; None if this user may not look."""
    try:
        (state_dir / _LEDGER_NAME).stat()
    except PermissionError:
        return None
    except OSError:
        return False
    return True


def _below(shared: Path) -> list[Path]:
    """List the defaults of single configurations."""
    try:
        return sorted(shared.iterdir())
    except OSError:
        return []


def _was_left(state_dir: Path) -> bool:
    """Say whether all configurations that used it are gone: one of them may have been moved."""
    users = _users(state_dir)
    return bool(users) and not any(os.path.lexists(user) for user in users)


def _is_known_there(settings: Settings, state_dir: Path, *, if_unclear: bool = False) -> bool:
    """Say whether the folders of *settings* are those of a ledger."""
    if _ran_last(settings, state_dir):
        return True
    if not settings.folders:
        return if_unclear
    try:
        with open_ledger(state_dir, Access.READ) as ledger:
            found = [_is_folder_of(ledger, folder) for folder in settings.folders]
    except (LedgerError, OSError):
        return if_unclear
    return True in found or (if_unclear and None in found)


def _ran_last(settings: Settings, state_dir: Path) -> bool:
    """Say whether the last run there watched an input of *settings*."""
    with suppress(OSError):
        found = read_snapshot(state_dir / "status.json") or {}
        watched = {os.path.realpath(str(one["input"])) for one in found.get("folders", ()) if "input" in one}
        return any(os.path.realpath(folder.input) in watched for folder in settings.folders)
    return False


def _is_folder_of(ledger: Ledger, folder: FolderSettings) -> bool | None:
    """
    Say whether the ledger's folder of this name is this one, by what stands on disk.

    Its sources stand in the input as the ledger knows them, or its cut-outs in the output. If
    neither could be there, because the place is away, the name alone tells nothing: None.
    """
    jobs = list(ledger.jobs(Which(folders=frozenset({folder.name})), limit=_MOST_JOBS))
    if any(_stands(job, folder) for job in jobs):
        return True
    if not jobs:
        return False
    is_kept = any(job.gone_at is None and not job.is_disposed for job in jobs)
    is_unclear = is_away(folder.input) if is_kept else is_away(folder.output)
    return None if is_unclear else False


def _stands(job: Job, folder: FolderSettings) -> bool:
    with suppress(OSError):
        if version_of((folder.input / os.fsdecode(job.source)).stat()) == job.version:
            return True
    with suppress(OSError):
        return job.state is State.DONE and job.target is not None and (folder.output / os.fsdecode(job.target)).exists()
    return False
