"""A reload: the configuration is read again, and what it says is put into force; a wrong one changes nothing."""

import contextlib
import threading
from pathlib import Path

from rembg_watch import state_dirs
from rembg_watch.config import FOR_RUN, Settings
from rembg_watch.daemon.assembly import Parts, build_client, pace_of, plan_of
from rembg_watch.host.locks import Locks
from rembg_watch.watch import thread_name


def read(path: Path, before: Settings, locks: Locks) -> Settings:
    """
    Read the configuration again, and lock the inputs that are new.

    Raises:
        ConfigError: It cannot be used.
        LockedError: Another daemon watches a folder that is new.
    """
    after = state_dirs.load(path, tolerate=FOR_RUN)
    known = {folder.input for folder in before.folders}
    for folder in after.folders:
        if folder.input not in known:
            locks.take_input(folder.input)
    return after


def change_plan(parts: Parts, settings: Settings) -> None:
    """
    Put a new plan into force, as one reference.

    Raises:
        ConfigError: There is no key.
    """
    in_force = parts.ports.in_force
    old_client = in_force.plan.client
    in_force.plan = plan_of(settings, build_client(settings, transport=parts.around.transport))
    later = threading.Timer(settings.api.timeout_s * 2, old_client.close)  # calls in flight still use it
    later.daemon = True
    with contextlib.suppress(RuntimeError):  # no more threads can be started: the process closes it at its end
        later.start()


def change_folders(parts: Parts, settings: Settings) -> None:
    """Stop watching the folders as they were, and have those of *settings* watched from the next start on."""
    for name in parts.watcher.progress():
        parts.heartbeat.forget(thread_name(name))
    parts.watcher.change([folder.folder() for folder in settings.folders], pace_of(settings))


def changes(before: Settings, after: Settings) -> list[str]:
    """Say what changed, and what needs a restart."""
    fixed = {
        "state_dir": after.state_dir != before.state_dir,
        "pool.workers": after.pool.workers != before.pool.workers,
    }
    changed = [name for name in type(after).model_fields if getattr(after, name) != getattr(before, name)]
    waiting = [f"{name} needs a restart" for name, is_changed in fixed.items() if is_changed]
    return [f"{name} changed" for name in changed] + waiting
