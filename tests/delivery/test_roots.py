import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.delivery.roots import ROOTS, Root, Roots, look, why_away
from rembg_watch.host.disk import OutputUnavailableError
from rembg_watch.host.mounts import Mount, filesystem_id

DISK = Root(
    kind="ext",
    filesystem="uuid-1",
    point="/",
    inside="/srv/out",
    device=2049,
    inode=77,
    boot="monday",
    is_volatile=False,
    held=True,
)
SHARE = replace(DISK, kind="nfs", filesystem="nas:/x", point="/mnt/nas", inside="/out", device=50, inode=9)
MEMORY = replace(DISK, kind="tmpfs", filesystem="", point="/mnt/ram", inside="/out", device=60, is_volatile=True)
BARE = replace(DISK, inside="/mnt/nas/out", inode=1234, held=False)


class Notes:
    """The ledger's notes, which outlive what is remembered in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.written = 0

    def note(self, name: str) -> Any:
        return self.kept.get(name)

    def set_note(self, name: str, value: Any, *, is_durable: bool = True) -> None:
        self.kept[name] = value
        self.written += 1


def roots(notes: Notes) -> Roots:
    return Roots(notes)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(None, BARE, id="never seen"),
        pytest.param(DISK, replace(DISK, boot="tuesday"), id="a plain restart"),
        pytest.param(DISK, replace(DISK, boot="tuesday", device=2065), id="the disk has another number"),
        pytest.param(DISK, replace(DISK, held=False, boot="tuesday"), id="a person took everything away"),
        pytest.param(DISK, replace(DISK, filesystem="", boot="tuesday"), id="no UUID this time"),
        pytest.param(DISK, replace(DISK, point="/srv/out", held=False), id="a service's sandbox mounts it on itself"),
        pytest.param(DISK, replace(DISK, kind="", filesystem="", point="", inside=""), id="a table that is hidden"),
        pytest.param(DISK, replace(DISK, inode=78), id="another folder that holds something"),
        pytest.param(SHARE, replace(SHARE, device=51, boot="tuesday"), id="a share mounted anew"),
        pytest.param(replace(SHARE, kind="cifs"), replace(SHARE, kind="cifs", inode=3, held=False), id="numbers drift"),
        pytest.param(
            replace(SHARE, kind="fuse.sshfs"), replace(SHARE, kind="fuse.sshfs", inode=3, held=False), id="sshfs"
        ),
        pytest.param(MEMORY, replace(MEMORY, boot="tuesday", device=61, inode=2, held=False), id="memory after a boot"),
        pytest.param(MEMORY, replace(MEMORY, boot="tuesday", is_there=False, inode=0), id="memory, missing by a boot"),
        pytest.param(
            replace(DISK, held=False), replace(DISK, is_there=False), id="missing, and nothing was ever in it"
        ),
        pytest.param(replace(DISK, held=False), SHARE, id="a share comes over an empty folder"),
        pytest.param(
            replace(DISK, inside="/", filesystem="", inode=2),
            replace(DISK, inside="/", filesystem="", inode=2, held=False, boot="tuesday"),
            id="the top of a disk without a UUID, emptied",
        ),
    ],
)
def test_it_is_there(before: Root | None, now: Root) -> None:
    assert why_away(before, now) == ""


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(DISK, replace(DISK, is_there=False, inode=0, held=False), id="missing"),
        pytest.param(SHARE, BARE, id="the bare place of a share"),
        pytest.param(SHARE, replace(BARE, held=True), id="the bare place, which holds something"),
        pytest.param(replace(SHARE, held=False), BARE, id="the bare place of a share in which nothing was"),
        pytest.param(replace(SHARE, held=False), replace(BARE, is_there=False), id="missing on the bare place"),
        pytest.param(SHARE, replace(SHARE, kind="autofs", filesystem=""), id="an automount that does not answer"),
        pytest.param(SHARE, replace(SHARE, filesystem="nas:/other"), id="another share"),
        pytest.param(DISK, replace(DISK, filesystem="uuid-2"), id="another disk"),
        pytest.param(DISK, replace(DISK, inode=78, held=False), id="an empty folder in its place"),
        pytest.param(DISK, replace(DISK, inode=78, held=False, boot="tuesday"), id="an empty folder after a restart"),
        pytest.param(MEMORY, replace(MEMORY, device=61), id="other memory in the same boot"),
        pytest.param(MEMORY, BARE, id="the bare place of memory"),
        pytest.param(MEMORY, replace(BARE, boot="tuesday"), id="the bare place of memory after a boot"),
        pytest.param(
            replace(DISK, inside="/", filesystem="", inode=2),
            replace(DISK, inside="/", filesystem="", inode=2, held=False, device=2065),
            id="another disk's empty top, without UUIDs",
        ),
    ],
)
def test_it_is_away(before: Root, now: Root) -> None:
    assert why_away(before, now)


kinds = st.sampled_from(["ext", "xfs", "btrfs", "nfs", "cifs", "fuse.sshfs", "vfat", "tmpfs", "overlay", ""])
facts = st.builds(
    Root,
    kind=kinds,
    filesystem=st.sampled_from(["", "one", "two"]),
    point=st.sampled_from(["/", "/mnt/nas"]),
    inside=st.sampled_from(["/", "/out", "/mnt/nas/out"]),
    device=st.integers(1, 3),
    inode=st.integers(1, 3),
    boot=st.sampled_from(["monday", "tuesday"]),
    is_volatile=st.just(False),
    held=st.booleans(),
).map(lambda root: replace(root, is_volatile=root.kind == "tmpfs"))


@given(facts, st.booleans(), st.integers(1, 99))
def test_a_plain_restart_never_holds_anything_up(root: Root, held: bool, device: int) -> None:
    """Whatever it lies on: after a boot devices have other numbers, and memory is empty and anew."""
    after = replace(root, boot="wednesday", device=root.device if root.inside == "/" else device)
    after = replace(after, inode=99, held=False) if root.is_volatile else after
    assert why_away(root, after) == ""


@given(facts, facts)
def test_what_is_missing_and_held_something_is_away_unless_it_was_in_memory(before: Root, now: Root) -> None:
    missing = replace(now, is_there=False, inode=0, held=False)
    if before.held and not before.is_volatile:
        assert why_away(before, missing)


ACTS = ["missing", "bare", "back", "emptied", "restart", "use"]


@given(st.lists(st.tuples(st.sampled_from(["out", "done"]), st.sampled_from(ACTS)), max_size=12))
def test_states_and_restarts_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, str]]
) -> None:
    """A model of two folders that come and go: away is what held something and is missing or replaced by nothing."""
    top = tmp_path_factory.mktemp("model")
    notes, real = Notes(), {"out", "done"}
    now = roots(notes)
    held: set[str] = set()
    for name in real:
        (top / name).mkdir()
        assert now.why_away(top / name) == ""
    for name, move in moves:
        place, kept = top / name, top / f"{name} kept"
        if move in ("missing", "bare") and name in real:
            place.rename(kept)
            real.discard(name)
        if move == "bare":
            place.mkdir(exist_ok=True)
        if move == "back" and name not in real:
            shutil.rmtree(place, ignore_errors=True)
            kept.rename(place)
            real.add(name)
        if move == "use" and now.why_away(place) == "" and name in real:
            (place / "x").touch()
            now.used(place)
            held.add(name)
        if move == "emptied" and name in real:
            (place / "x").unlink(missing_ok=True)
        if move == "restart":
            now = roots(notes)
        if name not in real and name not in held:
            now.why_away(place)
            break  # an empty folder was taken for one in which nothing was: from here on it is another story
        assert bool(now.why_away(place)) is (name not in real and name in held), (name, move)
    shutil.rmtree(top)


def test_a_folder_is_written_down_once_and_costs_one_look_afterwards(tmp_path: Path) -> None:
    notes = Notes()
    now = roots(notes)
    for _ in range(3):
        now.check(tmp_path)
    assert notes.written == 1
    now.used(tmp_path)
    now.used(tmp_path)
    assert notes.written <= 2


def test_what_is_away_is_told_with_what_to_do_and_taken_when_a_person_says_so(tmp_path: Path) -> None:
    place, notes = tmp_path / "out", Notes()
    place.mkdir()
    now = roots(notes)
    now.check(place)
    now.used(place)
    place.rename(tmp_path / "kept")
    place.mkdir()
    now = roots(notes)
    with pytest.raises(OutputUnavailableError, match="rembg-watch retry") as caught:
        now.check(place)
    assert caught.value.code == "away"
    assert now.trust(datetime.now(UTC) - timedelta(hours=1), [place]) == []  # that was asked before anybody knew
    now = roots(notes)
    assert now.why_away(place)
    assert now.trust(datetime.now(UTC), [tmp_path]) == []
    assert now.trust(datetime.now(UTC), [place]) == [place]
    now.check(place)
    roots(notes).check(place)


def test_names_that_are_not_utf_8_are_remembered(tmp_path: Path) -> None:
    place, notes = tmp_path / os.fsdecode(b"caf\xe9"), Notes()
    place.mkdir()
    now = roots(notes)
    now.check(place)
    now.used(place)
    place.rmdir()
    assert roots(notes).why_away(place)


def test_a_note_of_another_version_is_forgotten(tmp_path: Path) -> None:
    notes = Notes()
    notes.kept[ROOTS] = {str(tmp_path): {"colour": "red"}}
    assert roots(notes).why_away(tmp_path) == ""


def test_staging_files_and_trash_do_not_count_as_held(tmp_path: Path) -> None:
    for name in (".rembg-0.part", "lost+found", "Thumbs.db"):
        (tmp_path / name).touch()
    assert not look(tmp_path).held
    (tmp_path / "x.webp").touch()
    assert look(tmp_path).held


@pytest.mark.parametrize(
    ("kind", "source", "named"),
    [
        ("nfs4", "nas:/x", "nas:/x"),
        ("cifs", "//nas/x", "//nas/x"),
        ("fuse.rclone", "remote:x", "remote:x"),
        ("zfs", "tank/studio", "tank/studio"),
        ("ext4", "/dev/nowhere", ""),
        ("tmpfs", "share", ""),
        ("overlay", "overlay", ""),
    ],
)
def test_only_what_lasts_names_a_file_system(kind: str, source: str, named: str) -> None:
    assert filesystem_id(Mount(point=Path("/x"), kind=kind, source=source, device="0:50")) == named
