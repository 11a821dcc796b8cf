import base64
import errno
import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from rembg_watch.api.cutout import Cutout, Sink, TempCutout, sink_for, temporary_file
from rembg_watch.api.errors import Charge, NoAnswerError, NotSentError

DATA = b"some picture" * 1000


def finished(sink: Sink) -> Cutout:
    return sink.cutout(content_type="image/png", request_id="r", rate_limit=None, elapsed_s=1.5)


def test_an_answer_without_a_destination_is_in_the_cutout() -> None:
    with sink_for(None) as sink:
        sink.write(DATA)
        sink.write(b"!")
    cutout = finished(sink)
    assert cutout.content == DATA + b"!"
    assert cutout.size_bytes == len(DATA) + 1
    assert cutout.sha256 == hashlib.sha256(DATA + b"!").hexdigest()
    assert base64.b64decode(cutout.base64()) == DATA + b"!"
    assert "some picture" not in repr(cutout)


def test_a_path_stands_whole_at_the_end_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "cut.png"
    target.write_bytes(b"old")
    with sink_for(target) as sink:
        sink.write(DATA)
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [target]
    assert finished(sink).path == target
    assert finished(sink).read() == DATA


def test_a_path_is_untouched_when_the_answer_breaks_off(tmp_path: Path) -> None:
    target = tmp_path / "cut.png"
    target.write_bytes(b"old")

    def break_off() -> None:
        with sink_for(str(target)) as sink:
            sink.write(DATA)
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_to_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    with (
        pytest.raises(NotSentError, match="cannot be written to: No such file") as caught,
        sink_for(tmp_path / "a" / "b"),
    ):
        pass
    assert caught.value.code == "destination_not_writable"


def test_an_open_file_gets_the_answer_and_stays_open() -> None:
    file = io.BytesIO()
    with sink_for(file) as sink:
        sink.write(DATA)
    assert file.getvalue() == DATA
    cutout = finished(sink)
    assert (cutout.content, cutout.path) == (None, None)
    with pytest.raises(ValueError, match="your own file"):
        cutout.read()


class Failing(io.BytesIO):
    def write(self, block: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Closed(io.BytesIO):
    def write(self, block: object, /) -> int:
        raise ValueError("I/O operation on closed file.")


@pytest.mark.parametrize(("file", "words"), [(Failing(), "No space left on device"), (Closed(), "closed file")])
def test_a_full_disk_is_told_as_paid_and_not_stored(file: io.BytesIO, words: str) -> None:
    with pytest.raises(NoAnswerError, match=words) as caught, sink_for(file) as sink:
        sink.write(DATA)
    assert caught.value.charge is Charge.YES
    assert caught.value.code == "answer_not_stored"
    assert isinstance(caught.value.__cause__, OSError | ValueError)


def test_a_target_that_became_a_folder_meanwhile_is_told_as_paid_and_not_stored(tmp_path: Path) -> None:
    target = tmp_path / "cut.png"

    def come_too_late() -> None:
        with sink_for(target) as sink:
            sink.write(DATA)
            target.mkdir()

    with pytest.raises(NoAnswerError) as caught:
        come_too_late()
    assert caught.value.charge is Charge.YES
    assert list(tmp_path.iterdir()) == [target]


def test_an_unbuffered_file_that_takes_little_at_a_time_gets_everything() -> None:
    class Slow(io.BytesIO):
        def write(self, block: bytes, /) -> int:  # type: ignore[override]
            return super().write(block[:7])

    file = Slow()
    with sink_for(file) as sink:
        sink.write(DATA)
    assert file.getvalue() == DATA
    assert finished(sink).size_bytes == len(DATA)


def test_saving_writes_whole_or_not_at_all(tmp_path: Path) -> None:
    with sink_for(None) as sink:
        sink.write(DATA)
    first = finished(sink).save(tmp_path / "one.png")
    assert first.read_bytes() == DATA
    with sink_for(first) as again:
        again.write(DATA[:100])
    assert finished(again).save(str(tmp_path / "two.png")).read_bytes() == DATA[:100]
    with pytest.raises(OSError, match="No such file"):
        finished(sink).save(tmp_path / "none" / "three.png")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_a_temporary_file_is_readable_by_nobody_else_and_goes_away() -> None:
    with temporary_file(".png") as (file, path):
        file.write(DATA)
    assert path.suffix == ".png"
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    cutout = Cutout(path=path, content_type="image/png", size_bytes=len(DATA), sha256="")
    with TempCutout(cutout, path) as given:
        assert given == path
    assert not path.exists()
    TempCutout(cutout, path).cleanup()


def test_a_temporary_file_does_not_outlive_a_failure() -> None:
    made: list[Path] = []

    def break_off() -> None:
        with temporary_file(".png") as (file, path):
            made.append(path)
            file.write(DATA)
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert [path.exists() for path in made] == [False]


def test_a_temporary_folder_that_is_not_there_is_found_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(NotSentError) as caught, temporary_file(".png"):
        pass
    assert caught.value.code == "destination_not_writable"
