"""
The tour: sandbox, sample pictures and the real daemon, from nothing to a contact sheet in a minute.

Everything lives in one new folder and on loopback. The daemon and the page are started as a
person would start them, as processes of their own with a configuration file; the demo only drops
pictures, looks on and stops them.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rembg_watch.check.page import missing_for_the_page
from rembg_watch.config import template
from rembg_watch.demo.contact_sheet import Row, draw
from rembg_watch.demo.processes import Page, Process, started, told_to_end
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

Say = Callable[[str], None]


def run_demo(folder: Path | None, *, say: Say, note: Say, console: Console, stays: bool = False) -> ExitCode:
    """
    Show the whole way of a picture in *folder*, or in a new temporary folder, which remains, and end.

    *say* prints a line of the answer, *note* a line beside it. *stays*: daemon and page go on after the
    tour until Ctrl-C or SIGTERM, which then is a good end.

    Raises:
        UsageError: The sandbox is not installed, or what the page needs and it is to stay, or *folder* is not empty.
    """
    lacking = missing_for_the_page()
    if lacking and stays:
        raise UsageError(lacking)
    root = _root(folder)
    drop, cutouts = root / "drop-here", root / "cut-outs"
    with told_to_end(), _sandbox() as server, ExitStack() as running:
        for each in (drop, cutouts):
            each.mkdir()
        note(f"The API is emulated at {server.base_url}, with {CREDITS} credits. Everything is in {root}")
        config = _configure(root, drop, cutouts, server)
        note(f"Started as you would:  rembg-watch run --config {config}")
        daemon = running.enter_context(started("run", config, root / "daemon.log"))
        page = None if lacking else running.enter_context(_page(root, config, note, stays=stays))
        count = _drop_samples(drop)
        note(f"{count} pictures are dropped into {drop}")
        if lacking:
            note(f"No page to watch them on: {lacking}")
        if _look_on(root / "state" / STATUS_NAME, daemon, page, count, console) is not ExitCode.OK:
            say(f"The demo did not come to its end; the daemon's log is {root / 'daemon.log'}:")
            say(_end_of(root / "daemon.log"))
            return ExitCode.SOME_FAILED
        if not stays:
            running.close()
        sheet = _contact_sheet(root, drop, cutouts)
        for line in _ending(root, cutouts, sheet, count):
            say(line)
        if page is None:
            return ExitCode.OK
        if stays:
            return _stay(page, daemon, drop, say)
        say("")
        say(f"The page has ended with the demo. To see it again:  rembg-watch web --config {config}")
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
    given["listen"] = "127.0.0.1:0"
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
def _page(root: Path, config: Path, note: Say, *, stays: bool) -> Iterator[Page]:
    """Serve the page beside us, on a port that is free; its small pictures are kept in *root*, too."""
    until = "" if stays else "   (until the demo ends; `demo --page` keeps it open)"
    log = root / "page.log"
    with started("web", config, log, CACHE_DIRECTORY=str(root / "cache")) as process:
        yield Page(process, log, lambda address: note(f"Watch it in your browser:  {address}{until}"))


def _stay(page: Page, daemon: Process, drop: Path, say: Say) -> ExitCode:
    """Leave daemon and page to the newcomer until somebody ends the demo."""
    say("")
    if page.wait():
        say(f"The page stays open:  {page.address}")
        say(f"Drop pictures of your own into {drop} and see what comes of them. Ctrl-C ends it all.")
    try:
        while page.address and page.process.poll() is None and daemon.poll() is None:
            time.sleep(0.1)
    except KeyboardInterrupt:
        say("")
        say("Ending the page, the daemon and the sandbox.")
        return ExitCode.OK
    what, log = ("daemon", "daemon.log") if daemon.poll() is not None else ("page", "page.log")
    say(f"The {what} ended by itself; its log is {page.log.with_name(log)}:")
    say(_end_of(page.log.with_name(log)))
    return ExitCode.SOME_FAILED


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


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


def _look_on(status: Path, daemon: Process, page: Page | None, count: int, console: Console) -> ExitCode:
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
            if page is not None:
                page.look()
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
