"""
What people are told by message, when, and how much of it at once.

Everything that was told, and is still to be told, is one frozen value, ``Told``; each function takes one and returns
the next. Nothing here sends, asks the clock or reads the ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal

from rembg_watch.notify.values import Day, Kind, Known, Mark, Notice, Policy, Shoot, Told, Trouble, Urgency
from rembg_watch.report.words import WallClock, count_text, credits_text, span_text

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LASTS_S = 900.0
"""What may pass by itself is told once it has lasted so long."""

MOST_PENDING = 60
"""So many notices wait for their way at most; of more, the oldest are told as one."""
MOST_LINES = 6
LONGEST_LINE = 300
_FIRST_WAIT_S, _LONGEST_WAIT_S = 30.0, 1800.0
_SKEW = timedelta(seconds=10)
"""What changed so lately may not be in the ledger yet: it is rather told twice."""
_GIVEN_UP_AFTER, _GIVEN_UP_HALF_TOLD_AFTER = timedelta(days=7), timedelta(days=1)


# --- troubles -------------------------------------------------------------------------------------


def with_troubles(told: Told, troubles: Iterable[Trouble], *, now: datetime, policy: Policy) -> Told:
    """Tell what has begun, what still goes on after a day, and what is over."""
    told = replace(told, known=_known(told.known, troubles, now, policy))
    return _tell_ends(_tell_still(_tell_begun(told, now, policy), now, policy), now, policy)


def _known(before: Iterable[Known], troubles: Iterable[Trouble], now: datetime, policy: Policy) -> tuple[Known, ...]:
    present = {one.key: one for one in troubles}
    known = []
    for old in before:
        new = present.pop(old.key, None)
        if new is not None:
            as_now = {
                "what": new.what,
                "text": new.text,
                "urgency": new.urgency,
                "lasts_s": new.lasts_s,
                "over_at": None,
            }
            known.append(replace(old, **as_now))  # type: ignore[arg-type]  # names are checked by replace()
        elif old.told_at is not None or not _has_passed(old.over_at, policy.group_s, now):
            known.append(replace(old, over_at=old.over_at or now))
    begun = (
        Known(
            key=one.key,
            what=one.what,
            text=one.text,
            urgency=one.urgency,
            since=min(one.since, now),
            lasts_s=one.lasts_s,
        )
        for one in present.values()
    )
    return (*known, *begun)


def _tell_begun(told: Told, now: datetime, policy: Policy) -> Told:
    is_quiet = policy.is_quiet(now)
    due = [
        one
        for one in told.known
        if one.told_at is None
        and one.over_at is None
        and _has_passed(one.since, one.lasts_s, now)
        and (one.urgency is Urgency.PERSON or not is_quiet)
    ]
    is_too_soon = told.grouped_at is not None and 0 <= (now - told.grouped_at).total_seconds() < policy.group_s
    if not due or is_too_soon:
        return told
    is_for_person = any(one.urgency is Urgency.PERSON for one in due)
    words = "somebody is needed" if is_for_person else "work is held up"
    return _tell(replace(told, grouped_at=now), due, words, now, policy)


def _tell_still(told: Told, now: datetime, policy: Policy) -> Told:
    waiting = {key for notice in told.pending for key in notice.keys}
    due = [
        one
        for one in told.known
        if one.told_at is not None
        and one.over_at is None
        and now - one.told_at >= DAY
        and one.key not in waiting
        and not policy.is_quiet(now)
    ]
    if not due:
        return told
    is_for_person = any(one.urgency is Urgency.PERSON for one in due)
    return _tell(told, due, "somebody is still needed" if is_for_person else "work is still held up", now, policy)


def _tell(told: Told, due: Sequence[Known], words: str, now: datetime, policy: Policy) -> Told:
    """Tell what goes on, and note when."""
    clock, keys = WallClock(now, policy.zone), {one.key for one in due}
    is_for_person = any(one.urgency is Urgency.PERSON for one in due)
    notice = Notice(
        number=0,
        keys=tuple(one.key for one in due),
        kind=Kind.FAILURE if is_for_person else Kind.WARNING,
        title=policy.title(words),
        lines=_lines(f"{one.text} Since {clock.short(one.since)}." for one in due),
        urgency=Urgency.PERSON if is_for_person else Urgency.PASSING,
        made_at=now,
    )
    known = tuple(replace(one, told_at=now) if one.key in keys else one for one in told.known)
    return _with(replace(told, known=known), notice)


def _tell_ends(told: Told, now: datetime, policy: Policy) -> Told:
    over = [
        one
        for one in told.known
        if one.told_at is not None
        and one.over_at is not None
        and _has_passed(one.over_at, policy.group_s, now)
        and not policy.is_quiet(now)
    ]
    if not over:
        return told
    clock, keys = WallClock(now, policy.zone), {one.key for one in over}
    notice = Notice(
        number=0,
        keys=tuple(one.key for one in over),
        kind=Kind.SUCCESS,
        title=policy.title("it is over"),
        lines=_lines(_end_of(one, clock) for one in over),
        urgency=Urgency.NEWS,
        made_at=now,
    )
    known = tuple(one for one in told.known if one.key not in keys)
    pending = tuple(one for one in told.pending if one.arrived or not keys.issuperset(one.keys))
    return _with(replace(told, known=known, pending=pending), notice)


def _end_of(one: Known, clock: WallClock) -> str:
    over_at = one.over_at or clock.now
    lasted = span_text((over_at - one.since).total_seconds())
    return f"{one.what}: over since {clock.short(over_at)}, after {lasted}."


# --- pictures -------------------------------------------------------------------------------------


def with_shoots(told: Told, shoots: Iterable[Shoot], *, now: datetime, policy: Policy, is_last: bool = False) -> Told:
    """
    Tell what went wrong in each shoot that is done: once, or if it goes on once an hour.

    *is_last*: nobody looks again soon, so nothing is waited for.
    """
    for shoot in shoots:
        mark = told.shoots.get(shoot.name)
        is_settled = is_last or _has_passed(shoot.last_at, policy.group_s, now)
        if shoot.is_live or not is_settled or (mark is not None and timedelta(0) <= now - mark.told_at < HOUR):
            continue
        marks = {**told.shoots, shoot.name: Mark(until=shoot.last_at, told_at=now)}
        told = _with(replace(told, shoots=marks), _of_shoot(shoot, now, policy))
    return told


def _of_shoot(shoot: Shoot, now: datetime, policy: Policy) -> Notice:
    number = shoot.failed + shoot.in_doubt + shoot.held + shoot.odd
    return Notice(
        number=0,
        keys=(f"shoot {shoot.name}",),
        kind=Kind.WARNING,
        title=policy.title(f"{shoot.name}: {count_text(number, 'picture')} to look at"),
        lines=_lines(_wrong(shoot)),
        urgency=Urgency.NEWS,
        made_at=now,
    )


def _wrong(of: Shoot | Day) -> Iterable[str]:
    if of.failed:
        yield f'{count_text(of.failed, "picture")} failed ("rembg-watch jobs --state failed").'
        yield from _reasons(of.reasons)
    if of.in_doubt:
        yield f'{count_text(of.in_doubt, "picture")} in doubt ("rembg-watch jobs --state in_doubt").'
    if of.held:
        yield f'{count_text(of.held, "picture")} held until you decide ("rembg-watch jobs --state held").'
    if of.odd:
        yield f'{count_text(of.odd, "cut-out")} delivered that should be looked at ("rembg-watch jobs --odd").'


_MOST_REASONS = 3


def _reasons(reasons: Mapping[str, int]) -> Iterable[str]:
    often = sorted(reasons.items(), key=lambda one: -one[1])
    yield from (f"{number:,} x {reason}" for reason, number in often[:_MOST_REASONS])
    if rest := sum(number for _, number in often[_MOST_REASONS:]):
        yield f"{rest:,} for other reasons"


def seen(told: Told, shoots: Iterable[Shoot], *, now: datetime) -> Told:
    """Remember no more than is needed to know what was told of the shoots, after all of them were looked at."""
    untold = [one.last_at for one in shoots if one.name not in told.shoots or told.shoots[one.name].until < one.last_at]
    if untold:
        return told
    marks = {name: mark for name, mark in told.shoots.items() if timedelta(0) <= now - mark.told_at < HOUR}
    latest = max((mark.until for mark in told.shoots.values()), default=told.pictures_until)
    return replace(told, shoots=marks, pictures_until=max(told.pictures_until, latest))


# --- the digest -----------------------------------------------------------------------------------


def is_digest_due(told: Told, *, now: datetime, policy: Policy) -> bool:
    """Say whether a day has ended, by the clock of the wall, that was not summed up."""
    if policy.digest is None or policy.is_quiet(now):
        return False
    return _day_of(now, policy.digest, policy.zone) > _day_of(told.digest_at, policy.digest, policy.zone)


def _day_of(at: datetime, ends: time, zone: tzinfo | None) -> int:
    """Number the day that a moment belongs to; days begin at *ends*, also where clocks are put forward or back."""
    local = at.astimezone(zone)
    return local.toordinal() - (local.time() < ends)


def with_digest(told: Told, day: Day, *, now: datetime, policy: Policy) -> Told:
    """Sum up what went on since the last digest; a time without pictures is passed over in silence."""
    told = replace(told, digest_at=now)
    if not (day.delivered or day.failed or day.in_doubt or day.held):
        return told
    clock = WallClock(now, policy.zone)
    notice = Notice(
        number=0,
        keys=("digest",),
        kind=Kind.INFO,
        title=policy.title(f"{count_text(day.delivered, 'picture')} delivered since {clock.short(day.since)}"),
        lines=_lines(_sums(day), most=2 * MOST_LINES),
        urgency=Urgency.NEWS,
        made_at=now,
    )
    return replace(_with(told, notice), pictures_until=max(now - _SKEW, told.pictures_until), shoots={})


def _sums(day: Day) -> Iterable[str]:
    yield f"{count_text(day.delivered, 'picture')} delivered; {day.waiting:,} in line."
    yield from _wrong(day)
    doubtful = f", perhaps {credits_text(day.doubtful)} more" if day.doubtful else ""
    yield f"{credits_text(day.charged)} spent{doubtful}."
    if day.spendable is not None:
        lasts = f", enough for {_days(day.spendable / day.per_day)} as of late" if day.per_day > 0 else ""
        yield f"{credits_text(day.spendable)} left{lasts}."
    if day.other_use:
        yield f"Other use of the account: {day.other_use}."


def _days(number: Decimal) -> str:
    return "less than a day" if number < 1 else f"about {count_text(int(number), 'day')}"


# --- what goes now --------------------------------------------------------------------------------


def to_send(told: Told, *, now: datetime, policy: Policy) -> tuple[Told, tuple[Notice, ...]]:
    """
    Choose what goes now, within so many an hour; where there is more, the last one stands for all of it.

    What has arrived somewhere already is sent on to the others, and counts no more. One place in the hour is
    kept for what somebody is needed for.
    """
    sent_at = tuple(at for at in told.sent_at if timedelta(0) <= now - at < HOUR)
    told = replace(told, sent_at=sent_at)
    is_quiet = policy.is_quiet(now)
    ready = [
        one
        for one in told.pending
        if (one.next_at is None or one.next_at <= now) and (one.urgency is Urgency.PERSON or not is_quiet)
    ]
    again = [one for one in ready if one.arrived]
    urgent = [one for one in ready if not one.arrived and one.urgency is Urgency.PERSON]
    others = [one for one in ready if not one.arrived and one.urgency is not Urgency.PERSON]
    room = policy.per_hour - len(sent_at)
    told, first = _fitted(told, urgent, room, now)
    kept = 1 if policy.per_hour > 1 and not first else 0
    told, then = _fitted(told, others, room - len(first) - kept, now)
    return told, (*again, *first, *then)


def _fitted(told: Told, notices: Sequence[Notice], room: int, now: datetime) -> tuple[Told, list[Notice]]:
    if room <= 0 or not notices:
        return told, []
    if len(notices) <= room:
        return told, list(notices)
    alone = notices[: room - 1]
    told, bundle = _bundled(told, notices[room - 1 :], now)
    return told, [*alone, bundle]


def _bundled(told: Told, notices: Sequence[Notice], now: datetime) -> tuple[Told, Notice]:
    """Put one notice in the place of several."""
    if len(notices) == 1:
        return told, notices[0]
    count = sum(one.count for one in notices)
    shown = [_short(one) for one in notices[: MOST_LINES - 1]]
    rest = count - sum(one.count for one in notices[: MOST_LINES - 1])
    bundle = Notice(
        number=told.numbers + 1,
        keys=tuple(dict.fromkeys(key for one in notices for key in one.keys))[:MOST_PENDING],
        kind=min((one.kind for one in notices), key=list(Kind).index),
        title=f"{notices[0].title.partition(': ')[0]}: {count:,} notices",
        lines=(*shown, *([f"and {rest:,} more"] if rest else [])),
        urgency=min((one.urgency for one in notices), key=list(Urgency).index),
        made_at=now,
        count=count,
    )
    gone = {one.number for one in notices}
    pending = (*(one for one in told.pending if one.number not in gone), bundle)
    return replace(told, pending=pending, numbers=bundle.number), bundle


def _short(notice: Notice) -> str:
    """Say a notice in one line, without the name of the machine, which stands above it."""
    words = notice.title.partition(": ")[2]
    return _clipped(f"{words}: {notice.lines[0]}" if notice.lines else words)


def arrived(told: Told, number: int, url: str, *, now: datetime) -> Told:
    """Note that a notice has arrived at one of the URLs."""
    found = next((one for one in told.pending if one.number == number), None)
    if found is None or url in found.arrived:
        return told
    sent_at = told.sent_at if found.arrived else (*told.sent_at, now)
    return _instead(replace(told, sent_at=sent_at), replace(found, arrived=(*found.arrived, url)))


def tried(told: Told, number: int, urls: Iterable[str], *, now: datetime) -> tuple[Told, bool | None]:
    """
    Note that a notice was sent to all of *urls*, wherever it arrived.

    Returns:
        What is told now, and whether it has arrived everywhere; None: it is not tried any more.
    """
    found = next((one for one in told.pending if one.number == number), None)
    if found is None:
        return told, None
    wanted = set(urls)
    if wanted and wanted.issubset(found.arrived):
        return _without(told, number), True
    if now - found.made_at >= (_GIVEN_UP_HALF_TOLD_AFTER if found.arrived else _GIVEN_UP_AFTER):
        return _without(told, number), None
    wait_s = min(_FIRST_WAIT_S * 2 ** min(found.tries, 16), _LONGEST_WAIT_S)
    later = replace(found, tries=found.tries + 1, next_at=now + timedelta(seconds=wait_s))
    return _instead(told, later), False


# --- small things ---------------------------------------------------------------------------------


def _has_passed(at: datetime | None, seconds: float, now: datetime) -> bool:
    return at is not None and (now - at).total_seconds() >= seconds


def _lines(lines: Iterable[str], *, most: int = MOST_LINES) -> tuple[str, ...]:
    found = [_clipped(line) for line in lines]
    rest = len(found) - most
    return tuple(found) if rest <= 0 else (*found[: most - 1], f"and {rest + 1:,} more")


def _clipped(line: str) -> str:
    words = " ".join(line.split())
    return words if len(words) <= LONGEST_LINE else f"{words[: LONGEST_LINE - 3]}..."


def _with(told: Told, notice: Notice) -> Told:
    numbered = replace(notice, number=told.numbers + 1)
    return _bounded(replace(told, pending=(*told.pending, numbered), numbers=numbered.number))


def _bounded(told: Told) -> Told:
    """Let no more wait than can be kept in a note: the oldest of one urgency are told as one."""
    if len(told.pending) <= MOST_PENDING:
        return told
    fresh = [one for one in told.pending if not one.arrived]
    calm = [one for one in fresh if one.urgency is not Urgency.PERSON] or fresh
    if len(calm) < 2:
        return replace(told, pending=told.pending[-MOST_PENDING:])
    told, _ = _bundled(told, calm[: max(2, len(calm) // 2)], calm[0].made_at)
    return told


def _instead(told: Told, notice: Notice) -> Told:
    return replace(told, pending=tuple(notice if one.number == notice.number else one for one in told.pending))


def _without(told: Told, number: int) -> Told:
    return replace(told, pending=tuple(one for one in told.pending if one.number != number))
