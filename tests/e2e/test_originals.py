"""Names and originals: re-exports, collisions, duplicates, and what becomes of a source afterwards."""

from pathlib import Path

import pytest

from tests.e2e.studio import Studio, is_made_from, picture


def test_a_re_exported_source_replaces_its_own_cutout(studio: Studio) -> None:
    first = studio.drop("a.jpg", 1)
    with studio.running() as daemon:
        daemon.wait_until(lambda: "a.png" in studio.outputs(), "the first export")
        assert is_made_from(studio.output / "a.png", first)
        second = studio.drop("a.jpg", 2)
        daemon.wait_until(lambda: is_made_from(studio.output / "a.png", second), "the second export")
    assert set(studio.outputs()) == {"a.png"}
    assert len(studio.calls) == 2


def test_a_re_export_while_the_program_is_down_is_found(studio: Studio) -> None:
    studio.drop("a.jpg", 1)
    assert studio.cli("once").code == 0
    second = studio.drop("a.jpg", 2)
    assert studio.cli("once").code == 0
    assert is_made_from(studio.output / "a.png", second)
    third = studio.drop("a.jpg", 1)  # back to the first: known, and not paid again
    assert studio.cli("once").code == 0
    assert is_made_from(studio.output / "a.png", third)
    assert len(studio.calls) <= 3


def test_a_file_that_is_not_ours_is_never_overwritten(studio: Studio) -> None:
    foreign = studio.output / "shoot" / "a.png"
    foreign.parent.mkdir()
    foreign.write_bytes(b"the retoucher's own work")
    source = studio.drop("shoot/a.jpg", 1)
    assert studio.cli("once").code == 0
    assert foreign.read_bytes() == b"the retoucher's own work"
    ours = [path for path in studio.outputs().values() if path != foreign]
    assert len(ours) == 1
    assert is_made_from(ours[0], source)


def test_a_cutout_that_somebody_retouched_is_not_overwritten_by_a_re_export(studio: Studio) -> None:
    studio.drop("a.jpg", 1)
    assert studio.cli("once").code == 0
    (studio.output / "a.png").write_bytes(b"retouched by hand")
    second = studio.drop("a.jpg", 2)
    assert studio.cli("once").code == 0
    assert (studio.output / "a.png").read_bytes() == b"retouched by hand"
    assert any(is_made_from(path, second) for name, path in studio.outputs().items() if name != "a.png")


def test_two_sources_of_one_name_are_both_delivered(studio: Studio) -> None:
    sources = {name: studio.drop(name, n) for n, name in enumerate(("x/IMG_1.jpg", "x/IMG_1.png", "x/IMG_1.webp"), 1)}
    assert studio.cli("once").code == 0
    outputs = studio.outputs()
    assert len(outputs) == 3
    assert "x/IMG_1.png" in outputs
    made = {name for name, content in sources.items() if any(is_made_from(path, content) for path in outputs.values())}
    assert made == set(sources)
    assert studio.cli("once").code == 0
    assert len(studio.calls) == 3


def test_the_same_bytes_under_other_names_are_delivered_without_a_second_call(studio: Studio) -> None:
    content = studio.drop("one.jpg", 1)
    for name in ("two.jpg", "deep/er/three.jpg", "four.jpeg"):
        studio.put(name, content)
    with studio.running() as daemon:
        daemon.wait_until(lambda: len(studio.outputs()) == 4, "all four")
        studio.put("late.jpg", content)
        daemon.wait_until(lambda: len(studio.outputs()) == 5, "and the late one")
    assert len(studio.calls) == studio.sandbox.billed == 1
    assert all(is_made_from(path, content) for path in studio.outputs().values())


def test_a_renamed_source_is_delivered_under_its_new_name_without_a_call(studio: Studio) -> None:
    studio.drop("a.jpg", 1)
    assert studio.cli("once").code == 0
    (studio.input / "a.jpg").rename(studio.input / "b.jpg")
    assert studio.cli("once").code == 0
    assert "b.png" in studio.outputs()
    assert len(studio.calls) == 1


def test_move_puts_originals_aside_once_their_cutouts_stand(studio: Studio) -> None:
    done = studio.root / "done"
    studio.configure(folder={"after": "move", "done": str(done)})
    sources = {name: studio.drop(name, n) for n, name in enumerate(("a.jpg", "Größe L/b c.png", "x/y/z.webp"))}
    assert studio.cli("once").code == 0
    assert {name: (done / name).read_bytes() for name in sources} == sources
    assert [path for path in studio.input.rglob("*") if path.is_file()] == []
    assert len(studio.outputs()) == 3
    again = studio.drop("a.jpg", 50)  # the same name, another picture
    assert studio.cli("once").code == 0
    assert is_made_from(studio.output / "a.png", again)
    kept = [path.read_bytes() for path in done.rglob("*") if path.is_file()]
    assert sources["a.jpg"] in kept
    assert again in kept


def test_delete_removes_originals_only_when_their_cutouts_stand(studio: Studio) -> None:
    studio.configure(folder={"after": "delete"})
    studio.sandbox.add_fault("status", file="bad*", status=400)
    studio.drop("good.jpg", 1)
    bad = studio.drop("bad.jpg", 2)
    assert studio.cli("once").code == 1
    assert not (studio.input / "good.jpg").exists()
    assert (studio.input / "bad.jpg").read_bytes() == bad
    assert set(studio.outputs()) == {"good.png"}


def test_refused_pictures_go_to_the_failed_folder_with_their_reason_and_come_back(studio: Studio) -> None:
    failed = studio.root / "failed"
    studio.configure(folder={"failed": str(failed)})
    studio.sandbox.add_fault("status", file="bad*", status=400)
    bad = studio.drop("shoot 1/bad.jpg", 1)
    studio.drop("shoot 1/good.jpg", 2)
    assert studio.cli("once").code == 1
    assert (failed / "shoot 1" / "bad.jpg").read_bytes() == bad
    beside = [path for path in (failed / "shoot 1").iterdir() if path.name != "bad.jpg"]
    assert len(beside) == 1
    words = beside[0].read_text(encoding="utf-8")
    assert "was not cut out" in words
    assert "What to do" in words
    assert set(studio.outputs()) == {"shoot 1/good.png"}

    studio.sandbox.clear_faults()
    (failed / "shoot 1" / "bad.jpg").rename(studio.input / "shoot 1" / "bad.jpg")  # as the reason file says
    assert studio.cli("once").code == 0
    assert "shoot 1/bad.png" in studio.outputs()


def test_a_picture_that_is_no_picture_goes_to_the_failed_folder_unpaid(studio: Studio) -> None:
    failed = studio.root / "failed"
    studio.configure(folder={"failed": str(failed)})
    letter = studio.put("letter.jpg", b"Dear client, " * 99)
    with studio.running() as daemon:
        daemon.wait_until((failed / "letter.jpg").exists, "it is put aside")
        daemon.wait_until(lambda: len(list(failed.iterdir())) == 2, "with its reason")
    assert (failed / "letter.jpg").read_bytes() == letter
    assert studio.calls == []


def test_retry_brings_a_put_aside_picture_back(studio: Studio) -> None:
    failed = studio.root / "failed"
    studio.configure(folder={"failed": str(failed)})
    studio.sandbox.add_fault("status", file="bad*", status=400)
    studio.drop("bad.jpg", 1)
    assert studio.cli("once").code == 1
    studio.sandbox.clear_faults()
    said = studio.cli("retry", "--all")
    assert said.code == 0
    (failed / "bad.jpg").rename(studio.input / "bad.jpg")
    assert studio.cli("once").code == 0
    assert "bad.png" in studio.outputs()


def test_pictures_that_vanish_before_their_turn_cost_nothing(studio: Studio) -> None:
    studio.sandbox.latency_s = 0.5
    for number in range(20):
        studio.drop(f"{number}.jpg", number)
    with studio.running() as daemon:
        daemon.wait_until(lambda: studio.sandbox.in_flight > 0, "work has begun")
        gone = [path for path in sorted(studio.input.iterdir()) if path.unlink() is None]
        assert len(gone) == 20
        daemon.wait_until(lambda: studio.reported()["jobs"]["queued"] == 0, "the line is empty")
        daemon.wait_until(lambda: studio.sandbox.in_flight == 0, "nothing is under way")
        assert daemon.stop() == 0
    counts = studio.status()["jobs"]
    assert counts["done"] == len(studio.outputs()) == studio.sandbox.billed < 20
    assert counts["done"] + counts["vanished"] == 20
    assert counts["failed"] == 0


@pytest.mark.parametrize(
    "name", ["weird \t\n name.jpg", "-rf.jpg", "%s {0} [red].jpg", "a'b\"c;d&e.jpg", "z" * 251 + ".jpg"]
)
def test_awkward_names_are_taken_as_they_are(studio: Studio, name: str) -> None:
    source = studio.drop(name, 1)
    said = studio.cli("once")
    assert said.code == 0, said.text
    assert len(studio.outputs()) == 1
    assert is_made_from(next(iter(studio.outputs().values())), source)


def test_a_name_that_is_not_utf_8_is_delivered(studio: Studio) -> None:
    path = Path(str(studio.input)) / b"Gr\xf6\xdfe.jpg".decode("utf-8", "surrogateescape")
    path.write_bytes(picture(1))
    assert studio.cli("once").code == 0
    assert (studio.output / b"Gr\xf6\xdfe.png".decode("utf-8", "surrogateescape")).exists()
    assert studio.cli("jobs").code == 0
    assert studio.cli("jobs", "--json").code == 0
