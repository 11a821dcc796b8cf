import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rembg_watch.passed_over import Passed, Why
from rembg_watch.paths import Folder
from rembg_watch.report import events
from rembg_watch.watch import Permit
from rembg_watch.watch.intake import DECODED_AT_ONCE


def test_what_lies_there_at_the_start_settles_before_it_goes_in_line(studio: Any) -> None:
    studio.drop("a.jpg")
    studio.drop("deep/er/b.JPG")
    studio.begin(settle_s=3)
    studio.passes(2.9)
    assert studio.ledger.added == []
    studio.passes(0.2)
    assert sorted(studio.ledger.names) == [b"a.jpg", b"deep/er/b.JPG"]
    assert studio.reported(events.Enqueued)[0].count == 2


def test_what_comes_later_is_found_by_the_next_walk(studio: Any) -> None:
    studio.begin(settle_s=3, scan_interval_s=30)
    studio.passes(10)
    studio.drop("new/a.jpg")
    studio.passes(20)
    assert studio.ledger.added == []
    studio.passes(3.5)
    assert studio.ledger.names == [b"new/a.jpg"]


@pytest.mark.parametrize("content", [b"", b"a text", b"\xff\xd8\xff\xe0 cut"], ids=["empty", "text", "cut"])
def test_what_is_no_picture_keeps_nobody_waiting_and_is_taken_when_it_becomes_one(
    studio: Any, picture: Callable[..., bytes], content: bytes
) -> None:
    path = studio.drop("a.jpg", content)
    studio.begin(settle_s=3, scan_interval_s=30)
    studio.passes(2)
    assert not studio.watch.is_at_rest
    studio.passes(5)
    assert studio.watch.is_at_rest
    assert studio.watch.unsettled == 1
    path.write_bytes(picture())
    studio.passes(40)
    assert studio.ledger.names == [b"a.jpg"]


def test_a_file_that_grows_is_taken_when_it_has_stopped(studio: Any, picture: Callable[..., bytes]) -> None:
    whole = picture(size=(400, 300))
    path = studio.drop("a.jpg", whole[:500])
    studio.begin(settle_s=3)
    for length in range(1000, len(whole), 700):
        studio.passes(2)
        path.write_bytes(whole[:length])
    studio.passes(2)
    path.write_bytes(whole)
    studio.passes(2.5)
    assert studio.ledger.added == []
    studio.passes(4)
    assert studio.ledger.names == [b"a.jpg"]
    assert studio.ledger.added[0][1].size_bytes == len(whole)


def test_nothing_is_sent_twice_that_the_ledger_knows(studio: Any) -> None:
    studio.drop("a.jpg")
    studio.begin()
    studio.passes(10)
    studio.begin()
    studio.passes(3700)
    assert studio.ledger.names == [b"a.jpg"]


def test_a_file_rewritten_in_place_is_found_by_a_deep_walk(studio: Any, picture: Callable[..., bytes]) -> None:
    path = studio.drop("a.jpg")
    studio.begin(scan_interval_s=30)
    studio.passes(10)
    with path.open("r+b") as file:  # neither the directory's time nor its names change
        file.write(picture(9))
    studio.touch(path)
    studio.passes(40)
    assert studio.ledger.names == [b"a.jpg", b"a.jpg"]


def test_junk_is_passed_over_and_so_is_what_lies_in_it(studio: Any) -> None:
    for name in ("._a.jpg", ".hidden/a.jpg", "@eaDir/a.jpg", "a.txt", "a.jpg.part", "Thumbs.db", "ok.jpg"):
        studio.drop(name)
    studio.begin()
    studio.passes(10)
    assert studio.ledger.names == [b"ok.jpg"]
    assert studio.listed == []


def test_pictures_that_cannot_be_sent_are_told_once_for_each_kind(studio: Any) -> None:
    for name in ("1.tif", "2.TIF", "3.heic", "4.jpg"):
        studio.drop(name)
    studio.begin(scan_interval_s=30)
    studio.passes(300)
    assert sorted(event.suffix for event in studio.reported(events.PassedOver)) == [".heic", ".tif"]


def test_excluded_subtrees_are_not_even_read(studio: Any) -> None:
    studio.drop("_rejects/a.jpg")
    studio.drop("b.jpg")
    studio.begin(folder={"exclude": ("**/_rejects/**",)})
    studio.passes(10)
    assert studio.ledger.names == [b"b.jpg"]
    assert b"_rejects" not in studio.ledger.asked


def test_names_that_are_no_text_are_taken(studio: Any) -> None:
    names = [b"\xff\xfe.jpg", b"dir\x80/new\nline.jpg", b"a" * 251 + b".jpg", "ü ß.jpg".encode()]
    for name in names:
        studio.drop(name)
    studio.begin()
    studio.passes(10)
    assert sorted(studio.ledger.names) == sorted(names)


def test_a_deleted_source_is_told_to_the_ledger(studio: Any) -> None:
    paths = [studio.drop(name) for name in ("a.jpg", "b.jpg", "gone/c.jpg")]
    studio.begin(scan_interval_s=30)
    studio.passes(10)
    paths[0].unlink()
    shutil.rmtree(paths[2].parent)
    studio.touch(studio.root)
    studio.passes(40)
    assert sorted(studio.ledger.vanished) == [b"a.jpg", b"gone/c.jpg"]


def test_a_directory_deleted_while_nobody_watched_is_told_too(studio: Any) -> None:
    path = studio.drop("gone/c.jpg")
    studio.drop("stays.jpg")
    studio.begin()
    studio.passes(10)
    shutil.rmtree(path.parent)
    studio.begin()
    studio.passes(10)
    assert studio.ledger.vanished == [b"gone/c.jpg"]


def test_an_empty_mount_point_at_the_start_does_not_delete_anything(studio: Any) -> None:
    path = studio.drop("a.jpg")
    studio.begin()
    studio.passes(10)
    path.unlink()  # as it looks before a share is mounted: nothing that the ledger knows is there
    studio.begin()
    studio.passes(1000)
    assert studio.ledger.vanished == []


def test_a_root_that_is_missing_is_waited_for_and_told_once(studio: Any) -> None:
    studio.drop("a.jpg")
    aside = studio.root.with_name("aside")
    studio.begin(scan_interval_s=30)
    studio.passes(10)
    studio.root.rename(aside)
    studio.passes(500)
    assert studio.watch.is_away
    assert studio.watch.is_at_rest
    assert [event.why for event in studio.reported(events.FolderOffline)] == ["it does not exist"]
    assert studio.ledger.vanished == []
    (aside / "b.jpg").write_bytes((aside / "a.jpg").read_bytes())
    aside.rename(studio.root)
    studio.passes(5)
    assert not studio.watch.is_away
    assert len(studio.reported(events.FolderOnline)) == 1
    assert studio.ledger.names == [b"a.jpg", b"b.jpg"]


def test_a_root_that_is_missing_at_the_start_is_waited_for(studio: Any) -> None:
    studio.root.rmdir()
    studio.begin()
    studio.passes(100)
    studio.root.write_bytes(b"")
    studio.passes(10)
    assert [event.why for event in studio.reported(events.FolderOffline)] == ["it does not exist"]
    studio.root.unlink()
    studio.root.mkdir()
    studio.drop("a.jpg")
    studio.passes(5)
    assert studio.ledger.names == [b"a.jpg"]


def test_a_root_that_was_replaced_is_looked_through_at_once(studio: Any) -> None:
    studio.drop("a.jpg")
    studio.begin(scan_interval_s=300)
    studio.passes(10)
    studio.root.rename(studio.root.with_name("aside"))
    studio.root.mkdir()
    studio.drop("b.jpg")
    studio.passes(5)
    assert studio.ledger.names == [b"a.jpg", b"b.jpg"]
    assert studio.ledger.vanished == []
    assert len(studio.reported(events.ObserverRebuilt)) == 1


def test_a_root_may_be_reached_through_a_link_and_nothing_else_may(studio: Any) -> None:
    elsewhere = studio.root.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "outside.jpg").write_bytes(b"x")
    studio.drop("a.jpg")
    (studio.root / "link.jpg").symlink_to(elsewhere / "outside.jpg")
    (studio.root / "tree").symlink_to(elsewhere)
    link = studio.root.with_name("link")
    link.symlink_to(studio.root)
    studio.begin(folder={"input": link})
    studio.passes(100)
    assert studio.ledger.names == [b"a.jpg"]
    assert studio.listed == []
    assert dict(studio.watch.passed_over) == {Passed(Why.LINK, ".jpg"): 1, Passed(Why.LINK, ""): 1}
    assert len(studio.reported(events.PassedOver)) == 1, "links are told of once"


def test_what_is_unsettled_is_listed_with_reason_and_first_look(studio: Any, picture: Callable[..., bytes]) -> None:
    studio.drop("empty.jpg", b"")
    studio.drop("half.jpg", picture()[:300])
    studio.begin(settle_s=3)
    begin = studio.now
    studio.passes(1)
    assert {one.source: one.reason for one in studio.listed} == {
        b"empty.jpg": "it is empty",
        b"half.jpg": "it is still being written",
    }
    studio.passes(5)
    reasons = {one.source: one.reason for one in studio.listed}
    assert reasons[b"half.jpg"].startswith("its end is missing")
    assert {one.since_at.timestamp() for one in studio.listed} == {1795338000.0 + begin}
    assert studio.watch.unsettled == 2
    assert studio.reported(events.Unsettled) == []
    studio.passes(60)
    assert sorted(event.source for event in studio.reported(events.Unsettled)) == [b"empty.jpg", b"half.jpg"]


def test_nobody_waits_for_an_empty_file_longer_than_for_half_a_picture(
    studio: Any, picture: Callable[..., bytes]
) -> None:
    studio.drop("empty.jpg", b"")
    studio.begin(settle_s=3, grace_s=300)
    studio.passes(2)
    assert not studio.watch.is_at_rest
    studio.passes(5)
    assert studio.watch.is_at_rest, "`once` ends here, instead of waiting for the grace time"
    assert [(one.source, one.reason) for one in studio.listed] == [(b"empty.jpg", "it is empty")]
    studio.drop("empty.jpg", picture())
    studio.passes(10)
    assert studio.ledger.names == [b"empty.jpg"]


def test_what_never_becomes_a_picture_is_written_down_after_the_grace_time(
    studio: Any, picture: Callable[..., bytes]
) -> None:
    studio.drop("empty.jpg", b"")
    studio.drop("half.jpg", picture()[:300])
    studio.drop("text.jpg", b"not a picture")
    studio.begin(settle_s=3, grace_s=300)
    studio.passes(299)
    assert studio.ledger.rejected == {}
    studio.passes(10)
    assert {source: code for source, (code, _) in studio.ledger.rejected.items()} == {
        b"empty.jpg": "not_a_picture",
        b"half.jpg": "not_whole",
        b"text.jpg": "not_a_picture",
    }
    assert len(studio.reported(events.Failed)) == 3
    assert studio.watch.unsettled == 0
    assert studio.listed == []
    studio.passes(2000)
    assert len(studio.reported(events.Failed)) == 3
    assert studio.ledger.added == []


def test_what_nobody_has_written_to_for_longer_than_the_grace_time_is_not_waited_for_again(
    studio: Any, picture: Callable[..., bytes]
) -> None:
    studio.drop("empty.jpg", b"")
    studio.drop("half.jpg", picture()[:300])
    studio.drop("endless.png", noisy_png()[:-12])
    studio.now = 60 * 86400.0  # the disk's clock is the real one
    studio.begin(settle_s=3, grace_s=300)
    studio.passes(30)
    assert sorted(studio.ledger.rejected) == [b"empty.jpg", b"half.jpg"]
    assert studio.ledger.names == [b"endless.png"]


def test_what_can_be_decoded_without_its_end_is_sent_after_the_grace_time_and_a_few_at_a_time(studio: Any) -> None:
    png = noisy_png()
    for number in range(DECODED_AT_ONCE + 2):
        studio.drop(f"{number}.png", png[:-12])
    studio.drop("half.png", png[:-3000])
    studio.begin(settle_s=3, grace_s=300, scan_interval_s=900)
    studio.passes(299)
    assert (studio.ledger.names, studio.ledger.rejected) == ([], {})
    studio.passes(1.5)
    assert len(studio.ledger.names) + len(studio.ledger.rejected) == DECODED_AT_ONCE, "the others have to wait a while"
    studio.passes(300)
    assert sorted(studio.ledger.names) == [b"%d.png" % number for number in range(DECODED_AT_ONCE + 2)]
    assert [code for code, _ in studio.ledger.rejected.values()] == ["not_whole"]


def test_a_whole_picture_with_a_film_behind_it_is_sent_at_once(studio: Any, picture: Callable[..., bytes]) -> None:
    studio.drop("motion.jpg", picture() + bytes(range(200)) * 1000)
    studio.begin(settle_s=3, grace_s=300)
    studio.passes(4)
    assert studio.ledger.names == [b"motion.jpg"]


def noisy_png() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((80, 60), 60).save(out, "PNG")
    return out.getvalue()


def test_a_refused_file_is_looked_at_again_when_its_bytes_change(studio: Any, picture: Callable[..., bytes]) -> None:
    path = studio.drop("a.jpg", picture()[:300])
    studio.begin(settle_s=3, grace_s=10)
    studio.passes(20)
    assert b"a.jpg" in studio.ledger.rejected
    path.write_bytes(picture())
    studio.passes(60)
    assert studio.ledger.names == [b"a.jpg"]


def test_what_can_never_be_sent_is_written_down_without_waiting(studio: Any) -> None:
    studio.drop("scan.jpg", b"II*\0" + bytes(900))
    studio.begin(settle_s=3)
    studio.passes(4)
    assert studio.ledger.rejected[b"scan.jpg"][0] == "wrong_type"


def test_a_placeholder_that_is_filled_after_a_minute_is_sent_once(studio: Any, picture: Callable[..., bytes]) -> None:
    path = studio.drop("a.jpg", b"")
    studio.begin(settle_s=3)
    studio.passes(60)
    path.write_bytes(picture())
    studio.passes(10)
    assert studio.ledger.names == [b"a.jpg"]
    assert len(studio.reported(events.Settled)) == len(studio.reported(events.Unsettled))


def test_old_dates_do_not_make_a_file_settle_sooner(studio: Any) -> None:
    path = studio.drop("a.jpg")
    os.utime(path, (0, 0))
    studio.begin(settle_s=3)
    studio.passes(2.9)
    assert studio.ledger.added == []


def test_at_rest_means_that_waiting_brings_nothing_more(studio: Any, picture: Callable[..., bytes]) -> None:
    studio.begin(settle_s=3, grace_s=0)
    assert not studio.watch.is_at_rest
    studio.drop("a.jpg")
    studio.drop("half.jpg", picture()[:300])
    studio.drop("empty.jpg", b"")
    (studio.root / "link.jpg").symlink_to("a.jpg")
    studio.passes(2.9)
    assert not studio.watch.is_at_rest
    studio.passes(0.5)
    assert studio.watch.is_at_rest
    assert studio.ledger.names == [b"a.jpg"]
    assert sorted(studio.ledger.rejected) == [b"empty.jpg", b"half.jpg"]
    assert studio.watch.unsettled == 0
    assert dict(studio.watch.passed_over) == {Passed(Why.LINK, ".jpg"): 1}


def test_an_empty_file_keeps_nobody_waiting_until_it_is_given_up(studio: Any, picture: Callable[..., bytes]) -> None:
    path = studio.drop("empty.jpg", b"")
    studio.begin(settle_s=3, grace_s=300)
    studio.passes(2.9)
    assert not studio.watch.is_at_rest
    studio.passes(4)
    assert studio.watch.is_at_rest
    assert [(one.source, one.reason) for one in studio.listed] == [(b"empty.jpg", "it is empty")]
    path.write_bytes(picture())
    studio.passes(10)
    assert studio.ledger.names == [b"empty.jpg"]


def test_a_file_that_somebody_asks_about_is_looked_at_again(studio: Any) -> None:
    path = studio.drop("sub/a.jpg")
    studio.begin(settle_s=3, scan_interval_s=300)
    studio.passes(10)
    del studio.ledger.standing["catalogue", b"sub/a.jpg"]  # as when it was missing for a moment
    studio.watch.look_again(b"sub/a.jpg")
    studio.passes(4)
    assert studio.ledger.names == [b"sub/a.jpg", b"sub/a.jpg"]
    path.unlink()
    studio.watch.look_again(b"sub/a.jpg")
    studio.watch.look_again(b"unknown/b.jpg")
    studio.passes(1)
    assert studio.ledger.vanished == [b"sub/a.jpg"]


def test_nothing_is_forgotten_while_the_ledger_cannot_be_written(studio: Any) -> None:
    studio.drop("a.jpg")
    studio.drop("sub/b.jpg")
    studio.begin(settle_s=3)
    studio.passes(2)
    studio.ledger.is_broken = True
    for _ in range(20):
        with pytest.raises(Exception, match="disk is full"):
            studio.passes(3)
        studio.now += 3
    studio.ledger.is_broken = False
    studio.passes(10)
    assert sorted(studio.ledger.names) == [b"a.jpg", b"sub/b.jpg"]


def test_a_ledger_that_is_away_during_the_first_walk_costs_no_directory(studio: Any) -> None:
    for number in range(5):
        studio.drop(f"{number}/a.jpg")
    studio.begin(settle_s=3)
    studio.ledger.is_broken = True
    for _ in range(3):
        with pytest.raises(Exception, match="disk is full"):
            studio.passes(3)
    studio.ledger.is_broken = False
    studio.passes(10)
    assert len(studio.ledger.names) == 5


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Offer to become a user without rights until the end of the test."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else and come back")
    open_to_all = [path for path in (tmp_path, *tmp_path.parents) if path.stat().st_uid == 0]
    modes = {path: path.stat().st_mode for path in open_to_all}
    for path in open_to_all:
        path.chmod(modes[path] | 0o055)
    yield lambda: os.seteuid(65534)
    os.seteuid(0)
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_directory_that_cannot_be_read_is_told_once_and_deletes_nothing(
    studio: Any, as_nobody: Callable[[], None]
) -> None:
    path = studio.drop("closed/a.jpg")
    studio.drop("b.jpg")
    studio.begin(scan_interval_s=30)
    studio.passes(10)
    path.parent.chmod(0o700)
    studio.touch(path.parent)
    as_nobody()
    studio.passes(400)
    os.seteuid(0)
    (told,) = studio.reported(events.Unsettled)
    assert (told.source, told.why) == (b"closed", "this directory cannot be read: Permission denied")
    assert [one.source for one in studio.listed] == [b"closed"]
    assert studio.ledger.vanished == []
    path.parent.chmod(0o755)
    studio.passes(60)
    assert studio.listed == []
    assert len(studio.reported(events.Settled)) == 1


def test_a_file_that_cannot_be_read_waits_and_is_taken_once_it_can(studio: Any, as_nobody: Callable[[], None]) -> None:
    path = studio.drop("a.jpg")
    path.chmod(0o600)
    studio.begin(settle_s=3, grace_s=20)
    as_nobody()
    studio.passes(400)
    assert studio.ledger.rejected == {}
    assert [(one.source, one.reason) for one in studio.listed] == [(b"a.jpg", "it cannot be read: Permission denied")]
    os.seteuid(0)
    studio.passes(65)
    assert studio.ledger.names == [b"a.jpg"]


def test_a_root_that_may_not_be_read_is_standby(studio: Any, as_nobody: Callable[[], None]) -> None:
    studio.drop("a.jpg")
    studio.begin()
    studio.passes(10)
    studio.root.chmod(0o700)
    as_nobody()
    studio.passes(100)
    assert [event.why for event in studio.reported(events.FolderOffline)] == ["permission denied"]
    assert studio.ledger.vanished == []


def test_a_path_that_is_too_long_for_the_system_is_told(studio: Any) -> None:
    fd = os.open(studio.root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir(b"d" * 250, dir_fd=fd)
        deeper = os.open(b"d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    studio.drop("a.jpg")
    studio.begin()
    studio.passes(10)
    assert studio.ledger.names == [b"a.jpg"]
    (told,) = studio.reported(events.Unsettled)
    assert "name too long" in told.why


def test_notices_bring_a_file_in_line_without_waiting_for_a_walk(studio: Any) -> None:
    studio.drop("old.jpg")
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    studio.drop("a.jpg")
    studio.notices()
    studio.passes(3.2)
    assert studio.ledger.names == [b"old.jpg", b"a.jpg"]


def test_a_notice_of_a_new_tree_finds_all_that_is_in_it(studio: Any) -> None:
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    outside = studio.root.with_name("outside")
    for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(b"\xff\xd8\xff")
    outside.rename(studio.root / "tree")
    studio.notices()
    assert studio.watch.unsettled == 3


def test_a_notice_of_a_deletion_reaches_the_ledger(studio: Any) -> None:
    path = studio.drop("sub/a.jpg")
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    path.unlink()
    studio.notices()
    assert studio.ledger.vanished == [b"sub/a.jpg"]


def test_a_file_that_a_program_keeps_open_is_taken_as_soon_as_it_is_closed(studio: Any) -> None:
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    with studio.drop("a.jpg").open("ab"):
        studio.notices()
        studio.passes(30)
        assert [one.reason for one in studio.listed] == ["a program still has it open for writing"]
        assert studio.ledger.names == []
        studio.watch.wake.clear()
    studio.notices()
    assert studio.ledger.names == [b"a.jpg"]


def test_a_root_that_lost_its_watch_and_looks_the_same_is_watched_anew(studio: Any) -> None:
    """A disk that was mounted again at once can have the very numbers that it had."""
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    studio.watch._marks.lose(b"")
    studio.passes(1)
    (told,) = studio.reported(events.ObserverRebuilt)
    assert "unmounted" in told.why
    studio.watch.wake.clear()
    studio.drop("a.jpg")
    studio.notices()
    assert studio.watch.unsettled == 1


def test_nothing_is_told_as_deleted_when_it_is_the_root_that_went_away(studio: Any) -> None:
    studio.drop("sub/a.jpg")
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    studio.watch.look_again(b"sub/a.jpg")
    studio.root.rename(studio.root.with_name("aside"))
    studio.now += 0.1
    studio.watch.tick(studio.now)  # it is not yet time to look at the root again
    assert studio.ledger.vanished == []
    studio.passes(1)
    assert studio.watch.is_away


def test_a_renamed_directory_is_followed(studio: Any) -> None:
    studio.drop("one/a.jpg")
    studio.begin(mode="events", settle_s=3, scan_interval_s=300)
    studio.passes(10)
    (studio.root / "one").rename(studio.root / "two")
    studio.notices()
    studio.passes(4)
    assert studio.ledger.vanished == [b"one/a.jpg"]
    assert studio.ledger.names == [b"one/a.jpg", b"two/a.jpg"]
    studio.watch.wake.clear()
    studio.drop("two/b.jpg")
    studio.notices()
    studio.passes(4)
    assert studio.ledger.names[-1] == b"two/b.jpg"


def test_polling_is_told_with_its_reason(studio: Any) -> None:
    studio.begin(mode="poll", scan_interval_s=30)
    studio.passes(100)
    (told,) = studio.reported(events.Polling)
    assert (told.why, told.interval_s) == ("the configuration says so", 30)


def test_the_version_is_that_of_the_file(studio: Any) -> None:
    path = studio.drop("a.jpg")
    studio.begin()
    studio.passes(10)
    found = path.stat()
    (_, version) = studio.ledger.added[0]
    assert version == replace(version, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


class OnLeave(Permit):
    """Leave as a test gives it."""

    def __init__(self) -> None:
        self.may_have = True
        self.new: bool = False
        self.told: list[str] = []

    def claim(self, folder: Folder) -> bool:
        del folder
        return self.may_have

    def arrived(self, folder: Folder) -> None:
        del folder
        self.told.append("arrived")

    def let_go(self, folder: Folder) -> None:
        del folder
        self.told.append("let go")

    def is_new(self, folder: Folder) -> bool:
        del folder
        return self.new

    def looked(self, folder: Folder) -> None:
        del folder
        self.told.append("looked")


def test_nothing_in_a_folder_of_another_process_is_looked_at_until_that_lets_go(studio: Any) -> None:
    studio.drop("a.jpg")
    permit = OnLeave()
    permit.may_have = False
    studio.begin(permit=permit)
    studio.passes(100)
    assert (studio.ledger.names, studio.watch.is_taken, studio.watch.is_open) == ([], True, False)
    assert studio.watch.is_at_rest
    permit.may_have = True
    studio.passes(10)
    assert (studio.ledger.names, studio.watch.is_taken, studio.watch.is_open) == ([b"a.jpg"], False, True)
    assert permit.told == ["arrived"]


@pytest.mark.parametrize("way", ["replaced", "away and back"])
def test_a_folder_that_comes_back_is_claimed_anew(studio: Any, way: str) -> None:
    permit = OnLeave()
    studio.drop("a.jpg")
    studio.begin(permit=permit)
    studio.passes(10)
    studio.root.rename(studio.root.with_name("old"))
    if way != "replaced":
        studio.passes(10)
        assert not studio.watch.is_open
    permit.may_have = False
    studio.root.mkdir()
    studio.drop("b.jpg")
    studio.passes(20)
    assert (studio.ledger.names, studio.ledger.vanished, studio.watch.is_taken) == ([b"a.jpg"], [], True)
    permit.may_have = True
    studio.passes(20)
    assert studio.ledger.names == [b"a.jpg", b"b.jpg"]


def test_a_folder_that_is_away_for_long_is_given_up(studio: Any) -> None:
    permit = OnLeave()
    studio.begin(permit=permit)
    studio.passes(10)
    studio.root.rmdir()
    studio.passes(500)
    assert "let go" not in permit.told
    studio.passes(200)
    assert "let go" in permit.told


def test_a_new_folder_is_shut_until_all_of_it_was_looked_at(studio: Any) -> None:
    permit = OnLeave()
    permit.new = True
    for number in range(5):
        studio.drop(f"{number}/a.jpg")
    studio.begin(permit=permit, settle_s=3)
    studio.passes(2)
    assert "looked" not in permit.told
    studio.passes(8)
    assert (len(studio.ledger.names), "looked" in permit.told, studio.watch.is_open) == (5, True, False)
    permit.new = False
    assert studio.watch.is_open


def test_a_copy_that_takes_long_keeps_no_new_folder_shut(studio: Any) -> None:
    permit = OnLeave()
    permit.new = True
    studio.drop("a.jpg")
    slow = studio.drop("slow.jpg", b"\xff\xd8\xff")
    studio.begin(permit=permit, settle_s=3)
    for number in range(40):
        slow.write_bytes(b"\xff\xd8\xff" + bytes(number))
        studio.touch(slow)
        studio.passes(1)
    assert "looked" in permit.told
