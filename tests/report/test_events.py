"""What can be told, and that a failing listener stops nobody."""

import inspect
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from rembg_watch.account.causes import CAUSES, Cause, Probe, pause_of
from rembg_watch.account.credits import Billed
from rembg_watch.report import events
from rembg_watch.report.events import (
    IN_SENTENCE,
    LOOKS,
    AccountDiffers,
    BatchFormed,
    Delivered,
    DoubtsSettled,
    Event,
    Failed,
    GateOpened,
    GateShut,
    InDoubt,
    Level,
    Mistake,
    Pause,
    RateLearned,
    Recovered,
    ReporterFailed,
    Stopping,
    facts,
    fan_out,
    kind,
    looks,
    nobody,
)

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

KINDS = [
    found
    for _, found in inspect.getmembers(events, inspect.isclass)
    if issubclass(found, Event) and not inspect.isabstract(found)
]

SAMPLES: dict[str, Any] = {
    "str": "word",
    "bytes": b"shoes/\xff\n.jpg",
    "int": 3,
    "float": 2.5,
    "bool": True,
    "Decimal": Decimal(4),
    "datetime": AT,
    "tuple": ("one", "two"),
    "BaseException": ValueError("bad"),
    "Pause": Pause("word", "Do it."),
}


def sample(of: type[Event]) -> Event:
    """An event with every field filled in."""
    named = {field.name: getattr(field.type, "__name__", str(field.type)) for field in fields(of)}
    return of(**{name: SAMPLES[_first(named[name])] for name in named})


def _first(annotation: str) -> str:
    return annotation.partition("[")[0].partition(" |")[0].rpartition(".")[2]


def picture(**changes: Any) -> dict[str, Any]:
    return {"folder": "catalogue", "source": b"shoes/a.jpg", "job": 7, **changes}


def shut(cause: Cause, *, is_answered: bool = False, **facts: Any) -> GateShut:
    pause = pause_of(cause, is_answered=is_answered)
    return GateShut(reason=cause, pause=pause, is_answered=is_answered, **facts)


def below(of: type[Event]) -> set[type[Event]]:
    return {one for kind_ in of.__subclasses__() for one in (kind_, *below(kind_))}


def test_nothing_is_forgotten_in_this_file() -> None:
    assert len(KINDS) >= 40


def test_every_event_has_its_name_on_the_one_list() -> None:
    listed = {name for name, _ in inspect.getmembers(events, inspect.isclass)}
    assert {one.__name__ for one in below(Event) if one.__module__.startswith("rembg_watch.")} <= listed


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_every_event_is_one_printable_sentence(of: type[Event]) -> None:
    sentence = sample(of).sentence()
    assert sentence.isprintable()
    assert 10 < len(sentence) < 400


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_every_event_survives_json_with_all_its_facts(of: type[Event]) -> None:
    event = sample(of)
    assert set(json.loads(json.dumps(facts(event)))) == {
        field.name for field in fields(event) if field.metadata != IN_SENTENCE
    }


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_every_event_can_be_sorted_by_its_level(of: type[Event]) -> None:
    assert sample(of).level in Level


def test_conditions_that_end_can_also_begin() -> None:
    lasting = [found for found in (sample(of).condition for of in KINDS) if found]
    begun = {condition.key[0] for condition in lasting if not condition.is_over}
    assert {condition.key[0] for condition in lasting if condition.is_over} <= begun


def test_a_delivery_says_where_how_long_and_what_it_cost() -> None:
    told = Delivered(
        **picture(), target=b"shoes/a.webp", duration_s=2.34, charged=Decimal(1), credits_left=Decimal("1239.00")
    )
    assert told.sentence() == (
        "catalogue/shoes/a.jpg delivered as shoes/a.webp in 2.3 s (1 credit, 1,239 credits left)"
    )
    assert kind(told) == "delivered"


def test_facts_are_plain_values() -> None:
    told = shut(Cause.MONTHLY, why="limit", until=AT, look_by="account")
    assert facts(told) == {
        "reason": "monthly_limit",
        "why": "limit",
        "until": "2026-11-22T12:00:00Z",
        "shut_s": None,
        "look_at": None,
        "look_by": "account",
        "is_answered": False,
    }
    assert kind(told) == "gate_shut"


def test_a_pause_says_why_in_whose_words_what_to_do_and_until_when() -> None:
    told = shut(
        Cause.MONTHLY,
        why="You've reached your monthly limit.",
        until=AT + timedelta(hours=1),
        look_at=AT + timedelta(minutes=5),
        look_by=Probe.ACCOUNT,
    )
    assert told.sentence(lambda at: f"{at:%H:%M}") == (
        'paused: the credits of this billing period are spent ("You\'ve reached your monthly limit."). '
        "Buy credits, or wait: work goes on by itself. The account is read again at 12:05; the period ends 13:00."
    )


@pytest.mark.parametrize(
    ("by", "look_s", "until_s", "said"),
    [
        (Probe.ACCOUNT, 10, 7200, ("the account is read again at 12:00", "the period ends 14:00")),
        (Probe.ACCOUNT, 300, 300, ("the account is read again at 12:05",)),
        (Probe.ACCOUNT, 300, None, ("the account is read again at 12:05",)),
        (Probe.PICTURE, 900, 900, ("one picture tries it at 12:15",)),
        (Probe.DISK, 60, 60, ("the disk is looked at again at 12:01",)),
        (Probe.TIME, 43200, 43200, ("it is over at 00:00",)),
        (None, 60, 60, ("it is looked at at 12:01",)),
        (None, None, 3600, ("the period ends 13:00",)),
        (Probe.PERSON, None, None, ()),
    ],
)
def test_a_pause_tells_its_next_look_apart_from_its_end(
    by: str | None, look_s: int | None, until_s: int | None, said: tuple[str, ...]
) -> None:
    look_at, until = (None if s is None else AT + timedelta(seconds=s) for s in (look_s, until_s))
    assert looks(by, look_at, until, when=lambda at: f"{at:%H:%M}") == said


def test_other_use_that_grows_by_the_same_again_is_told_again() -> None:
    first, second = (AccountDiffers(since=AT, more=Decimal(more)) for more in (1, 2))
    assert first.condition != second.condition
    assert (first.level, AccountDiffers(since=AT, by_app=Decimal(1)).level) == (Level.WARNING, Level.INFO)


def test_an_end_that_becomes_known_is_news_and_one_that_moves_is_none() -> None:
    read, end = AT + timedelta(minutes=5), AT + timedelta(days=9)
    first, known, later = (
        shut(Cause.MONTHLY, look_at=look_at, until=until).condition
        for look_at, until in ((AT, AT), (read, end), (read, end + timedelta(days=1)))
    )
    assert first != known
    assert known == later


def test_nobody_is_sent_to_his_network_by_an_api_that_answers() -> None:
    away, failing = (shut(Cause.CIRCUIT, is_answered=one).sentence() for one in (False, True))
    assert "check this machine's network" in away
    assert "network" not in failing
    assert "the vendor's" in failing


@pytest.mark.parametrize("cause", Cause)
def test_every_reason_to_pause_has_words_and_advice(cause: Cause) -> None:
    assert all(CAUSES[cause].pause[:2])


def test_every_look_at_a_pause_has_words() -> None:
    assert {str(probe) for probe in Probe} - {Probe.PERSON} == set(LOOKS)


@pytest.mark.parametrize(
    ("billed", "words"),
    [
        (Billed.NONE, "were not charged and can be made again for nothing"),
        (Billed.ALL, "were charged"),
        (Billed.UNKNOWN, "cannot be told apart by the account's counters"),
    ],
)
def test_the_counters_word_on_calls_in_doubt_is_passed_on(billed: Billed, words: str) -> None:
    assert DoubtsSettled(calls=2, billed=billed).sentence() == f"2 calls in doubt {words}"


def test_a_reason_without_words_speaks_for_itself() -> None:
    assert Pause.unknown("moon_phase").what == "moon phase"
    assert GateShut(reason="moon_phase").sentence() == "paused: moon phase."


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (shut(Cause.RATE, shut_s=2), Level.DEBUG),
        (shut(Cause.RATE), Level.DEBUG),
        (shut(Cause.RATE, shut_s=60), Level.INFO),
        (shut(Cause.RATE, shut_s=120), Level.WARNING),
        (shut(Cause.CREDITS), Level.WARNING),
        (shut(Cause.KEY), Level.ERROR),
        (GateOpened(reason=Cause.RATE, shut_s=2, pause=CAUSES[Cause.RATE].pause), Level.DEBUG),
        (GateOpened(reason=Cause.RATE, shut_s=60, pause=CAUSES[Cause.RATE].pause), Level.INFO),
        (GateOpened(reason=Cause.CREDITS, shut_s=2, pause=CAUSES[Cause.CREDITS].pause), Level.INFO),
        (RateLearned(rate_per_s=2), Level.INFO),
        (RateLearned(rate_per_s=2, previous_per_s=2.1), Level.DEBUG),
        (RateLearned(rate_per_s=2, previous_per_s=4), Level.INFO),
        (Recovered(requeued=1, received=0, in_doubt=0), Level.INFO),
        (Recovered(requeued=1, received=0, in_doubt=1), Level.WARNING),
        (Failed(**picture(), why="too large"), Level.ERROR),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pacing_is_no_news_and_what_needs_a_person_is_an_error(event: Event, level: Level) -> None:
    assert event.level == level


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (InDoubt(**picture(), why="no answer within 120 s", will_retry=True), "sent once more"),
        (InDoubt(**picture(), why="no answer", will_retry=False), "rembg-watch retry"),
        (AccountDiffers(since=AT, more=Decimal(3)), "3 credits more than"),
        (AccountDiffers(since=AT, fewer=Decimal(1)), "1 credit fewer than"),
        (AccountDiffers(since=AT, by_app=Decimal(2)), "2 credits by the web editor, since 2026-11-22 12:00 UTC"),
        (BatchFormed(size=50, queued=1204, spendable=Decimal(1240)), "batch of 50 of 1,204"),
        (Stopping(in_flight=3, queued=10), "waiting for 3 calls in flight"),
        (Stopping(in_flight=1, queued=10, hurried=True), "1 call in flight will be in doubt"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else None,
)
def test_sentences_say_what_follows(event: Event, words: str) -> None:
    assert words in event.sentence()


def test_an_error_without_words_is_named() -> None:
    assert Mistake(where="the pool", error=KeyError()).sentence() == "unforeseen error in the pool: KeyError"


class Listener:
    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)


class Broken:
    def __call__(self, event: Event) -> None:
        raise RuntimeError("no disk")


TOLD = Stopping(in_flight=0, queued=0)


def test_every_listener_hears_everything_in_order() -> None:
    first, second = Listener(), Listener()
    tell = fan_out(first, nobody, second)
    tell(TOLD)
    tell(GateShut(reason="credits"))
    assert first.heard == second.heard
    assert [kind(event) for event in first.heard] == ["stopping", "gate_shut"]


def test_a_listener_that_raises_stops_nobody_and_is_told_once() -> None:
    before, after = Listener(), Listener()
    tell = fan_out(before, Broken(), after)
    for _ in range(3):
        tell(TOLD)
    assert [kind(event) for event in after.heard] == ["reporter_failed", "stopping", "stopping", "stopping"]
    assert [kind(event) for event in before.heard].count("reporter_failed") == 1
    failure = after.heard[0]
    assert isinstance(failure, ReporterFailed)
    assert (failure.reporter, str(failure.error)) == ("Broken", "no disk")


def test_listeners_that_all_raise_end_in_silence() -> None:
    fan_out(Broken(), Broken())(TOLD)


def test_a_wish_to_end_is_not_swallowed() -> None:
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fan_out(interrupted)(TOLD)
