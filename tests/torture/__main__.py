"""
Torture the real daemon and say what it kept of its promises: ``python -m tests.torture --help``.

Without a choice all trials run, as large as the promises name them. The exit code is 1 if a promise
was broken. Nothing outside a temporary directory is touched; what mounts does so in a namespace of
its own and is left out, with a word, where that is not permitted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.torture import trials
from tests.torture.plant import Plant, Report, plant

INSIDE = "REMBG_TORTURE_INSIDE"
WAYS = (
    ("unshare", "--mount", "--propagation", "private"),
    ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"),
)
MOUNTING = ("again", "full-disk")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.split("\n\n")[0])
    parser.add_argument("trial", nargs="*", choices=[*TRIALS, []], help="which trials; none: all")
    parser.add_argument("--pictures", type=int, help="how many; by default what the trial's promise names")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=40, help="kill -9 so often")
    parser.add_argument("--sigterm", type=int, default=20, help="SIGTERM so often")
    parser.add_argument("--seed", type=int, default=0, help="of all that is left to chance here")
    parser.add_argument("--sandbox-latency", type=float, default=0.2, metavar="S", help="how long a call takes")
    parser.add_argument("--placeholder", type=float, default=60.0, metavar="S", help="how long a file stays empty")
    parser.add_argument("--frozen", type=int, default=5_000, help="of a flood: so many while the daemon stands still")
    parser.add_argument("--remounts", type=int, default=10, help="unmount and mount the input folder so often")
    parser.add_argument("--keep", action="store_true", help="leave folders and logs for a look")
    parser.add_argument("--json", action="store_true", help="one object a trial instead of lines")
    return parser


def _kill(studio: Plant, wanted: argparse.Namespace) -> Report:
    return trials.kills(studio, pictures=wanted.pictures or 2_000, times=wanted.kills)


def _kill_files(studio: Plant, wanted: argparse.Namespace) -> Report:
    studio.make_files()
    return trials.kills(studio, pictures=wanted.pictures or 600, times=wanted.kills)


def _sigterm(studio: Plant, wanted: argparse.Namespace) -> Report:
    return trials.sigterms(studio, pictures=wanted.pictures or 600, times=wanted.sigterm)


def _flood(studio: Plant, wanted: argparse.Namespace) -> Report:
    studio.sandbox.latency_s = 0.0
    pictures = wanted.pictures or 30_000
    return trials.flood(studio, pictures=pictures, frozen=min(pictures, wanted.frozen))


def _trees(studio: Plant, wanted: argparse.Namespace) -> Report:
    studio.sandbox.latency_s = 0.0
    fresh = wanted.pictures or 1_000
    return trials.trees(studio, fresh=fresh, moved=fresh * 3 // 10)


def _fitful(studio: Plant, wanted: argparse.Namespace) -> Report:
    return trials.fitful(studio, writers=wanted.pictures or 20, placeholder_s=wanted.placeholder)


def _again(studio: Plant, wanted: argparse.Namespace) -> Report:
    studio.sandbox.latency_s = 0.0
    remounts = wanted.remounts if trials.may_mount(studio.root) else 0
    return trials.again(studio, pictures=wanted.pictures or 1_000, remounts=remounts)


def _full_disk(studio: Plant, wanted: argparse.Namespace) -> Report:
    if not trials.may_mount(studio.root):
        return Report("an output disk of 64 KiB: left out, mounting is not permitted here")
    return trials.full_disk(studio, pictures=wanted.pictures or 60)


def _names(studio: Plant, wanted: argparse.Namespace) -> Report:
    return trials.names(studio, pictures=wanted.pictures or 200)


TRIALS: dict[str, Callable[[Plant, argparse.Namespace], Report]] = {
    "kill": _kill,
    "kill-files": _kill_files,
    "sigterm": _sigterm,
    "flood": _flood,
    "trees": _trees,
    "fitful": _fitful,
    "again": _again,
    "full-disk": _full_disk,
    "names": _names,
}


def main() -> int:
    """Run the trials that are asked for; return 1 if a promise was broken."""
    wanted = _arguments().parse_args()
    broken = False
    for name in wanted.trial or TRIALS:
        if name in MOUNTING and INSIDE not in os.environ and (way := way_inside()):
            broken |= _run_inside(way, name) != 0
            continue
        report = _run(name, wanted)
        facts = {"trial": report.trial, **report.figures, "broken": report.broken}
        print(json.dumps(facts) if wanted.json else "\n".join(report.lines()), flush=True)
        broken |= bool(report.broken)
    return int(broken)


def _run(name: str, wanted: argparse.Namespace) -> Report:
    root = Path(tempfile.mkdtemp(prefix=f"torture-{name}-"))
    try:
        with plant(root, workers=wanted.workers, seed=wanted.seed, latency_s=wanted.sandbox_latency) as studio:
            return TRIALS[name](studio, wanted)
    finally:
        if wanted.keep:
            print(f"kept in {root}", file=sys.stderr)
        else:
            shutil.rmtree(root)


def way_inside() -> tuple[str, ...] | None:
    """Find a way into a mount namespace, where this machine permits one."""
    if shutil.which("unshare") is None:
        return None
    tried = (way for way in WAYS if not subprocess.run([*way, "true"], check=False, capture_output=True).returncode)
    return next(tried, None)


def _run_inside(way: tuple[str, ...], name: str) -> int:
    options = [word for word in sys.argv[1:] if word not in TRIALS]
    command = [*way, sys.executable, "-m", "tests.torture", name, *options]
    return subprocess.run(command, check=False, env=os.environ | {INSIDE: "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
