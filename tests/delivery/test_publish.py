import errno
import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from rembg_watch.delivery.publish import (
    LEAST_ROOM_BYTES,
    Claim,
    Staged,
    answer_room_bytes,
    discard,
    enough_room,
    is_ours,
    publish,
    stage,
    sweep_staging,
    try_out,
)
from rembg_watch.host import disk
from rembg_watch.host.disk import Content, OutputUnavailableError, TargetRefusedError, TargetTakenError

BYTES = b"the cutout" * 100
OLDER = b"the older cutout"


class Crash(BaseException):
    """The power went; nothing cleans up after it."""


def content_of(data: bytes) -> Content:
    return Content(digest=sha256(data).hexdigest(), size_bytes=len(data))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "cutouts"
    made.mkdir()
    return made


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer"
    path.write_bytes(BYTES)
    return path


def put(root: Path, name: bytes, data: bytes) -> Path:
    path = disk.full_path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def failing(code: int) -> disk.Way:
    def way(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return way


def test_a_folder_is_tried_out_without_a_trace(root: Path) -> None:
    try_out(root)
    assert list(root.iterdir()) == []


def test_a_folder_that_is_not_there_is_found_out_by_a_trial(root: Path) -> None:
    with pytest.raises(OutputUnavailableError) as caught:
        try_out(root / "gone")
    assert caught.value.code == "missing"


def test_a_staged_cutout_is_not_to_be_seen_under_its_name_and_a_published_one_is(root: Path, answer: Path) -> None:
    staged = stage(answer, root, b"a/b/IMG_1.webp")
    assert not (root / "a/b/IMG_1.webp").exists()
    published = publish(staged)
    assert files(root) == {"a/b/IMG_1.webp": BYTES}
    found = (root / "a/b/IMG_1.webp").stat()
    assert published.claim is Claim.NEW
    assert published.content == content_of(BYTES)
    assert (published.mtime_ns, published.inode) == (found.st_mtime_ns, found.st_ino)


def test_a_cutout_has_the_mode_that_the_umask_says(root: Path, answer: Path) -> None:
    answer.chmod(0o600)
    before = os.umask(0o027)
    try:
        publish(stage(answer, root, b"a/x.webp"))
    finally:
        os.umask(before)
    assert (root / "a/x.webp").stat().st_mode & 0o777 == 0o640
    assert (root / "a").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("größe/süß foto.webp".encode(), id="umlauts and spaces"),
        pytest.param(b"\xff\xfe/\x80\x81.webp", id="not UTF-8"),
        pytest.param(b"n" * 250 + b".webp", id="255 bytes"),
        pytest.param(b"line\nbreak.webp", id="a line break"),
        pytest.param(b"/".join([b"d" * 200] * 25) + b"/x.webp", id="a path longer than PATH_MAX"),
    ],
)
def test_any_name_that_a_disk_can_hold_is_delivered(root: Path, answer: Path, target: bytes) -> None:
    published = publish(stage(answer, root, target))
    assert published.target == target
    assert is_ours(root, target, content_of(BYTES))


@pytest.mark.parametrize("target", [b"/etc/x", b"../x", b"a/../../x", b"a//x", b"./x"])
def test_a_target_that_is_no_plain_relative_path_is_a_mistake_of_the_program(
    root: Path, answer: Path, target: bytes
) -> None:
    with pytest.raises(ValueError, match="not a plain relative path"):
        stage(answer, root, target)


def test_a_file_of_somebody_else_is_never_overwritten_and_the_next_name_is_taken(root: Path, answer: Path) -> None:
    put(root, b"a/IMG_1.webp", b"mine")
    staged = stage(answer, root, b"a/IMG_1.webp")
    with pytest.raises(TargetTakenError) as caught:
        publish(staged)
    assert caught.value.code == "taken"
    assert publish(staged.under(b"a/IMG_1.png.webp")).claim is Claim.NEW
    assert files(root) == {"a/IMG_1.webp": b"mine", "a/IMG_1.png.webp": BYTES}


def test_a_staged_cutout_cannot_be_aimed_at_another_directory(root: Path, answer: Path) -> None:
    with pytest.raises(ValueError, match="is not beside"):
        stage(answer, root, b"a/x.webp").under(b"b/x.webp")


def test_a_discarded_cutout_leaves_nothing(root: Path, answer: Path) -> None:
    staged = stage(answer, root, b"x.webp")
    discard(staged)
    discard(staged)
    assert files(root) == {}


@pytest.mark.parametrize("kind", ["directory", "dangling link", "link to our bytes", "pipe"])
def test_whatever_else_stands_under_the_name_stays(root: Path, answer: Path, tmp_path: Path, kind: str) -> None:
    place = root / "x.webp"
    {
        "directory": place.mkdir,
        "dangling link": lambda: place.symlink_to(tmp_path / "nowhere"),
        "link to our bytes": lambda: place.symlink_to(answer),
        "pipe": lambda: os.mkfifo(place),
    }[kind]()
    before = place.lstat()
    with pytest.raises(TargetTakenError):
        publish(stage(answer, root, b"x.webp"), replace=content_of(BYTES))
    assert place.lstat().st_ino == before.st_ino


def test_our_own_older_output_is_replaced(root: Path, answer: Path) -> None:
    put(root, b"x.webp", OLDER)
    assert publish(stage(answer, root, b"x.webp"), replace=content_of(OLDER)).claim is Claim.REPLACED
    assert files(root) == {"x.webp": BYTES}


def test_an_output_that_a_person_edited_is_theirs(root: Path, answer: Path) -> None:
    put(root, b"x.webp", OLDER[::-1])
    with pytest.raises(TargetTakenError):
        publish(stage(answer, root, b"x.webp"), replace=content_of(OLDER))
    assert (root / "x.webp").read_bytes() == OLDER[::-1]


def test_an_older_output_that_was_taken_away_makes_a_new_one(root: Path, answer: Path) -> None:
    assert publish(stage(answer, root, b"x.webp"), replace=content_of(OLDER)).claim is Claim.NEW


def test_the_very_bytes_under_the_name_count_as_delivered(root: Path, answer: Path) -> None:
    put(root, b"x.webp", BYTES)
    inode = (root / "x.webp").stat().st_ino
    published = publish(stage(answer, root, b"x.webp"))
    assert (published.claim, published.inode) == (Claim.ADOPTED, inode)
    assert files(root) == {"x.webp": BYTES}


@pytest.mark.parametrize("is_link_inside", [False, True], ids=["out of the root", "within the root"])
def test_nothing_is_written_through_a_link(root: Path, answer: Path, tmp_path: Path, is_link_inside: bool) -> None:
    elsewhere = (root if is_link_inside else tmp_path) / "elsewhere"
    elsewhere.mkdir()
    (root / "a").symlink_to(elsewhere)
    with pytest.raises(TargetRefusedError) as caught:
        stage(answer, root, b"a/b/x.webp")
    assert caught.value.code == "blocked"
    assert list(elsewhere.iterdir()) == []


def test_a_link_put_in_after_staging_is_not_followed_either(root: Path, answer: Path, tmp_path: Path) -> None:
    staged = stage(answer, root, b"a/x.webp")
    (root / "a").rename(tmp_path / "moved")
    (root / "a").symlink_to(tmp_path / "moved")
    with pytest.raises(TargetRefusedError):
        publish(staged)
    assert not (tmp_path / "moved/x.webp").exists()


def test_the_root_itself_may_be_a_link_since_a_person_chose_it(root: Path, answer: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    publish(stage(answer, tmp_path / "link", b"x.webp"))
    assert files(root) == {"x.webp": BYTES}


@pytest.mark.parametrize(
    ("target", "code"),
    [(b"file/x.webp", "blocked"), (b"n" * 256, "name_too_long"), (b"n" * 256 + b"/x.webp", "name_too_long")],
)
def test_an_impossible_target_concerns_one_picture_alone(root: Path, answer: Path, target: bytes, code: str) -> None:
    put(root, b"file", b"mine")
    with pytest.raises(TargetRefusedError) as caught:
        publish(stage(answer, root, target))
    assert caught.value.code == code
    assert files(root) == {"file": b"mine"}


@pytest.mark.parametrize(("make", "code"), [(False, "missing"), (True, "not_a_folder")])
def test_a_root_that_is_no_folder_is_not_made_one(answer: Path, tmp_path: Path, make: bool, code: str) -> None:
    root = tmp_path / "share"
    if make:
        root.write_bytes(b"")
    with pytest.raises(OutputUnavailableError) as caught:
        stage(answer, root, b"x.webp")
    assert caught.value.code == code
    assert "goes on by itself" in caught.value.reason
    assert not root.is_dir()


def test_a_missing_answer_is_not_blamed_on_the_output(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stage(tmp_path / "none", root, b"x.webp")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, "no_space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read_only"),
        (errno.EIO, "io"),
        (errno.ESTALE, "stale"),
        (errno.EACCES, "permission"),
        (errno.EXDEV, "other_device"),
        (errno.EHOSTDOWN, "offline"),
        (errno.ENOTCONN, "offline"),
        (errno.EMFILE, "files"),
    ],
)
def test_each_trouble_of_the_disk_has_a_word_a_remedy_and_leaves_nothing_behind(
    root: Path, answer: Path, code: int, expected: str
) -> None:
    with pytest.raises(OutputUnavailableError) as caught:
        publish(stage(answer, root, b"x.webp"), ways=(failing(code),))
    assert caught.value.code == expected
    assert caught.value.path == root / "x.webp"
    assert os.strerror(code) in caught.value.reason
    assert files(root) == {}


def test_a_sentence_about_a_name_that_is_not_utf8_can_be_printed(root: Path, answer: Path) -> None:
    put(root, b"\xff.webp", b"mine")
    with pytest.raises(TargetTakenError) as caught:
        publish(stage(answer, root, b"\xff.webp"))
    assert r"\xff.webp" in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("way", disk.WAYS, ids=lambda way: way.__name__)
def test_no_way_of_claiming_a_name_overwrites_or_leaves_anything_else(root: Path, answer: Path, way: disk.Way) -> None:
    put(root, b"taken.webp", b"mine")
    staged = stage(answer, root, b"taken.webp")
    with pytest.raises(TargetTakenError):
        publish(staged, ways=(way,))
    publish(staged.under(b"free.webp"), ways=(way,))
    assert files(root) == {"taken.webp": b"mine", "free.webp": BYTES}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_that_does_not_know_one_way_is_asked_for_the_next(root: Path, answer: Path, code: int) -> None:
    publish(stage(answer, root, b"x.webp"), ways=(failing(code), failing(code), disk.by_placeholder))
    assert files(root) == {"x.webp": BYTES}


def test_a_placeholder_goes_when_the_rename_over_it_fails(root: Path, answer: Path) -> None:
    staged = stage(answer, root, b"x.webp")
    discard(staged)
    with pytest.raises(OutputUnavailableError):
        publish(staged, ways=(disk.by_placeholder,))
    assert files(root) == {}


def test_a_link_whose_answer_was_lost_on_the_way_is_no_collision(root: Path, answer: Path) -> None:
    staged = stage(answer, root, b"x.webp")
    os.link(root / os.fsdecode(staged.name), root / "x.webp")
    assert publish(staged, ways=(disk.by_link,)).claim is Claim.NEW
    assert files(root) == {"x.webp": BYTES}


def linked_then_crashed(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    os.link(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    raise Crash


def claimed_then_crashed(from_fd: int, from_name: bytes, to_fd: int, to_name: bytes) -> None:
    os.close(os.open(to_name, os.O_CREAT | os.O_EXCL, dir_fd=to_fd))
    raise Crash


def deliver(answer: Path, root: Path, step: disk.Step = disk.no_step, older: bytes | None = None) -> None:
    replace = None if older is None else content_of(older)
    publish(stage(answer, root, b"a/x.webp", step=step), replace=replace, step=step)


STEPS = ["directory made", "staged", Claim.NEW, "directory synced"]


@pytest.mark.parametrize("older", [None, OLDER], ids=["first export", "re-export"])
@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_a_crash_at_any_step_leaves_no_half_made_file_and_the_next_attempt_delivers_once(
    root: Path, answer: Path, number: int, older: bytes | None
) -> None:
    if older is not None:
        put(root, b"a/x.webp", older)
    seen: list[str] = []

    def step(name: str) -> None:
        seen.append(name)
        if len(seen) > number:
            raise Crash

    with pytest.raises(Crash):
        deliver(answer, root, step, older)
    place = root / "a/x.webp"
    assert not place.exists() or place.read_bytes() in {BYTES, older}
    deliver(answer, root, older=older)
    sweep_staging(root, older_than_s=-1)
    assert files(root) == {"a/x.webp": BYTES}


def test_the_steps_are_those_that_are_crashed_at(root: Path, answer: Path) -> None:
    seen: list[str] = []
    deliver(answer, root, seen.append)
    assert seen == STEPS


def test_a_crash_between_link_and_unlink_is_adopted(root: Path, answer: Path) -> None:
    with pytest.raises(Crash):
        publish(stage(answer, root, b"a/x.webp"), ways=(linked_then_crashed,))
    deliver(answer, root)
    assert sweep_staging(root, older_than_s=-1) == 1
    assert files(root) == {"a/x.webp": BYTES}


def test_a_crash_after_a_placeholder_costs_its_name_but_no_cutout(root: Path, answer: Path) -> None:
    with pytest.raises(Crash):
        publish(stage(answer, root, b"x.webp"), ways=(claimed_then_crashed,))
    staged = stage(answer, root, b"x.webp")
    with pytest.raises(TargetTakenError):
        publish(staged)
    publish(staged.under(b"x.png.webp"))
    sweep_staging(root, older_than_s=-1)
    assert files(root) == {"x.webp": b"", "x.png.webp": BYTES}


def test_the_sweep_takes_only_old_staging_files_of_ours(root: Path, answer: Path, tmp_path: Path) -> None:
    old = stage(answer, root, b"a/old.webp")
    young = stage(answer, root, b"a/young.webp")
    os.utime(root / "a" / os.fsdecode(old.name), (1000, 1000))
    kept = [b"a/.hidden.part", b"a/IMG.part", b"a/" + young.name[:-1], b"a/x" + young.name]
    for name in kept:
        os.utime(put(root, name, b"mine"), (1000, 1000))
    outside = tmp_path / "outside"
    outside.mkdir()
    os.utime(put(outside, old.name, b"mine"), (1000, 1000))
    (root / "link").symlink_to(outside)
    assert sweep_staging(root, now=lambda: 1000 + 3601) == 1
    assert set(files(root)) == {os.fsdecode(name) for name in [*kept, b"a/" + young.name]}
    assert len(files(outside)) == 1


def test_the_sweep_of_a_root_that_is_offline_finds_nothing(tmp_path: Path) -> None:
    assert sweep_staging(tmp_path / "none") == 0


def test_the_sweep_looks_behind_a_root_that_is_a_link(root: Path, answer: Path, tmp_path: Path) -> None:
    stage(answer, root, b"x.webp")
    (tmp_path / "link").symlink_to(root)
    assert sweep_staging(tmp_path / "link", older_than_s=-1) == 1


def test_many_workers_that_want_one_name_get_one_each_and_no_cutout_is_lost(root: Path, tmp_path: Path) -> None:
    workers = 16
    start = threading.Barrier(workers)
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            answer = tmp_path / str(number)
            answer.write_bytes(b"%d" % number)
            start.wait()
            staged: Staged = stage(answer, root, b"a/b/0.webp")
            for place in range(workers):
                try:
                    publish(staged.under(b"a/b/%d.webp" % place))
                    return
                except TargetTakenError:
                    continue
            raise AssertionError("no name was left")
        except Exception as error:  # noqa: BLE001  # a thread's error must fail the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(files(root).values()) == sorted(b"%d" % number for number in range(workers))


@pytest.mark.parametrize(
    ("found", "is_ours_still"), [(BYTES, True), (BYTES[:-1], False), (BYTES[::-1], False), (b"", False), (None, False)]
)
def test_an_output_is_ours_while_it_holds_what_was_delivered(
    root: Path, found: bytes | None, is_ours_still: bool
) -> None:
    if found is not None:
        os.utime(put(root, b"a/x.webp", found), (1, 1))  # touched, as a backup does
    assert is_ours(root, b"a/x.webp", content_of(BYTES)) is is_ours_still


def test_an_output_is_not_ours_behind_a_link_or_below_a_file(root: Path, answer: Path) -> None:
    (root / "x.webp").symlink_to(answer)
    put(root, b"file", b"")
    assert not is_ours(root, b"x.webp", content_of(BYTES))
    assert not is_ours(root, b"file/x.webp", content_of(BYTES))


def test_whether_an_output_is_ours_cannot_be_said_while_the_share_is_offline(tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError):
        is_ours(tmp_path / "none", b"x.webp", content_of(BYTES))


def test_room_is_what_is_free_without_the_reserve(root: Path) -> None:
    disk_now = os.statvfs(root)
    free = disk_now.f_bavail * disk_now.f_frsize
    assert enough_room(root, 1, 0)
    assert enough_room(root, 0, free // 2)
    assert not enough_room(root, 0, free * 2)
    assert not enough_room(root, free * 2, 0)


def test_an_answer_may_need_more_room_than_its_picture_and_never_little() -> None:
    assert answer_room_bytes(0) == LEAST_ROOM_BYTES == 16 * 1024 * 1024
    assert answer_room_bytes(30_000_000) == 120_000_000


def test_room_on_a_disk_that_states_no_size_is_taken_for_granted() -> None:
    assert os.statvfs("/proc").f_blocks == 0
    assert enough_room(Path("/proc"), 1 << 40, 1 << 40)


def test_room_in_a_folder_that_is_not_there_is_a_reason_to_wait(tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError) as caught:
        enough_room(tmp_path / "none", 1, 0)
    assert caught.value.code == "missing"
