"""What this machine allows: kernel limits, open files, free space, a plausible clock."""

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rembg_watch.check.folders import Tree
from rembg_watch.config import Finding, FindingKind, Settings, Severity
from rembg_watch.config.rules import is_away, targets

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
_FILES_AT_REST = 64
_FILES_PER_WORKER = 6
_MARGIN = 1.25
_MEGABYTE = 1_000_000


def findings(settings: Settings, trees: Mapping[Path, Tree], *, now: datetime, proc: Path) -> Iterator[Finding]:
    """Report what on this machine will get in the way."""
    yield from _watches(settings, trees, proc)
    yield from _open_files(settings)
    yield from _space(settings)
    if now < _EARLIEST:
        what = f"by this machine's clock it is {now:%Y-%m-%d}, which cannot be right"
        yield _warning(what, "set the clock (timedatectl set-ntp true): TLS and waiting times depend on it")


def _warning(what: str, todo: str, *, where: str = "") -> Finding:
    return Finding(Severity.WARNING, FindingKind.MACHINE, what, where=where, todo=todo)


def _watches(settings: Settings, trees: Mapping[Path, Tree], proc: Path) -> Iterator[Finding]:
    """Each directory needs an inotify watch; without one, only the scan finds its changes."""
    if settings.watch.mode == "poll":
        return
    needed = int(sum(tree.directories for tree in trees.values()) * _MARGIN)
    with contextlib.suppress(OSError, ValueError):  # a sandboxed service cannot see the limit
        limit = int((proc / "sys/fs/inotify/max_user_watches").read_text())
        if needed > limit:
            yield _warning(
                f"the kernel watches at most {limit} directories for one user, but about {needed} are needed",
                f"sysctl fs.inotify.max_user_watches={_rounded(needed * 2)}; until then a scan finds every change "
                f"within {settings.watch.scan_interval_s:g} s",
            )


def _rounded(number: int) -> int:
    return max(8192, 1 << (number - 1).bit_length())


def _open_files(settings: Settings) -> Iterator[Finding]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES_AT_REST + _FILES_PER_WORKER * settings.pool.workers
    if limit not in (-1, resource.RLIM_INFINITY) and limit < needed:
        yield _warning(
            f"this user may have {limit} files open, and {settings.pool.workers} workers need about {needed}",
            "raise the limit (ulimit -n, LimitNOFILE=) or set fewer workers",
            where="[pool] workers",
        )


def _space(settings: Settings) -> Iterator[Finding]:
    """Report once each disk that the service writes to and that is nearly full."""
    reserve_bytes = settings.output.free_space_reserve_mb * _MEGABYTE
    paths = [settings.state_dir, *(path for folder in settings.folders for path in targets(folder).values())]
    seen = set()
    for path in paths:
        standing = next(step for step in (path, *path.parents) if not is_away(step))
        with contextlib.suppress(OSError):
            device, room = standing.stat().st_dev, os.statvfs(standing)
            if device in seen:
                continue
            seen.add(device)
            yield from _room(path, room, reserve_bytes)


def _room(path: Path, room: os.statvfs_result, reserve_bytes: int) -> Iterator[Finding]:
    free_bytes = room.f_bavail * room.f_frsize
    if free_bytes < reserve_bytes:
        free_mb, reserve_mb = free_bytes // _MEGABYTE, reserve_bytes // _MEGABYTE
        yield _warning(
            f"the disk of {path} has {free_mb} MB free, less than the reserve of {reserve_mb} MB",
            "free some space; work pauses until then and goes on by itself",
            where="[output] free_space_reserve_mb",
        )
    elif room.f_files and room.f_favail == 0:
        yield _warning(f"the disk of {path} can hold no more files (inodes)", "remove files that are not needed")
