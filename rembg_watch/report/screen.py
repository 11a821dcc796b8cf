"""
How things stand, for a person: a headline and a screen, drawn from the JSON object that ``status`` is.

Pure: a snapshot and a moment come in, what Rich can draw goes out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rembg_watch.report.events import Pause, looks
from rembg_watch.report.status import Liveness, Snapshot, moment
from rembg_watch.report.words import WallClock, When, count_text, other_use_text, rate_text, span_text

ERRORS_SHOWN = 5


class Headline(NamedTuple):
    """What a glance should tell: in a word, in a sentence, and what to do."""

    word: str
    style: str
    sentence: str
    details: tuple[str, ...] = ()


_LIMITING = {
    "workers": "all workers are busy; more pool.workers would be faster",
    "gate": "the API's rate sets the pace",
    "rate": "the API's rate sets the pace",
    "credits": "the credits set the limit",
    "preparing": "the next pictures are being read",
    "retry": "they are tried again by themselves",
}
_STANDS_STILL = frozenset({"folder_budget", "output", "offline", "options", "paused"})
_KEPT = frozenset({"blocked", "spent", "held", "paused"})
_KEPT_BY_A_PERSON = frozenset({"held", "paused"})  # said also where nothing waits yet


def headline(snapshot: Snapshot, *, alive: Liveness, clock: WallClock) -> Headline:
    """Say in plain words what the daemon does or waits for."""
    if alive is Liveness.GONE:
        hint = "Start it: systemctl start rembg-watch, or: rembg-watch run"
        return Headline("NOT RUNNING", "bold red", "The daemon is not running; below is what it left.", (hint,))
    if alive is Liveness.SILENT:
        written = moment(snapshot.get("written_at"))
        ago = clock.since(written) if written else "never"
        return Headline("SILENT", "bold red", f"The daemon is there but last reported at {ago}.", ("See its log.",))
    if not snapshot["gate"]["open"]:
        return _paused(snapshot["gate"], clock=clock)
    return _at_work(snapshot, clock)


def kept_folders(snapshot: Snapshot, *, since: When, until: When) -> tuple[str, ...]:
    """Name the folders whose pictures wait although the gate is open, each with its reason, since and until when."""
    folders = (one for one in snapshot.get("folders", ()) if one["state"] in _KEPT)
    kept = (one for one in folders if one.get("waiting") or one["state"] in _KEPT_BY_A_PERSON)
    return tuple(f"{one['name']}: {_reason(one, since=since, until=until)}" for one in kept)


def originals_text(number: int) -> str:
    """Say how many originals stay that are to be moved or deleted."""
    waits = "waits" if number == 1 else "wait"
    return f"{count_text(number, 'original')} {waits} to be moved or deleted"


def _reason(folder: Mapping[str, Any], *, since: When, until: When) -> str:
    began, ends = moment(folder.get("since")), moment(folder.get("until"))
    times = ([f"since {since(began)}"] if began else []) + ([f"until {until(ends)}"] if ends else [])
    return ", ".join([folder["why"], *times]) if folder.get("why") else ""


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _paused(gate: Mapping[str, Any], *, clock: WallClock) -> Headline:
    pause = Pause.unknown(gate["reason"] or "unknown")  # all that the version before this one wrote
    what, advice = gate.get("what") or pause.what, gate.get("advice")
    since, until = moment(gate.get("since")), moment(gate.get("until"))
    look_at = moment(gate.get("look_at"))
    times = [f"since {clock.since(since)}"] if since else []
    times += looks(gate.get("look_by"), look_at, until, when=clock.until)
    who = "The API says" if gate.get("said_by_api", True) else "The last error"
    words = [f'{who}: "{gate["why"]}"'] if gate.get("why") else []
    lines = tuple(line for line in ("; ".join(times[:2]), *times[2:], *words, advice) if line)
    return Headline("PAUSED", "bold yellow", _sentence(what), lines)


def _at_work(snapshot: Snapshot, clock: WallClock) -> Headline:
    jobs, unsettled = snapshot["jobs"], snapshot["unsettled"]
    away = [folder["name"] for folder in snapshot.get("folders", ()) if folder["state"] == "offline"]
    details = (f"Not there at the moment: {', '.join(away)}. Waiting for it.",) if away else ()
    details = (*kept_folders(snapshot, since=clock.since, until=clock.until), *details)
    if snapshot.get("is_settling"):
        doubts = count_text(jobs["in_doubt"], "call")
        sentence = f"The account is asked what became of {doubts} that a crash cut off."
        return Headline("WAITING", "bold cyan", sentence, ("Nothing is sent until that is known.", *details))
    left = jobs["queued"] + jobs["sending"] + jobs["received"]
    if left:
        limiting = snapshot.get("limiting") or ""
        pace = (_sentence(_LIMITING[limiting] + _learned(snapshot, limiting)),) if limiting in _LIMITING else ()
        stands_still = limiting in _STANDS_STILL and not jobs["sending"]
        word, style = ("WAITING", "bold yellow") if stands_still else ("WORKING", "bold green")
        return Headline(word, style, f"{count_text(left, 'picture')} to go.", (*pace, *details))
    if unsettled:
        are = "is" if unsettled == 1 else "are"
        sentence = f"{count_text(unsettled, 'file')} {are} still being copied or not whole yet."
        return Headline("WAITING", "bold cyan", sentence, details)
    if snapshot.get("is_looking"):
        return Headline("WAITING", "bold cyan", "The folders are being looked through.", details)
    if snapshot.get("originals_left"):
        sentence = f"All is cut out; {originals_text(snapshot['originals_left'])}."
        return Headline(
            "WAITING", "bold yellow", sentence, ("They are tried again every 15 s; the log says why.", *details)
        )
    if any(folder["state"] in _KEPT_BY_A_PERSON for folder in snapshot.get("folders", ())):
        return Headline("WAITING", "bold yellow", "Everything else that has landed is dealt with.", details)
    return Headline("READY", "bold green", _sentence(dealt_with_text(snapshot.get("passed_over"))), details)


def dealt_with_text(passed_over: Mapping[str, Any] | None) -> str:
    """Say that nothing is left to do, and no more than that: what was passed over is named beside it."""
    if not passed_over or not passed_over["count"]:
        return "everything that has landed is dealt with"
    return f"all that can be sent is dealt with; {passed_over_text(passed_over)}"


def passed_over_text(passed_over: Mapping[str, Any], *, most: int = 4) -> str:
    """Say how many files are knowingly not sent, and of which kinds most of them are."""
    sums: Counter[str] = Counter()
    for one in passed_over["kinds"]:
        sums[kind_text(one["reason"], one["kind"])] += one["count"]
    named = [f"{number:,} {what}" for what, number in sums.most_common(most)]
    rest = sum(number for _, number in sums.most_common()[most:])
    more = [f"{rest:,} others"] if rest else []
    are = "is" if passed_over["count"] == 1 else "are"
    return f"{count_text(passed_over['count'], 'file')} {are} passed over: {', '.join([*named, *more])}"


def kind_text(reason: str, kind: str) -> str:
    """Say what kind of file it is that is passed over, and why."""
    ending = kind if kind.strip(".*") else "of other endings" if kind else "without an ending"
    return _PASSED_OVER.get(reason, "{} (" + reason + ")").format(ending)


_PASSED_OVER = {
    "type": "{}",
    "name": "{} (temporary or a program's own)",
    "conflict": "{} (sync conflict)",
    "include": "{} (not in include)",
    "exclude": "{} (excluded)",
    "folder": "in folders that are a program's own ({})",
    "link": "links",
    "special": "pipes, sockets or devices",
}


def _learned(snapshot: Snapshot, limiting: str) -> str:
    learned = snapshot.get("learned_rate_per_s")
    return f": at most {rate_text(learned)} now" if learned and limiting in ("gate", "rate") else ""


def render(
    snapshot: Snapshot, *, now: datetime, alive: Liveness = Liveness.LIVE, zone: tzinfo | None = None
) -> RenderableType:
    """Draw *snapshot* for a person; it fits into 80 columns."""
    clock = WallClock(now, zone)
    parts: list[RenderableType] = [_top(headline(snapshot, alive=alive, clock=clock)), Text()]
    if alive is not Liveness.GONE:
        parts += _progress(snapshot)
    parts += [_jobs(snapshot), Text(), _credits(snapshot["credits"], clock=clock)]
    if snapshot.get("spending"):
        parts += [Text(), _spent(snapshot["spending"])]
    if snapshot.get("other_use"):
        parts += [Text(), _others(snapshot["other_use"], clock=clock)]
    if snapshot.get("folders"):
        parts += [Text(), _folders(snapshot["folders"], clock=clock)]
    if snapshot.get("last_errors"):
        parts += [Text(), _errors(snapshot["last_errors"], clock=clock)]
    since = moment(snapshot.get("since"))
    if since and alive is not Liveness.GONE:
        foot = f"rembg-watch {snapshot.get('version') or ''} since {clock.since(since)}, pid {snapshot.get('pid')}"
        parts += [Text(), Text(" ".join(foot.split()), style="dim")]
    return Group(*parts)


def _top(head: Headline) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(head.word, style=head.style), Text(head.sentence, style="bold"))
    for line in head.details:
        grid.add_row("", Text(line))
    return grid


def _progress(snapshot: Snapshot) -> Iterator[RenderableType]:
    totals, jobs = snapshot.get("totals") or {}, snapshot["jobs"]
    left = jobs["queued"] + jobs["sending"] + jobs["received"]
    if not left:
        return
    finished = totals.get("delivered", 0) + totals.get("reused", 0) + totals.get("failed", 0)
    rate, eta_s = snapshot["rate"]["short_per_s"] or snapshot["rate"]["long_per_s"], snapshot.get("eta_s")
    pace = f"{finished:,} of {finished + left:,} in this run" + (f", {rate_text(rate)}" if rate else "")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=finished + left, completed=finished, width=24), Text(pace))
    if eta_s and snapshot["gate"]["open"]:
        grid.add_row("", Text(f"about {span_text(max(60, round(eta_s, -1)))} to go"))
    yield grid
    yield Text()


_JOB_ROWS: tuple[tuple[str, str, str], ...] = (
    ("queued", "in line", ""),
    ("sending", "at the API", ""),
    ("received", "paid, being delivered", ""),
    ("done", "delivered", ""),
    ("failed", "failed", "rembg-watch jobs --state failed  says why"),
    ("held", "held", "rembg-watch jobs --state held  says what they wait for"),
    ("in_doubt", "in doubt", "rembg-watch retry --state in_doubt  sends them again"),
    ("vanished", "gone before they were sent", ""),
)
_ALWAYS = frozenset({"queued", "sending", "done", "failed"})


def _jobs(snapshot: Snapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", min_width=9)
    rows = (
        [(snapshot["unsettled"], "not whole yet", "rembg-watch jobs --unsettled  says which", "")]
        if snapshot["unsettled"]
        else []
    )
    if left := snapshot.get("originals_left"):
        rows.append((left, "originals to be moved or deleted", "", "yellow"))
    for state, name, hint in _JOB_ROWS:
        number = snapshot["jobs"][state]
        if number or state in _ALWAYS:
            rows.append((number, name, hint if number else "", "yellow" if hint and number else ""))
    if passed_over := (snapshot.get("passed_over") or {}).get("count"):
        rows.append((passed_over, "passed over", "rembg-watch jobs --passed-over  says which", ""))
    for number, name, hint, style in rows:
        grid.add_row(Text(f"{number:,}", style=style or "bold"), Text(name, style=style), Text(hint, style="dim"))
    return grid


def _credits(held: Mapping[str, Any], *, clock: WallClock) -> RenderableType:
    if held["spendable"] is None:
        return Text("Credits   not read yet")
    text = f"Credits   {held['spendable']:,} can be spent"
    if held["included"] is not None and held["prepaid"] is not None:
        text += f" ({held['included']:,} included, {held['prepaid']:,} prepaid)"
    end, read = moment(held["period_end"]), moment(held.get("read_at"))
    lines = [f"          the period ends {clock.until(end)}"] if end else []
    lines += [f"          read at {clock.since(read)}"] if read else []
    return Text("\n".join([text, *lines]))


def _spent(spent: Mapping[str, Any]) -> RenderableType:
    """Say what the calls came to, and each that may have been paid for twice: nobody should have to search for it."""
    doubts, doubles, repeats = spent["in_doubt"] - spent["under_way"], spent["doubles"], spent["repeats"]
    lines = [f"Spent     {count_text(spent['charged'], 'credit')} for sure, {count_text(spent['calls'], 'call')}"]
    if doubts:
        calls = f"{count_text(doubts, 'call')} that {_were(doubts)} never answered"
        lines.append(f"          {spent['doubtful'] - spent['under_way_credits']:,} more perhaps, for {calls}")
    if doubles:
        lines.append(
            f"          {count_text(doubles, 'call')} {_were(doubles)} made again after one that was never answered"
        )
    if repeats:
        picture = "a picture that was" if repeats == 1 else "pictures that were"
        lines.append(f"          {count_text(repeats, 'call')} {_were(repeats)} made for {picture} paid before")
    return Text("\n".join(lines))


def _others(use: Mapping[str, Any], *, clock: WallClock) -> RenderableType:
    """Say what others spent, or what the account and the ledger count differently."""
    since = moment(use["since"])
    amounts = [Decimal(str(use[name])) for name in ("by_app", "more", "fewer")]
    when = f" since {clock.since(since)}" if since else ""
    return Text(f"Other use of the account{when}:\n          {other_use_text(*amounts, counts='this program')}")


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _folders(folders: Sequence[Mapping[str, Any]], *, clock: WallClock) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for number, folder in enumerate(folders):
        grid.add_row(
            "Folders" if not number else "",
            Text(folder["name"], style="bold"),
            Text(folder["state"], style="" if folder["state"] == "watching" else "yellow"),
        )
        reason = _reason(folder, since=clock.since, until=clock.until)
        for line in filter(None, (reason, f"from {folder['input']}", f"to   {folder['output']}")):
            grid.add_row("", "", Text(line, style="dim", overflow="fold"))
    return grid


def _errors(errors: Sequence[Mapping[str, Any]], *, clock: WallClock) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for number, error in enumerate(errors[:ERRORS_SHOWN]):
        at = moment(error["at"])
        name = f"{error['folder']}/{error['source']}: " if error.get("source") else ""
        text = Text(f"{name}{error['why']}", overflow="fold")
        grid.add_row("Errors " if not number else "", Text(clock.short(at) if at else "", style="dim"), text)
    return grid
