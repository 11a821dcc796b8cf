import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.passed_over import Passed, PassedOver, Why
from rembg_watch.report import events
from rembg_watch.watch.tally import BELOW, EXAMPLES, EXAMPLES_OF_ONE, KEPT, KINDS, Counted, Tally, files_below
from tests.watch.conftest import FakeLedger

RAW, LINK, TEXT = Passed(Why.TYPE, ".cr3"), Passed(Why.LINK, ""), Passed(Why.TYPE, ".txt")


def counted(**numbers: int) -> Counted:
    found = Counted()
    for kind, number in numbers.items():
        for one in range(number):
            found.add(b"%d.%b" % (one, kind.encode()), Passed(Why.TYPE, f".{kind}"))
    return found


def written(tally: Tally, ledger: FakeLedger) -> PassedOver:
    tally.write(0, is_last=True)
    return ledger.passed_over["f"]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"a", b"b"]), st.dictionaries(st.sampled_from("xyz"), st.integers(1, 70))),
        max_size=12,
    )
)
def test_the_sum_is_that_of_the_last_look_at_each_directory(looks: list[tuple[bytes, dict[str, int]]]) -> None:
    tally, ledger = Tally("f", FakeLedger(), events.nobody), FakeLedger()
    tally._ledger = ledger
    last: dict[bytes, dict[str, int]] = {}
    for number, (directory, numbers) in enumerate(looks):
        tally.put(directory, counted(**numbers))
        last[directory] = numbers
        if number % 4 == 3:
            tally.drop(directory)
            del last[directory]
    expected: Counter[Passed] = Counter()
    for numbers in last.values():
        expected.update({Passed(Why.TYPE, f".{kind}"): count for kind, count in numbers.items()})
    found = written(tally, ledger)
    assert found.counts == expected == tally.counts
    assert len(found.examples) <= EXAMPLES


def test_examples_are_few_and_come_from_many_directories() -> None:
    ledger = FakeLedger()
    tally = Tally("f", ledger, events.nobody)
    for number in range(100):
        tally.put(b"%d" % number, counted(cr3=200))
    found = written(tally, ledger)
    assert found.counts == {RAW: 20_000}
    assert len(found.examples) == EXAMPLES
    assert sum(map(len, tally._examples.values())) == EXAMPLES
    assert max(map(len, tally._examples.values())) == EXAMPLES_OF_ONE


def test_endings_without_number_become_one_kind() -> None:
    tally, chance = Tally("f", FakeLedger(), events.nobody), random.Random(1)
    numbers = {f"k{number}": chance.randrange(1, 5) for number in range(500)}
    tally.put(b"", counted(**numbers))
    tally.write(0)
    assert len(tally.counts) <= KINDS + 1
    assert sum(tally.counts.values()) == sum(numbers.values())


def test_endings_without_end_take_no_memory() -> None:
    tally, found = Tally("f", FakeLedger(), events.nobody), Counted()
    for number in range(5_000):
        found.add(b"x", Passed(Why.TYPE, f".k{number}"))
    assert len(found.counts) <= KEPT + 1
    for directory in range(20):
        tally.put(b"%d" % directory, counted(**{f"d{directory}n{number}": 1 for number in range(100)}))
    assert len(tally._total) <= KEPT + 1
    tally.write(0)
    assert sum(tally.counts.values()) == 2_000
    for directory in range(20):
        tally.drop(b"%d" % directory)
    assert not tally._total


@pytest.mark.parametrize(
    ("name", "reads_more", "what_to_do"),
    [
        ("a.tif", False, "let its folder make files of it (deliver)"),
        ("a.nef", False, "the service takes JPEG, PNG, WebP and BMP only; export it as one of these, or leave it out"),
        ("a.nef", True, "nothing but JPEG, PNG, WebP, BMP, TIFF, Photoshop documents, HEIC and AVIF is read here"),
    ],
)
def test_what_to_do_is_said_by_what_the_folder_takes(name: str, reads_more: bool, what_to_do: str) -> None:
    told: list[events.Event] = []
    suffix = name[1:]
    Tally("f", FakeLedger(), told.append, reads_more=reads_more).tell(name.encode(), Passed(Why.TYPE, suffix))
    (line,) = (event.sentence() for event in told)
    assert what_to_do in line
    assert f"every other {suffix} file" in line


def test_a_walk_that_does_not_find_a_directory_any_more_takes_it_out() -> None:
    tally = Tally("f", FakeLedger(), events.nobody)
    tally.put(b"a", counted(x=1))
    tally.put(b"b", counted(x=2))
    tally.keep(lambda directory: directory == b"a")
    tally.write(0)
    assert tally.counts == {Passed(Why.TYPE, ".x"): 1}


def test_numbers_are_written_now_and_then_and_once_more_at_the_end() -> None:
    ledger = FakeLedger()
    tally = Tally("f", ledger, events.nobody)
    tally.put(b"", counted(a=1))
    tally.write(10)
    tally.put(b"", counted(a=2))
    tally.write(11)
    assert ledger.passed_over["f"].counts == {Passed(Why.TYPE, ".a"): 1}
    assert tally.counts == {Passed(Why.TYPE, ".a"): 2}, "whoever asks here need not wait"
    tally.write(11, is_last=True)
    assert ledger.passed_over["f"].counts == {Passed(Why.TYPE, ".a"): 2}


def test_files_in_a_folder_that_is_left_out_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    for name in ("CaptureOne/Output/c1.jpg", "CaptureOne/c2.cot", ".git/objects/aa/b", ".git/HEAD"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(bytes(tmp_path / "CaptureOne")) == 2
    assert files_below(bytes(tmp_path / ".git")) == 1, "nobody looks into what is the system's"
    assert files_below(bytes(tmp_path / "gone")) == 0
    for number in range(BELOW + 5):
        (tmp_path / "CaptureOne" / str(number)).touch()
    assert 0 < files_below(bytes(tmp_path / "CaptureOne")) <= BELOW


def test_everything_that_is_not_sent_is_counted(studio: Any) -> None:
    names = ["1.cr3", "2.CR3", "a.txt", "noending", "x.jpg.part", ".DS_Store", "CaptureOne/Output/c1.jpg", "deep/3.cr3",
             "skip/4.jpg", "deep/y (conflicted copy 2026-01-31).jpg", "ok.jpg"]  # fmt: skip
    for name in names:
        studio.drop(name)
    (studio.root / "link.jpg").symlink_to("ok.jpg")
    studio.begin(folder={"exclude": ("skip/**",)}, settle_s=1)
    studio.passes(5)
    assert studio.ledger.names == [b"ok.jpg"]
    assert dict(studio.watch.passed_over) == {
        RAW: 3,
        TEXT: 1,
        Passed(Why.TYPE, ""): 1,
        Passed(Why.NAME, ".part"): 1,
        Passed(Why.NAME, "hidden"): 1,
        Passed(Why.FOLDER, "captureone"): 1,
        Passed(Why.EXCLUDE, "skip/"): 1,
        Passed(Why.CONFLICT, ".jpg"): 1,
        Passed(Why.LINK, ".jpg"): 1,
    }
    assert studio.ledger.passed_over["catalogue"].counts == studio.watch.passed_over
    told = sorted((event.why, event.suffix) for event in studio.reported(events.PassedOver))
    assert told == [("conflict", ".jpg"), ("folder", "captureone"), ("link", ".jpg"), ("type", ".cr3")]
    (studio.root / "1.cr3").unlink()
    (studio.root / "deep" / "3.cr3").unlink()
    (studio.root / "deep" / "y (conflicted copy 2026-01-31).jpg").unlink()
    studio.passes(60)
    assert studio.watch.passed_over[RAW] == 1
    assert Passed(Why.CONFLICT, ".jpg") not in studio.watch.passed_over


def test_a_picture_that_becomes_a_link_is_gone(studio: Any) -> None:
    path = studio.drop("a.jpg")
    studio.drop("b.jpg")
    studio.begin(settle_s=1)
    studio.passes(5)
    path.unlink()
    path.symlink_to("b.jpg")
    studio.touch(studio.root)
    studio.passes(60)
    assert studio.ledger.vanished == [b"a.jpg"]
    assert studio.watch.passed_over == {Passed(Why.LINK, ".jpg"): 1}
    assert studio.watch.unsettled == 0
