"""
The tour: sandbox, sample pictures and the real daemon, from nothing to a contact sheet in a minute.

Everything lives in one new folder and on loopback. The daemon is started as a person
would start it, as a process of its own with a configuration file; the demo only drops
pictures, looks on and stops it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rembg_watch.config import template
from rembg_watch.demo.contact_sheet import Row, draw
from rembg_watch.errors import ExitCode, UsageError
from rembg_watch.pictures.extras import missing_for
from rembg_watch.report.status import STATUS_NAME, read_snapshot

if TYPE_CHECKING:
    from rembg_watch.sandbox.server import LoopbackServer

KEY = "demo-key"
CREDITS = 100
SETTLE_S = 1.0
_DEADLINE_S = 180.0

FILES = {"print": ".tif", "shop": ".jpg", "list": ".webp"}
"""What the tour makes of each picture, and how it ends."""

DELIVERABLES = """
[deliverables.print]
format = "tiff"
path = "print/{dir}/{stem}.{ext}"

[deliverables.shop]
format = "jpeg"
background = "#ffffff"
canvas = [1200, 1200]
fill = 0.85
enlarge = true
colour = "srgb"
depth = "8"
path = "shop/{dir}/{stem}.{ext}"

[deliverables.list]
format = "webp"
depth = "8"
canvas = [400, 400]
margin = "6%"
enlarge = true
path = "list/{dir}/{stem}.{ext}"
"""
_STOP_S = 30.0

Say = Callable[[str], None]


def run_demo(folder: Path | None, *, say: Say, note: Say, console: Console) -> ExitCode:
    """
    Show the whole way of a picture in *folder*, or in a new temporary folder, which stays, and end.

    *say* prints a line of the answer, *note* a line beside it.

    Raises:
        UsageError: The sandbox is not installed, or *folder* is not empty.
    """
    root = _root(folder)
    drop, cutouts = root / "drop-here", root / "cut-outs"
    for each in (drop, cutouts):
        each.mkdir()
    with _sandbox() as server:
        note(f"The API is emulated at {server.base_url}, with {CREDITS} credits. Everything is in {root}")
        config = _configure(root, drop, cutouts, server)
        note(f"Started as you would:  rembg-watch run --config {config}")
        with _daemon(config, root / "daemon.log") as daemon:
            count = _drop_samples(drop)
            note(f"{count} pictures are dropped into {drop}")
            code = _look_on(root / "state" / STATUS_NAME, daemon, count, console)
        sheet = _contact_sheet(root, drop, cutouts) if code is ExitCode.OK else None
    if sheet is None:
        say(f"The demo did not come to its end; the daemon's log is {root / 'daemon.log'}:")
        say((root / "daemon.log").read_text(encoding="utf-8", errors="replace")[-2000:])
        return ExitCode.SOME_FAILED
    for line in _ending(root, cutouts, sheet, count):
        say(line)
    return ExitCode.OK


def _root(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="rembg-watch-demo-"))
    root = folder.expanduser().absolute()
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise UsageError(f"{root} is not empty: name a new folder, or leave --folder out")
    return root


@contextmanager
def _sandbox() -> Iterator["LoopbackServer"]:
    try:
        from rembg_watch.sandbox import Sandbox

        server = Sandbox(KEY, credits=CREDITS).serve()
    except ImportError as error:
        raise UsageError("the demo needs the sandbox: pip install 'rembg-watch[sandbox]'") from error
    with server:
        yield server


def _configure(root: Path, drop: Path, cutouts: Path, server: "LoopbackServer") -> Path:
    """Write the configuration that ``init`` would write, pointed at the sandbox."""
    key_file = root / "api_key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY + "\n", encoding="utf-8")
    text = template(input=drop, output=cutouts, name="demo", key_file=key_file, state_dir=root / "state")
    given: dict[str, object] = {"url": server.url, "usage_url": server.usage_url, "settle_s": SETTLE_S}
    if delivers():
        given["deliver"] = list(FILES)
        text += DELIVERABLES
    config = root / "rembg-watch.toml"
    config.write_text(_with(text, given), encoding="utf-8")
    return config


def delivers() -> bool:
    """Say whether what deliverables need is installed; without it, the tour shows plain cut-outs."""
    return not missing_for(())


def _with(text: str, given: Mapping[str, object]) -> str:
    """Set settings that stand in *text* as comments."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        name = line.removeprefix("#").partition("=")[0].strip()
        if name in given and line.startswith("#"):
            value = given[name]
            lines[number] = f"{name} = {json.dumps(value)}"
    return "\n".join(lines) + "\n"


@contextmanager
def _daemon(config: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the daemon beside us; end it as systemd would, and wait for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMBG_WATCH_")}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "rembg_watch", "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # noqa: S603  # our own program
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _drop_samples(drop: Path) -> int:
    """Drop the sample pictures as a camera program would: one after the other, into sub-folders."""
    count = 0
    with resources.as_file(resources.files("rembg_watch.sandbox") / "samples" / "demo") as samples:
        for picture in sorted(path for path in samples.rglob("*") if path.is_file()):
            target = drop / picture.relative_to(samples)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
            count += 1
    return count


def _look_on(status: Path, daemon: "subprocess.Popen[bytes]", count: int, console: Console) -> ExitCode:
    """Show how far the daemon is until every picture is delivered, or it gives up, or it takes too long."""
    until = time.monotonic() + _DEADLINE_S
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", style="dim"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("waiting until they have settled", total=count, facts="")
        while time.monotonic() < until and daemon.poll() is None:
            snapshot = read_snapshot(status)
            if snapshot is not None:
                _show(progress, task, snapshot)
                if snapshot["jobs"]["done"] >= count:
                    return ExitCode.OK
                if snapshot["jobs"]["failed"]:
                    break
            time.sleep(0.1)
    return ExitCode.SOME_FAILED


def _show(progress: Progress, task: TaskID, snapshot: Mapping[str, Any]) -> None:
    jobs, spendable = snapshot["jobs"], snapshot["credits"]["spendable"]
    is_working = jobs["queued"] or jobs["sending"] or jobs["received"] or jobs["done"]
    progress.update(
        task,
        completed=jobs["done"],
        description="cutting out" if is_working else "waiting until they have settled",
        facts=f"{spendable} credits left" if spendable is not None else "",
    )


def _contact_sheet(root: Path, drop: Path, cutouts: Path) -> Path:
    rows = []
    for source in sorted(path for path in drop.rglob("*") if path.is_file()):
        name = source.relative_to(drop)
        rows.append(Row(source, _files(cutouts, name), str(name)))
    sheet = root / "contact-sheet.png"
    made = "its files for print, shop and list" if delivers() else "its cut-out"
    draw(rows, title="rembg-watch", subtitle=f"each picture as it was dropped, and {made}").save(sheet)
    return sheet


def _files(cutouts: Path, name: Path) -> list[Path]:
    """Name what came of a picture."""
    if not delivers():
        return [(cutouts / name).with_suffix(".webp")]
    return [(cutouts / kind / name).with_suffix(ending) for kind, ending in FILES.items()]


def _ending(root: Path, cutouts: Path, sheet: Path, count: int) -> Iterator[str]:
    files = f" as {len(FILES) * count} files" if delivers() else ""
    yield f"{count} pictures delivered{files}, {count} of {CREDITS} credits used."
    yield ""
    yield f"Contact sheet:  {sheet}"
    yield f"Cut-outs:       {cutouts}"
    yield f"Daemon's log:   {root / 'daemon.log'}"
    yield ""
    yield "Next, with the real API:"
    yield "  1. rembg-watch init          writes a configuration; put your API key where it says"
    yield "  2. rembg-watch check && rembg-watch run"
