"""``jobs``: the pictures in the ledger, with the state of each and the reason for it."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rembg_watch import state_dirs
from rembg_watch.cli import calls_view, cutouts
from rembg_watch.cli.configured import AsJson, ConfigFile, check_folders
from rembg_watch.cli.console import OUT, say, say_json
from rembg_watch.config import FOR_LOOKING, Settings, find
from rembg_watch.jobs import LISTED, Job, State
from rembg_watch.ledger import Access, Call, Ledger, Made, MadeState, Which, open_ledger
from rembg_watch.passed_over import REASONS, PassedOver
from rembg_watch.report import events
from rembg_watch.report.screen import kind_text
from rembg_watch.report.status import STATUS_NAME, passed_over_view, read_snapshot
from rembg_watch.report.words import credits_number, show, size_text
from rembg_watch.web import answers

_STYLES = {
    State.DONE: "green",
    State.FAILED: "bold red",
    State.HELD: "yellow",
    State.IN_DOUBT: "yellow",
    State.VANISHED: "dim",
}


def jobs(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Show only paths that match these globs: 'shoot-7/*'."),
    ] = None,
    config: ConfigFile = None,
    state: Annotated[list[State] | None, typer.Option("--state", "-s", help="Show only these states.")] = None,
    folder: Annotated[list[str] | None, typer.Option("--folder", "-f", help="Show only these folders.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Show at most this many, the last changed first.")
    ] = 100,
    unsettled: Annotated[
        bool, typer.Option("--unsettled", help="Show files that were seen but are not whole yet.")
    ] = False,
    passed_over: Annotated[
        bool, typer.Option("--passed-over", help="Show files that are not sent, by kind and reason, with examples.")
    ] = False,
    odd: Annotated[
        bool, typer.Option("--odd", help="Show only cut-outs and answers with something odd about them.")
    ] = False,
    calls: Annotated[
        bool, typer.Option("--calls", help="Show the API calls of each picture: when, how long, status, bytes, cost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List pictures with their state, and the reason if there is one."""
    settings = state_dirs.load(find(config), tolerate=FOR_LOOKING)
    with open_ledger(settings.state_dir, Access.READ) as ledger:
        check_folders(folder or (), settings, ledger)
        if passed_over:
            names = [one.name for one in settings.folders if not folder or one.name in folder]
            _show_passed_over({name: ledger.passed_over(name) for name in names}, limit, as_json=as_json)
            return
        if unsettled:
            _show_unsettled(ledger, folder, limit, as_json=as_json)
            if not as_json and not folder:
                _say_more(ledger, settings, limit)
            return
        found = _chosen(ledger, patterns, state, folder, limit, is_odd=odd)
        looked = cutouts.missing(found, settings, ledger)
        called = ledger.calls_of([job.id for job in found]) if calls else {}
        if not as_json:
            if calls:
                _show_calls(found, looked, called)
            else:
                _show_jobs(found, looked)
            return
        made = ledger.made_of([job.id for job in found])
        listed = [_job_json(job) | _files_json(job.id, looked, made.get(job.id, {})) for job in found]
        if calls:
            recipes = ledger.recipes()
            listed = [one | {"calls": calls_view.values(called.get(one["id"], ()), recipes)} for one in listed]
        say_json(listed)


def _chosen(
    ledger: Ledger,
    patterns: list[str] | None,
    states: list[State] | None,
    folders: list[str] | None,
    limit: int,
    *,
    is_odd: bool,
) -> list[Job]:
    found: dict[int, Job] = {}
    for pattern in patterns or [None]:  # type: ignore[list-item]  # no pattern is one choice, too
        which = Which(states=frozenset(states or ()), folders=frozenset(folders or ()), pattern=pattern, is_odd=is_odd)
        found |= {job.id: job for job in ledger.jobs(which, limit=limit)}
    return sorted(found.values(), key=lambda job: job.changed_at, reverse=True)[:limit]


def _show_jobs(found: Iterable[Job], looked: cutouts.Missing) -> None:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for heading in ("state", "picture", "size", "changed", "cut-out or reason"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("state", "size", "changed"))
    for job in found:
        table.add_row(
            Text(job.state.value, style=_STYLES.get(job.state, "")),
            Text(f"{job.folder}/{show(job.source)}"),
            size_text(job.version.size_bytes),
            f"{job.changed_at.astimezone():%Y-%m-%d %H:%M}",
            Text(_outcome(job, looked)),
        )
    if table.row_count:
        OUT.print(table)
    else:
        say("no jobs")


def _show_calls(found: Sequence[Job], looked: cutouts.Missing, called: Mapping[int, Sequence[Call]]) -> None:
    """List pictures, and under each its calls; a line each, since there is much to say."""
    for job in found:
        OUT.print(Text(job.state.value, style=_STYLES.get(job.state, "")), Text(f"{job.folder}/{show(job.source)}"))
        lines = [*_outcome(job, looked).splitlines(), *map(calls_view.line, called.get(job.id, ()))]
        for line in lines or ["no calls so far"]:
            say(f"  {line}")
    if not found:
        say("no jobs")


def _outcome(job: Job, looked: cutouts.Missing) -> str:
    """Say where the files are, or why there are none."""
    if job.finding is not None and job.state is State.HELD:
        return f"{job.reason}; {events.ACCEPT_OR_REDO}"
    files = looked.files.get(job.id, ())
    if any(one.deliverable is not None for one in files):
        return _files_text(job, files, looked.gone.get(job.id, ()))
    if job.reason or not job.target:
        return job.reason or ""
    missing = '; it is missing: "rembg-watch redo" makes it anew' if job.id in looked.gone else ""
    return f"{show(job.target)}{missing}{events.odd_text(job.finding)}"


def _files_text(job: Job, files: Sequence[cutouts.File], gone: Container[cutouts.File]) -> str:
    """Name the deliverables, a line each, and what is wrong with them."""
    lines = [show(one.target) + (" (missing)" if one in gone else "") for one in files]
    if any(one in gone for one in files):
        lines.append('"rembg-watch deliver --missing" makes what is missing')
    lines.append(job.reason or events.odd_text(job.finding).removeprefix("; "))
    return "\n".join(filter(None, lines))


def _files_json(job_id: int, looked: cutouts.Missing, made: Mapping[str, Made]) -> dict[str, Any]:
    """Say of each file how it stands, and of the job whether one is missing; *made* knows also what could not be."""
    gone = looked.gone.get(job_id, ())
    files: list[dict[str, Any]] = [
        _file_json(one.target, made.get(one.deliverable or "")) | {"is_missing": one in gone}
        for one in looked.files.get(job_id, ())
    ]
    listed = {one["deliverable"] for one in files}
    others = [one for name, one in made.items() if name not in listed and one.state is not MadeState.STANDING]
    return {
        "is_missing": bool(gone),
        "files": files + [_file_json(one.target, one) | {"is_missing": False} for one in others],
    }


def _file_json(target: bytes | None, made: Made | None) -> dict[str, Any]:
    return {
        "deliverable": made.name if made else None,
        "target": show(target) if target else None,
        "target_hex": target.hex() if target else None,
        "state": made.state.value if made else MadeState.STANDING.value,
        "size_bytes": made.size_bytes if made else None,
        "sha256": made.digest if made else None,
        "reason": made.reason if made else None,
        "code": made.code if made else None,
    }


def _job_json(job: Job) -> dict[str, Any]:
    return answers.job(job, amount=credits_number, moment=datetime.isoformat)


def _show_passed_over(found: Mapping[str, PassedOver], limit: int, *, as_json: bool) -> None:
    numbers = passed_over_view({name: one.counts for name, one in found.items()})
    examples = [(name, *example) for name, one in found.items() for example in one.examples][:limit]
    if as_json:
        listed = [{"folder": f, "source": show(s), "reason": one.why.value, "kind": one.kind} for f, s, one in examples]
        say_json(numbers | {"examples": listed})
        return
    if not numbers["count"]:
        say("no files are passed over")
        return
    rows: Counter[str] = Counter()  # several kinds may have one name, as links have whatever they end in
    for one in numbers["kinds"]:
        rows[f"{one['folder']}: {kind_text(one['reason'], one['kind'])}"] += one["count"]
    for words, count in rows.most_common():
        say(f"{count:>9,}  {words}")
    say("for example" if len(examples) < numbers["count"] else "these are")
    for name, source, passed in examples:
        say(f"{name}/{show(source)}  {REASONS[passed.why]}")


def _say_more(ledger: Ledger, settings: Settings, limit: int) -> None:
    """Say how many files there are beside those that were shown: the ledger lists some of many."""
    listed = ledger.unsettled_count()
    written = read_snapshot(settings.state_dir / STATUS_NAME) if listed >= LISTED else None
    more = max(listed, written["unsettled"] if written else 0) - min(limit, listed)
    if more > 0:
        say(f"and {more:,} more")


def _show_unsettled(ledger: Ledger, folders: list[str] | None, limit: int, *, as_json: bool) -> None:
    found = [(name, one) for name, one in ledger.unsettled(limit=limit) if not folders or name in folders]
    if as_json:
        say_json(
            [
                {
                    "folder": name,
                    "source": show(one.source),
                    "size_bytes": one.size_bytes,
                    "since": one.since_at.isoformat(),
                    "reason": one.reason,
                }
                for name, one in found
            ]
        )
        return
    for name, one in found:
        say(f"{name}/{show(one.source)}  {size_text(one.size_bytes)}  since {one.since_at:%H:%M}  {one.reason}")
    if not found:
        say("no unsettled files")
