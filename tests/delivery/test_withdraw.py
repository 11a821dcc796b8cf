import hashlib
from pathlib import Path

import pytest

from rembg_watch.delivery.withdraw import withdraw
from rembg_watch.host.disk import Content, OutputUnavailableError

OURS = b"a cut-out"
CONTENT = Content(digest=hashlib.sha256(OURS).hexdigest(), size_bytes=len(OURS))


def test_a_cutout_of_ours_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.webp").write_bytes(OURS)
    assert withdraw(tmp_path, b"a/b.webp", CONTENT)
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("holds", [b"edited by a person", b"a cut-ouT", b""])
def test_what_is_not_ours_stays(tmp_path: Path, holds: bytes) -> None:
    (tmp_path / "b.webp").write_bytes(holds)
    assert not withdraw(tmp_path, b"b.webp", CONTENT)
    assert (tmp_path / "b.webp").read_bytes() == holds


def test_links_folders_and_nothing_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(OURS)
    (tmp_path / "link.webp").symlink_to("real")
    (tmp_path / "folder.webp").mkdir()
    for name in (b"link.webp", b"folder.webp", b"gone.webp", b"gone/x.webp"):
        assert not withdraw(tmp_path, name, CONTENT)
    assert (tmp_path / "link.webp").is_symlink()
    assert (tmp_path / "real").read_bytes() == OURS


def test_an_output_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputUnavailableError):
        withdraw(tmp_path / "away", b"b.webp", CONTENT)


def test_a_file_that_takes_its_place_at_the_last_moment_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rembg_watch.delivery import withdraw as module

    (tmp_path / "b.webp").write_bytes(OURS)
    real, calls = module.disk.claim, []

    def claim(*fds_and_names: object) -> None:
        if not calls:
            (tmp_path / "new").write_bytes(b"edited by a person")
            (tmp_path / "new").replace(tmp_path / "b.webp")
        calls.append(fds_and_names)
        real(*fds_and_names)  # type: ignore[arg-type]

    monkeypatch.setattr(module.disk, "claim", claim)
    assert not withdraw(tmp_path, b"b.webp", CONTENT)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"edited by a person"]
