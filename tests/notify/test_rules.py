"""What people are told, when, and how much of it at once: nobody is spammed, woken for nothing, or left in the dark."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.notify import rules
from rembg_watch.notify.rules import LASTS_S, MOST_LINES, MOST_PENDING
from rembg_watch.notify.values import Day, Kind, Notice, Policy, Shoot, Told, Trouble, Urgency

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(20), time(7))
POLICY = Policy(zone=UTC)
QUIET = Policy(zone=UTC, quiet=NIGHT)
URL = "a" * 12


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def trouble(key: str = "gate key_refused", urgency: Urgency = Urgency.PERSON, **more: object) -> Trouble:
    lasts_s = 0.0 if urgency is Urgency.PERSON else LASTS_S
    values = {"what": f"{key} is wrong", "text": f"{key} is wrong. Mend it.", "since": NOON, "lasts_s": lasts_s} | more
    return Trouble(key=key, urgency=urgency, **values)  # type: ignore[arg-type]


def shoot(name: str = "f/acme", **more: object) -> Shoot:
    values: dict[str, object] = {"failed": 3, "last_at": NOON, "reasons": {"It is too small.": 3}} | more
    return Shoot(name=name, **values)  # type: ignore[arg-type]


class People:
    """Whoever is told; sees what arrives, and when."""

    def __init__(self, policy: Policy = POLICY, at: datetime = NOON) -> None:
        self.policy, self.now = policy, at
        self.told = Told.nothing(at)
        self.got: list[tuple[datetime, Notice]] = []

    def see(self, *troubles: Trouble, shoots: Iterable[Shoot] = (), after_s: float = 0.0) -> "People":
        self.now += seconds(after_s)
        self.told = rules.with_troubles(self.told, troubles, now=self.now, policy=self.policy)
        seen = list(shoots)
        self.told = rules.with_shoots(self.told, seen, now=self.now, policy=self.policy)
        self.told = rules.seen(self.told, seen, now=self.now)
        return self.post()

    def post(self) -> "People":
        self.told, notices = rules.to_send(self.told, now=self.now, policy=self.policy)
        for one in notices:
            self.told = rules.arrived(self.told, one.number, URL, now=self.now)
            self.told, has_arrived = rules.tried(self.told, one.number, [URL], now=self.now)
            assert has_arrived
            self.got.append((self.now, one))
        return self

    @property
    def titles(self) -> list[str]:
        return [one.title.removeprefix("rembg-watch: ") for _, one in self.got]

    @property
    def text(self) -> str:
        return "\n".join(line for _, one in self.got for line in (one.title, *one.lines))


# --- the clock of the wall ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "at", "is_quiet"),
    [
        pytest.param(NIGHT, "19:59", False, id="before a night"),
        pytest.param(NIGHT, "20:00", True, id="it begins"),
        pytest.param(NIGHT, "00:00", True, id="midnight"),
        pytest.param(NIGHT, "06:59", True, id="its last minute"),
        pytest.param(NIGHT, "07:00", False, id="its end is not quiet"),
        pytest.param((time(12), time(13)), "12:30", True, id="a lunch"),
        pytest.param((time(12), time(13)), "13:00", False, id="after it"),
        pytest.param((time(0), time(7)), "00:00", True, id="from midnight on"),
        pytest.param(None, "03:00", False, id="never"),
    ],
)
def test_quiet_hours_are_those_of_the_wall(hours: tuple[time, time] | None, at: str, is_quiet: bool) -> None:
    local = datetime.combine(NOON.date(), time.fromisoformat(at), BERLIN)
    assert Policy(quiet=hours, zone=BERLIN).is_quiet(local.astimezone(UTC)) is is_quiet


@pytest.mark.parametrize(
    ("utc", "is_quiet"),
    [
        pytest.param("2026-03-28T05:59", True, id="the last winter morning: 6:59"),
        pytest.param("2026-03-28T06:00", False, id="7:00 in winter"),
        pytest.param("2026-03-29T04:59", True, id="the first summer morning: 6:59"),
        pytest.param("2026-03-29T05:00", False, id="7:00 in summer comes an hour sooner"),
        pytest.param("2026-10-25T05:59", True, id="the long night: 6:59"),
        pytest.param("2026-10-25T06:00", False, id="7:00 again"),
    ],
)
def test_a_night_ends_by_the_wall_when_clocks_are_put_forward_or_back(utc: str, is_quiet: bool) -> None:
    at = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert Policy(quiet=NIGHT, zone=BERLIN).is_quiet(at) is is_quiet


@pytest.mark.parametrize(
    "ends",
    [time(18), time(0), time(2, 30), time(23, 59)],
    ids=["evening", "midnight", "an hour that is missing or comes twice", "late"],
)
@pytest.mark.parametrize("month", [3, 10])
def test_a_digest_comes_once_a_day_also_when_clocks_change(ends: time, month: int) -> None:
    policy = Policy(digest=ends, zone=BERLIN)
    now = datetime(2026, month, 20, 12, tzinfo=UTC)
    told, days = Told.nothing(now), []
    for _ in range(14 * 24 * 12):
        now += timedelta(minutes=5)
        if rules.is_digest_due(told, now=now, policy=policy):
            days.append(now.astimezone(BERLIN).date())
            told = rules.with_digest(told, Day(since=told.digest_at), now=now, policy=policy)
    assert len(days) == len(set(days)) == 14
    assert told.pending == ()  # days without pictures


def test_no_digest_is_due_where_none_is_wanted_or_in_the_quiet_hours() -> None:
    told, later = Told.nothing(NOON), NOON + timedelta(days=2)
    assert not rules.is_digest_due(told, now=later, policy=Policy(zone=UTC))
    evening = later.replace(hour=21)
    assert not rules.is_digest_due(told, now=evening, policy=replace(QUIET, digest=time(18)))
    assert rules.is_digest_due(told, now=evening, policy=replace(POLICY, digest=time(18)))


# --- troubles -------------------------------------------------------------------------------------


def test_what_needs_a_person_is_told_at_once_also_at_night_and_once() -> None:
    people = People(QUIET, NOON.replace(hour=23))
    for _ in range(100):
        people.see(trouble(), after_s=10)
    assert people.titles == ["somebody is needed"]
    assert people.got[0][0] == NOON.replace(hour=23) + seconds(10)
    assert "Mend it." in people.text
    assert people.got[0][1].kind is Kind.FAILURE


def test_its_end_is_told_once_and_does_not_wake_anybody() -> None:
    people = People(QUIET, NOON.replace(hour=23)).see(trouble())
    for _ in range(9 * 60):
        people.see(after_s=60)
    assert people.titles == ["somebody is needed", "it is over"]
    assert people.got[1][0].hour == 7
    assert "gate key_refused is wrong: over since Sat 28 Nov 23:01" in people.text


def test_what_passes_by_itself_is_told_once_it_has_lasted() -> None:
    people = People()
    for _ in range(14):
        people.see(trouble(urgency=Urgency.PASSING), after_s=60)
    assert people.got == []
    people.see(trouble(urgency=Urgency.PASSING), after_s=60)
    assert people.titles == ["work is held up"]


def test_what_began_in_the_quiet_hours_is_told_after_them_if_it_still_goes_on() -> None:
    began = NOON.replace(hour=22)
    lasting = trouble("gate circuit", Urgency.PASSING, since=began)
    brief = trouble("gate daily_limit", Urgency.PASSING, since=began)
    people = People(QUIET, began)
    for minute in range(10 * 60):
        people.see(lasting, *([brief] if minute < 400 else []), after_s=60)
    assert people.titles == ["work is held up"]
    assert people.got[0][0].hour == 7
    assert "daily_limit" not in people.text


def test_what_goes_on_is_told_again_each_day_and_not_at_night() -> None:
    people = People(QUIET, NOON.replace(hour=21))
    for _ in range(24 * 4):
        people.see(trouble(), after_s=3600)
    assert people.titles == ["somebody is needed", *["somebody is still needed"] * 3]
    assert [at.hour for at, _ in people.got] == [22, 7, 7, 7]


def test_a_trouble_that_comes_and_goes_is_one() -> None:
    people = People()
    for turn in range(200):
        people.see(*([trouble()] if turn % 2 else []), after_s=20)
    assert people.titles == ["somebody is needed"]


def test_what_begins_together_is_one_message_and_what_follows_soon_another() -> None:
    names = [f"folder {number}" for number in range(10)]
    people = People().see(*map(trouble, names[:5]), after_s=1)
    for _ in range(120):
        people.see(*map(trouble, names), after_s=1)
    assert len(people.got) == 2
    assert people.got[1][0] - people.got[0][0] == seconds(60)
    assert "and 1 more" not in people.text
    assert all(name in people.text for name in names)


def test_the_end_of_what_could_not_be_told_takes_its_place() -> None:
    told = rules.with_troubles(Told.nothing(NOON), [trouble()], now=NOON, policy=POLICY)
    for minute in (1, 5):
        told = rules.with_troubles(told, [], now=NOON + timedelta(minutes=minute), policy=POLICY)
    assert [one.title for one in told.pending] == ["rembg-watch: it is over"]


def test_a_clock_that_is_put_back_keeps_nobody_in_the_dark() -> None:
    people = People(at=NOON + timedelta(days=300)).see(trouble("a"))
    people.now = NOON
    people.see(trouble("a"), trouble("b"))
    assert people.titles == ["somebody is needed", "somebody is needed"]


# --- pictures -------------------------------------------------------------------------------------


def test_a_shoot_is_told_once_it_is_done_and_not_by_the_picture() -> None:
    people = People()
    for number in range(1, 501):
        last = people.now + seconds(1)
        people.see(shoots=[shoot(failed=number, last_at=last, is_live=number < 500)], after_s=1)
    assert people.got == []
    people.see(shoots=[shoot(failed=500, last_at=last, reasons={"It is too small.": 498, "No.": 2})], after_s=61)
    assert people.titles == ["f/acme: 500 pictures to look at"]
    assert "498 x It is too small." in people.text
    people.see(after_s=60)
    assert people.told.pictures_until == last


def test_a_shoot_that_goes_on_failing_is_told_once_an_hour() -> None:
    people = People()
    for _ in range(240):
        people.see(shoots=[shoot(last_at=people.now)], after_s=90)
    assert len(people.got) == pytest.approx(6, abs=1)


def test_a_shoot_that_waits_keeps_the_others_from_being_forgotten() -> None:
    people = People()
    early = shoot("f/early", is_live=True)
    people.see(shoots=[early, shoot("f/late", last_at=NOON + seconds(50))], after_s=120)
    assert people.titles == ["f/late: 3 pictures to look at"]
    assert people.told.pictures_until == NOON
    people.see(shoots=[replace(early, is_live=False)], after_s=60)
    assert people.titles[1:] == ["f/early: 3 pictures to look at"]
    assert people.told.pictures_until == NOON + seconds(50)


def test_a_name_or_an_answer_of_the_api_cannot_fill_a_screen_or_begin_a_line() -> None:
    people = People().see(shoots=[shoot(reasons={"a\n\nFrom: you\r\n" + "x" * 9000: 3})], after_s=90)
    (_, notice) = people.got[0]
    assert all("\n" not in line and len(line) <= 300 for line in notice.lines)


def test_pictures_and_digests_wait_for_the_morning() -> None:
    people = People(QUIET, NOON.replace(hour=22)).see(shoots=[shoot(last_at=NOON)], after_s=90)
    assert people.got == []
    people.see(after_s=9 * 3600)
    assert people.titles == ["f/acme: 3 pictures to look at"]


def test_a_digest_sums_up_the_day_and_what_was_in_it_is_not_told_again() -> None:
    policy = Policy(zone=UTC, digest=time(18))
    day = Day(
        since=NOON,
        delivered=1240,
        failed=2,
        odd=1,
        waiting=3,
        reasons={"It is too small.": 2},
        charged=Decimal(1242),
        doubtful=Decimal(1),
        spendable=Decimal(5000),
        per_day=Decimal(1000),
        other_use="3 credits by the web editor",
    )
    now = NOON.replace(hour=18)
    told = rules.with_digest(Told.nothing(NOON), day, now=now, policy=policy)
    (notice,) = told.pending
    assert notice.title == "rembg-watch: 1,240 pictures delivered since 12:00"
    assert notice.lines == (
        "1,240 pictures delivered; 3 in line.",
        '2 pictures failed ("rembg-watch jobs --state failed").',
        "2 x It is too small.",
        '1 cut-out delivered that should be looked at ("rembg-watch jobs --odd").',
        "1,242 credits spent, perhaps 1 credit more.",
        "5,000 credits left, enough for about 5 days as of late.",
        "Other use of the account: 3 credits by the web editor.",
    )
    assert told.pictures_until > NOON
    assert not rules.is_digest_due(told, now=now + timedelta(hours=5), policy=policy)


# --- how much at once -----------------------------------------------------------------------------


def test_of_more_than_an_hour_takes_the_last_one_stands_for_the_rest() -> None:
    people = People()
    people.see(shoots=[shoot(f"f/{number}") for number in range(45)], after_s=90)
    assert len(people.got) == 5  # of six, one place is kept
    last = people.got[-1][1]
    assert last.title == "rembg-watch: 41 notices"
    assert last.lines[-1] == "and 36 more"
    people.see(trouble(), after_s=1)
    assert people.titles[-1] == "somebody is needed"  # in the place that was kept
    people.see(trouble(), trouble("another"), after_s=600)
    assert len(people.got) == 6
    people.see(trouble(), trouble("another"), after_s=3000)
    assert people.titles[-1] == "somebody is needed"
    assert people.told.pending == ()


def test_what_is_not_sent_is_tried_again_more_and_more_rarely_and_is_not_lost() -> None:
    told = rules.with_troubles(Told.nothing(NOON), [trouble()], now=NOON, policy=POLICY)
    now, tries = NOON, []
    while now < NOON + timedelta(days=8):
        told, notices = rules.to_send(told, now=now, policy=POLICY)
        for one in notices:
            tries.append(now)
            told, has_arrived = rules.tried(told, one.number, [URL], now=now)
        now += seconds(15)
    waits = [(b - a).total_seconds() for a, b in itertools.pairwise(tries)]
    assert waits[:6] == [30, 60, 120, 240, 480, 960]
    assert max(waits) == 1800
    assert has_arrived is None
    assert told.pending == ()
    assert tries[-1] - NOON >= timedelta(days=7)


def test_only_those_where_it_did_not_arrive_get_it_again() -> None:
    told = rules.with_troubles(Told.nothing(NOON), [trouble()], now=NOON, policy=POLICY)
    told, (notice,) = rules.to_send(told, now=NOON, policy=POLICY)
    told = rules.arrived(told, notice.number, "one", now=NOON)
    told, has_arrived = rules.tried(told, notice.number, ["one", "two"], now=NOON)
    assert has_arrived is False
    told, (again,) = rules.to_send(told, now=NOON + seconds(30), policy=replace(POLICY, per_hour=1))
    assert again.arrived == ("one",)
    told = rules.arrived(told, notice.number, "two", now=NOON)
    told, has_arrived = rules.tried(told, notice.number, ["one", "two"], now=NOON)
    assert has_arrived
    assert len(told.sent_at) == 1


def test_what_waits_is_bounded_and_nothing_of_it_uncounted() -> None:
    told = Told.nothing(NOON)
    for number in range(1000):
        told = rules.with_shoots(told, [shoot(f"f/{number}")], now=NOON + seconds(90), policy=POLICY)
        assert len(told.pending) <= MOST_PENDING
    assert sum(one.count for one in told.pending) == 1000
    assert all(len(one.lines) <= MOST_LINES for one in told.pending)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4000),  # seconds
        st.frozensets(st.sampled_from(["a", "b", "c"])),  # troubles that go on
        st.integers(0, 3),  # shoots that are done
        st.booleans(),  # whether notices arrive
    ),
    max_size=60,
)


@given(steps=STEPS, per_hour=st.integers(1, 6), is_quiet=st.booleans())
def test_whatever_happens_no_hour_has_more_notices_and_none_is_lost(
    steps: list[tuple[int, frozenset[str], int, bool]], per_hour: int, is_quiet: bool
) -> None:
    policy = Policy(zone=UTC, per_hour=per_hour, quiet=NIGHT if is_quiet else None)
    told, now, sent, made = Told.nothing(NOON), NOON, [], 0
    for pause_s, troubles, shoots, arrives in steps:
        now += seconds(pause_s)
        told = rules.with_troubles(told, [trouble(one, since=now) for one in troubles], now=now, policy=policy)
        done = [shoot(f"f/{made + number}", last_at=now - seconds(90)) for number in range(shoots)]
        made += len(done)
        told = rules.with_shoots(told, done, now=now, policy=policy)
        told, notices = rules.to_send(told, now=now, policy=policy)
        for one in notices:
            if arrives:
                assert one.urgency is Urgency.PERSON or not policy.is_quiet(now)
                told = rules.arrived(told, one.number, URL, now=now)
                sent.append((now, one))
            told, _ = rules.tried(told, one.number, [URL], now=now)
    for at, _ in sent:
        assert sum(timedelta(0) <= at - other < timedelta(hours=1) for other, _ in sent) <= per_hour
    numbers = [one.number for _, one in sent]
    assert len(numbers) == len(set(numbers))  # none twice
    everything = [one for _, one in sent] + list(told.pending)
    about_shoots = sum(one.count for one in everything if any(key.startswith("shoot") for key in one.keys))
    assert about_shoots >= made
