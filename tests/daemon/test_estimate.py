"""What ``once --dry-run`` foretells is what a run then does: the two take each decision in one place."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from rembg_watch.account.notes import RESUME
from rembg_watch.config import Settings
from rembg_watch.daemon import TRUST, Daemon
from rembg_watch.daemon.estimate import Estimate, estimate
from rembg_watch.delivery.verify import verify
from rembg_watch.ledger import Access, open_ledger
from rembg_watch.report import events
from rembg_watch.report.events import Event
from rembg_watch.sandbox import Sandbox
from tests.life import KEY, Time

COLOURS = [(20 * number, 90, 200 - number) for number in range(8)]
API = {"url": "http://127.0.0.1/rmbg", "usage_url": "http://127.0.0.1/api/membership-usage"}


class Choosy(httpx.BaseTransport):
    """The sandbox, but for the formats that it takes no more."""

    def __init__(self, sandbox: Sandbox, refused: set[str]) -> None:
        self._inner, self._refused = sandbox.transport(), refused

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if any(f"\r\n\r\n{one}\r\n".encode() in request.read() for one in self._refused):
            words = "Invalid format 'webp'. Allowed formats: PNG, JPEG, WEBP, BMP"
            return httpx.Response(400, json={"error": words, "status": 400})
        return self._inner.handle_request(request)


class Shop:
    """Some folders and an account, for which a run is foretold and then made."""

    def __init__(self, root: Path, names: str = "ab") -> None:
        self.root, self.names = root, names
        self.sandbox = Sandbox(KEY, engine="flat")
        self.refused: set[str] = set()  # formats
        self.is_resumed = False
        self.folders: dict[str, dict[str, Any]] = {name: {} for name in names}
        self.tables: dict[str, dict[str, Any]] = {}
        for name in names:
            for kind in ("in", "out"):
                (root / name / kind).mkdir(parents=True)

    def settings(self) -> Settings:
        folders = [
            {"name": name, "input": self.root / name / "in", "output": self.root / name / "out"} | self.folders[name]
            for name in self.names
        ]
        tables: dict[str, Any] = {
            "state_dir": self.root / "state",
            "api": API | {"key": self.sandbox.key},
            "watch": {"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 0.2},
            "output": {"free_space_reserve_mb": 0},
            "folders": folders,
        }
        return Settings(**(tables | self.tables))

    def drop(self, path: str, colour: int = 0, *, orientation: int = 1, size: tuple[int, int] = (40, 30)) -> Path:
        """Put a picture at ``folder/name``; those of one colour and orientation are the same, byte for byte."""
        folder, _, name = path.partition("/")
        made = self.root / folder / "in" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if orientation != 1:
            exif[274] = orientation
        Image.new("RGB", size, COLOURS[colour]).save(made, exif=exif)
        return made

    def sources(self) -> list[Path]:
        return sorted(p for name in self.names for p in (self.root / name / "in").rglob("*") if p.is_file())

    def outputs(self) -> list[Path]:
        return sorted(p for name in self.names for p in (self.root / name / "out").rglob("*") if p.is_file())

    def foretell(self) -> Estimate:
        return estimate(self.settings(), transport=Choosy(self.sandbox, self.refused))

    def ask_to_resume(self) -> None:
        """Ask for every pause to be ended, as ``retry`` does."""
        self.is_resumed = True
        with open_ledger(self.root / "state", Access.JOIN) as ledger:
            ledger.set_note(RESUME, "asked")

    def run(self) -> list[Event]:
        told: list[Event] = []
        with self.alive(told) as daemon:
            daemon.run_once()
        return told

    @contextmanager
    def alive(self, told: list[Event]) -> Iterator[Daemon]:
        transport, clocks = Choosy(self.sandbox, self.refused), Time(20).clocks()
        daemon = Daemon(self.settings(), report=told.append, transport=transport, clocks=clocks)
        daemon._around = replace(daemon._around, verify=verify)  # in this process: no child has to start
        with daemon:
            yield daemon

    def check(self) -> Estimate:
        """Foretell a run and make it; what was foretold is what came."""
        foretold, billed = self.foretell(), self.sandbox.billed
        told = self.run()
        assert self.sandbox.billed - billed == foretold.now, foretold
        reused = sum(isinstance(event, events.Reused) for event in told)
        assert reused <= foretold.known + foretold.doubles, foretold
        has_budgets = any(folder.get("daily_budget") for folder in self.folders.values())
        if not (foretold.later or foretold.hold or foretold.limits or has_budgets):
            assert reused == foretold.known + foretold.doubles, foretold
        after = self.foretell()
        was_resumed, self.is_resumed = self.is_resumed, False
        if was_resumed:  # what is held for options that may be good now goes at the next start
            return foretold
        assert (after.now, after.credits) == (0, foretold.credits - foretold.now), (foretold, after)
        return foretold


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


class Chance:
    """What people do to folders and settings, one thing after the other."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)
        self.number = 0
        self.aside: list[tuple[Path, Path]] = []
        self.done: list[str] = []

    def step(self) -> None:
        name = self.random.choice(
            ["drop"] * 5 + ["spoil_output", "rename", "put_aside", "bring_back", "delete", "letter", "budgets"]
            + ["account", "options", "upright", "hold", "refuse", "key", "resume", "priority"]
        )  # fmt: skip
        self.done.append(name)
        getattr(self, name)()

    def drop(self) -> None:
        self.number += 1
        folder, day = self.random.choice(self.shop.names), self.random.choice(["", "day/"])
        kind, turn = self.random.choice(["png", "jpg"]), self.random.choice([1, 1, 6])
        self.shop.drop(f"{folder}/{day}{self.number}.{kind}", self.random.randrange(len(COLOURS)), orientation=turn)

    def spoil_output(self) -> None:
        if outputs := self.shop.outputs():
            output = self.random.choice(outputs)
            output.unlink() if self.random.random() < 0.5 else output.write_bytes(b"edited")

    def rename(self) -> None:
        if sources := self.shop.sources():
            source = self.random.choice(sources)
            self.number += 1
            source.rename(self.shop.root / self.random.choice(self.shop.names) / f"in/{self.number}{source.suffix}")

    def put_aside(self) -> None:
        if sources := self.shop.sources():
            source = self.random.choice(sources)
            self.number += 1
            self.aside.append((source, source.rename(self.shop.root / f"{self.number}.aside")))

    def bring_back(self) -> None:
        if self.aside:
            source, aside = self.aside.pop()
            aside.rename(source)

    def delete(self) -> None:
        if sources := self.shop.sources():
            self.random.choice(sources).unlink()

    def letter(self) -> None:
        if sources := self.shop.sources():
            self.random.choice(sources).write_text("Dear client")

    def budgets(self) -> None:
        self.shop.folders[self.random.choice(self.shop.names)]["daily_budget"] = self.random.randrange(12)

    def account(self) -> None:
        self.shop.tables["credits"] = {
            "daily_budget": self.random.choice([0, 0, 5, 20]),
            "reserve": self.random.choice([0, 2]),
        }
        self.shop.sandbox.account.included = self.shop.sandbox.billed + self.random.choice([0, 3, 500])

    def options(self) -> None:
        options = {"format": self.random.choice(["png", "webp"])}
        self.shop.folders[self.random.choice(self.shop.names)]["options"] = options

    def upright(self) -> None:
        self.shop.folders[self.random.choice(self.shop.names)]["upright"] = self.random.random() < 0.5

    def priority(self) -> None:
        self.shop.folders[self.random.choice(self.shop.names)]["priority"] = self.random.randrange(2)

    def hold(self) -> None:
        """The account meets a limit of the day."""
        self.drop()
        self.shop.sandbox.add_fault("daily")
        self.shop.run()
        self.shop.sandbox.clear_faults()

    def refuse(self) -> None:
        """The API refuses a format for a while."""
        self.drop()
        self.shop.refused.add(self.random.choice(["png", "webp"]))
        self.shop.run()
        self.shop.refused.clear()

    def key(self) -> None:
        self.number += 1
        self.shop.sandbox.key = f"key-{self.number}"

    def resume(self) -> None:
        if (self.shop.root / "state").exists():
            self.shop.ask_to_resume()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_foretold_is_what_a_run_then_does(shop: Shop, seed: int) -> None:
    chance = Chance(shop, seed)
    for _ in range(3):
        for _ in range(chance.random.randrange(3, 12)):
            chance.step()
        try:
            shop.check()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{chance.done}") from error


def test_a_pause_that_a_person_asked_to_end_holds_nothing(shop: Shop) -> None:
    shop.drop("a/1.png")
    shop.sandbox.add_fault("daily")
    shop.run()
    shop.sandbox.clear_faults()
    assert shop.check().hold is not None
    shop.ask_to_resume()
    assert shop.check().now == 1


def test_a_folder_that_is_held_for_its_answers_is_said_to_be(shop: Shop) -> None:
    shop.tables["pool"] = {"workers": 1}
    for number in range(6):
        shop.drop(f"a/{number}.png", number, size=(600, 500))
    shop.sandbox.add_fault("wrong_size")
    shop.run()
    shop.drop("a/new.png", 7)
    (limit,) = shop.check().limits
    assert limit.startswith("a: the folder's answers are not of the size that was expected (the answer is 460 x 383")


@pytest.mark.parametrize("what", ["options", "key"])
def test_pictures_that_were_held_for_their_options_go_once_these_or_the_key_are_others(shop: Shop, what: str) -> None:
    shop.drop("a/1.png")
    shop.refused.add("webp")
    shop.run()
    shop.refused.clear()
    shop.drop("a/2.png", 1)
    (limit,) = shop.check().limits
    assert limit.startswith("a: the API does not accept the folder's options (")
    if what == "options":
        shop.folders["a"]["options"] = {"format": "png"}
    else:
        shop.sandbox.key = "another"
    assert shop.check().now == 2


def test_what_was_deleted_or_replaced_while_nobody_watched_costs_nothing(shop: Shop) -> None:
    sources = [shop.drop(f"a/{name}", colour) for colour, name in enumerate(["1.png", "2.png", "day/3.png"])]
    shop.tables["watch"] = {"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 5.0}  # a text is young meanwhile
    shop.sandbox.account.included = 0
    shop.run()
    shop.sandbox.account.included = 500
    sources[0].unlink()
    sources[1].write_text("Dear client")
    sources[2].unlink()
    found = shop.check()
    assert (found.pictures, found.now, found.unsettled) == (0, 0, 1), "a text may still become a picture"
    assert found.unsettled_files == (("a", b"2.png", "it is a text"),)


def test_what_does_not_look_whole_is_foretold_as_the_run_treats_it(shop: Shop) -> None:
    shop.tables = {"watch": {"settle_s": 0.05, "scan_interval_s": 0.2, "grace_s": 300}}
    film, half = shop.drop("a/film.jpg"), shop.drop("a/half.jpg", 1)
    film.write_bytes(film.read_bytes() + bytes(range(200)) * 1000)
    half.write_bytes(half.read_bytes()[:-200])
    found = shop.check()
    assert (found.pictures, found.now, found.unsettled, found.rejected) == (1, 1, 1, ())
    assert shop.sandbox.billed == 1


def test_a_source_that_was_moved_away_and_back_is_not_paid_again_though_its_cutout_is_gone(shop: Shop) -> None:
    source = shop.drop("a/1.png")
    shop.drop("a/2.png", 1)
    shop.run()
    source.rename(shop.root / "aside")
    shop.run()
    (shop.root / "aside").rename(source)
    for output in shop.outputs():
        output.unlink()
    assert (shop.check().pictures, shop.sandbox.billed) == (0, 2)


def test_a_copy_pays_where_the_folder_of_the_other_one_may_not(shop: Shop) -> None:
    shop.folders["a"]["daily_budget"] = 1
    shop.drop("a/1.png")
    assert shop.check().now == 1
    shop.drop("a/2.png", 1)
    shop.drop("b/2.png", 1)
    found = shop.check()
    assert (found.pictures, found.doubles, found.now) == (2, 1, 1)
    assert shop.sandbox.billed == 2


def test_a_folder_that_is_not_there_sends_nothing(shop: Shop) -> None:
    shop.drop("a/1.png")
    shop.drop("b/2.png", 1)
    shop.sandbox.account.included = 0
    shop.run()
    shop.sandbox.account.included = 500
    (shop.root / "a/in").rename(shop.root / "away")
    foretold = shop.foretell()
    assert (foretold.now, foretold.later, foretold.limits) == (1, 1, ("a: its folder is not there",))


@pytest.mark.parametrize("root", ["in", "out"])
@pytest.mark.parametrize("is_bare", [True, False], ids=["bare", "missing"])
def test_nothing_is_foretold_for_a_folder_that_is_away_until_a_person_takes_it_as_it_is(
    shop: Shop, root: str, is_bare: bool
) -> None:
    shop.drop("a/1.png")
    shop.run()
    shop.drop("a/2.png", 1)
    (shop.root / "a" / root).rename(shop.root / "away")
    if is_bare:
        (shop.root / "a" / root).mkdir()
    assert shop.foretell().now == 0
    shop.run()
    assert shop.sandbox.billed == 1
    with open_ledger(shop.root / "state") as ledger:
        said = {"folders": [], "at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        ledger.set_note(TRUST, said)
    assert shop.foretell().now == (1 if root == "out" else 0)


def test_an_answer_that_the_next_start_removes_from_the_spool_is_not_counted_on(shop: Shop) -> None:
    shop.drop("a/1.png")
    shop.run()
    with open_ledger(shop.root / "state", Access.READ) as ledger:
        [job] = ledger.jobs()
    [output] = shop.outputs()
    output.rename(shop.root / f"state/spool/{job.content_key}")
    shop.drop("b/1.png")
    assert shop.check().now == 1
