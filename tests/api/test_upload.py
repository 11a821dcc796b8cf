import base64
import email
import email.policy
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rembg_watch.api.errors import InvalidRequestError, NotSentError
from rembg_watch.api.upload import (
    BLOCK_BYTES,
    LARGEST_PICTURE_BYTES,
    LAST_BYTES,
    Base64,
    BodyCutOffError,
    Image,
    MultipartBody,
    Progress,
    Source,
    open_source,
)

PNG = b"\x89PNG\r\n\x1a\n"


def parts_of(body: MultipartBody, sent: bytes) -> list[tuple[str, str | None, bytes]]:
    message = email.message_from_bytes(
        b"Content-Type: " + body.content_type.encode() + b"\r\n\r\n" + sent, policy=email.policy.HTTP
    )
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


class ReadOnly:
    """The least that counts as a file: no seek, no fileno, and short reads."""

    def __init__(self, data: bytes, at_once: int = 1000) -> None:
        self._file = io.BytesIO(data)
        self._at_once = at_once
        self.reads = 0

    def read(self, size: int, /) -> bytes:
        self.reads += 1
        return self._file.read(min(size, self._at_once))


@pytest.mark.parametrize("size", [12, 100, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_the_body_is_as_long_as_it_says_and_carries_the_picture_first(size: int) -> None:
    data = PNG + os.urandom(size - len(PNG))
    with open_source(data) as source:
        body = MultipartBody(source, {"w": "5", "format": "webp"})
        sent = b"".join(body)
    assert len(sent) == body.length_bytes
    assert body.is_handed_over
    assert parts_of(body, sent) == [("image", "image.png", data), ("w", None, b"5"), ("format", None, b"webp")]


def sources(tmp_path: Path, data: bytes) -> list[tuple[str, Callable[[], Image]]]:
    path = tmp_path / "shot.png"
    path.write_bytes(data)
    encoded = base64.encodebytes(data).decode()
    return [
        ("path", lambda: path),
        ("text path", lambda: str(path)),
        ("bytes", lambda: data),
        ("bytearray", lambda: bytearray(data)),
        ("memoryview", lambda: memoryview(data)),
        ("base64", lambda: Base64(encoded)),
        ("data url", lambda: Base64(f"data:image/png;base64,{encoded}")),
        ("BytesIO", lambda: io.BytesIO(data)),
        ("reader without seek", lambda: ReadOnly(data)),
    ]


def test_a_picture_may_come_in_any_form(tmp_path: Path) -> None:
    data = PNG + os.urandom(200_000)
    for name, image in sources(tmp_path, data):
        with open_source(image()) as source:
            assert source.size_bytes == len(data), name
            assert b"".join(source.blocks()) == data, name


def test_an_open_file_is_read_from_where_it_stands_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"prefix" + PNG + b"rest")
    with path.open("rb") as file:
        file.seek(6)
        with open_source(file) as source:
            assert source.name == "a.png"
            assert b"".join(source.blocks()) == PNG + b"rest"
        assert not file.closed


def test_a_pipe_is_copied_first_since_it_cannot_say_how_long_it_is() -> None:
    data = PNG + os.urandom(300_000)
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(reading, "rb") as pipe, open_source(pipe) as source:
        assert source.size_bytes == len(data)
        assert b"".join(source.blocks()) == data
    feeder.join()


def test_a_file_that_only_reads_is_read_once_from_front_to_back(tmp_path: Path) -> None:
    """Whoever hashes in ``read`` must see each byte once, although size and signature are looked at before."""

    class Watched(io.FileIO):
        seen = b""

        def read(self, size: int | None = -1, /) -> bytes:
            block = super().read(size)
            assert block is not None
            self.seen += block
            return block

    path = tmp_path / "a.png"
    path.write_bytes(PNG + os.urandom(2 * BLOCK_BYTES))
    with Watched(path) as file, open_source(file) as source:
        assert b"".join(source.blocks()) == file.seen == path.read_bytes()


@pytest.mark.parametrize(
    ("data", "filename", "codes"),
    [
        pytest.param(b"", None, {"picture_empty", "picture_type_unsupported"}, id="empty"),
        pytest.param(b"", "a.png", {"picture_empty"}, id="empty with a good name"),
        pytest.param(b"hello, world", "a.png", {"picture_corrupt"}, id="text"),
        pytest.param(PNG, "a.exe", {"picture_type_unsupported"}, id="another ending"),
        pytest.param(b"hello", "a.exe", {"picture_type_unsupported", "picture_corrupt"}, id="two at once"),
    ],
)
def test_what_the_api_would_refuse_is_refused_here_with_all_reasons(
    data: bytes, filename: str | None, codes: set[str]
) -> None:
    words = {
        "picture_empty": "Uploaded file is empty (0 bytes).",
        "picture_corrupt": "File does not appear to be a valid image (invalid file signature)",
        "picture_type_unsupported": "is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
    }
    with pytest.raises(InvalidRequestError) as caught, open_source(data, filename=filename):
        pass
    assert caught.value.code in codes
    assert len(caught.value.details) == len(codes)
    assert all(any(words[code] in one.message for one in caught.value.details) for code in codes)
    assert caught.value.field == "image"


def test_a_picture_of_more_than_50_mb_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(LARGEST_PICTURE_BYTES + 1)
    with pytest.raises(InvalidRequestError, match=r"File size \(50.0 MB\) exceeds") as caught, open_source(path):
        pass
    assert caught.value.code == "picture_too_large"
    endless = ReadOnly(PNG + bytes(LARGEST_PICTURE_BYTES + 5 * BLOCK_BYTES), at_once=BLOCK_BYTES)
    with pytest.raises(InvalidRequestError, match="exceeds"), open_source(endless):
        pass


def test_the_largest_picture_passes(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(LARGEST_PICTURE_BYTES)
    with open_source(path) as source:
        assert source.size_bytes == LARGEST_PICTURE_BYTES


def test_checks_can_be_left_to_the_api() -> None:
    with open_source(b"hello", filename="a.exe", is_checked=False) as source:
        body = MultipartBody(source, {})
        assert parts_of(body, b"".join(body)) == [("image", "a.exe", b"hello")]
    with open_source(b"", is_checked=False) as source:
        body = MultipartBody(source, {"format": "webp"})
        sent = b"".join(body)
        assert len(sent) == body.length_bytes
        assert body.is_handed_over
        assert parts_of(body, sent) == [("image", "image.bin", b""), ("format", None, b"webp")]


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(Path("/nonexistent/a.png"), "picture_unreadable", id="no such file"),
        pytest.param("/", "picture_unreadable", id="a folder"),
        pytest.param("a\0b.png", "picture_unreadable", id="a name that cannot be"),
        pytest.param(Base64("not base64!"), "picture_not_base64", id="no base64"),
        pytest.param(Base64("ümlaut"), "picture_not_base64", id="letters outside of ASCII"),
        pytest.param(io.StringIO("text"), "picture_unreadable", id="a text file"),
        pytest.param(5, "picture_not_readable", id="a number"),
        pytest.param(None, "picture_not_readable", id="nothing"),
    ],
)
def test_what_cannot_be_read_is_said_so(image: Image, code: str) -> None:
    with pytest.raises(NotSentError) as caught, open_source(image):
        pass
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        pytest.param("IMG_1.JPG", "IMG_1.JPG", id="plain"),
        pytest.param('a"b\r\nc.png', "a_b__c.png", id="quotes and line breaks"),
        pytest.param("schön 1.png", "sch_n 1.png", id="letters outside of ASCII"),
        pytest.param("bad\udcff.png", "bad_.png", id="bytes that are not UTF-8"),
        pytest.param("../../x.png", ".._.._x.png", id="a way out"),
        pytest.param("x" * 300 + ".png", "x" * 100 + ".png", id="very long"),
        pytest.param("noending", "noending.png", id="no ending"),
        pytest.param("", "image.png", id="no name"),
    ],
)
def test_a_name_is_sent_so_that_no_parser_stumbles(name: str, sent: str) -> None:
    with open_source(PNG + b"rest", filename=name) as source:
        body = MultipartBody(source, {})
        assert parts_of(body, b"".join(body))[0][1] == sent


class Steps:
    """Write down what happens in which order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.sent_bytes = 0

    def drain(self, body: MultipartBody) -> None:
        for block in body:
            self.log.append("block")
            self.sent_bytes += len(block)


@pytest.mark.parametrize("size", [20, BLOCK_BYTES, 5 * BLOCK_BYTES])
def test_the_hook_runs_once_just_before_the_last_block(size: int) -> None:
    steps = Steps()
    with open_source(PNG + bytes(size)) as source:
        body = MultipartBody(source, {"format": "webp"}, on_last_byte=lambda: steps.log.append("hook"))
        steps.drain(body)
    assert steps.log.count("hook") == 1
    assert steps.log[-2:] == ["hook", "block"]


@pytest.mark.parametrize("size", [20, 5 * BLOCK_BYTES])
def test_a_hook_that_raises_keeps_the_last_block_back(size: int) -> None:
    class StopHereError(Exception):
        pass

    def hook() -> None:
        raise StopHereError

    steps = Steps()
    with open_source(PNG + bytes(size)) as source:
        body = MultipartBody(source, {}, on_last_byte=hook)
        with pytest.raises(BodyCutOffError):
            steps.drain(body)
    assert isinstance(body.failure, StopHereError)
    assert not body.is_handed_over
    assert steps.sent_bytes < body.length_bytes - len("\r\n--") - 32


def test_a_block_that_is_not_taken_is_not_counted_as_handed_over() -> None:
    with open_source(PNG + bytes(LAST_BYTES)) as source:
        body = MultipartBody(source, {})
        blocks = iter(body)
        taken = [next(blocks), next(blocks)]
        assert sum(map(len, taken)) == body.length_bytes
        assert not body.is_handed_over
        assert next(blocks, None) is None
        assert body.is_handed_over


def test_progress_is_told_from_nothing_to_all() -> None:
    told: list[Progress] = []
    moved: list[tuple[int, int]] = []
    with open_source(PNG + bytes(3 * BLOCK_BYTES)) as source:
        body = MultipartBody(
            source, {}, on_progress=told.append, on_handed_over=lambda block, left: moved.append((block, left))
        )
        blocks = [len(block) for block in body]
    assert [one.loaded_bytes for one in told] == [sum(blocks[:n]) for n in range(len(blocks) + 1)]
    assert {one.total_bytes for one in told} == {body.length_bytes}
    assert (told[0].fraction, told[-1].fraction) == (0.0, 1.0)
    assert moved[-1] == (blocks[-1], 0)


@pytest.mark.parametrize(("change", "name"), [(-1, "shorter"), (1, "longer"), (9 * BLOCK_BYTES, "much longer")])
def test_a_picture_that_changes_its_size_meanwhile_never_leaves_whole(change: int, name: str) -> None:
    data = PNG + bytes(2 * BLOCK_BYTES)
    file = io.BytesIO(data + bytes(max(change, 0)))
    source = Source("a.png", len(data) - min(change, 0), file.read(BLOCK_BYTES), file)
    hooked: list[str] = []
    body = MultipartBody(source, {}, on_last_byte=lambda: hooked.append(name))
    steps = Steps()
    with pytest.raises(BodyCutOffError):
        steps.drain(body)
    assert steps.sent_bytes < body.length_bytes, "one that grows for ever is not followed"
    assert isinstance(body.failure, NotSentError)
    assert body.failure.code == "picture_changed"
    assert body.failure.retryable
    assert hooked == []


def test_a_disk_error_in_mid_picture_is_a_picture_that_was_not_sent() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2 * BLOCK_BYTES:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with open_source(Failing(PNG + bytes(5 * BLOCK_BYTES)), filename="a.png") as source:
        body = MultipartBody(source, {})
        with pytest.raises(BodyCutOffError):
            list(body)
    assert isinstance(body.failure, NotSentError)
    assert str(body.failure) == "The picture a.png cannot be read: Input/output error."


def test_a_base64_picture_does_not_print_itself() -> None:
    assert repr(Base64("AAAA" * 1000)) == "Base64()"


def test_a_body_is_sent_again_from_its_beginning_and_progress_never_goes_back(tmp_path: Path) -> None:
    data = PNG + os.urandom(3 * BLOCK_BYTES)
    file = io.BytesIO(b"before" + data)
    file.seek(6)
    told: list[Progress] = []
    with open_source(file) as source:
        body = MultipartBody(source, {"w": "5"}, on_progress=told.append)
        blocks = iter(body)
        first = [next(blocks), next(blocks), next(blocks)]
        assert body.can_be_sent_again
        body.rewind()
        sent = b"".join(body)
        assert sent.startswith(b"".join(first))
        assert parts_of(body, sent) == [("image", "image.png", data), ("w", None, b"5")]
        assert not body.can_be_sent_again
    assert [one.loaded_bytes for one in told] == sorted(one.loaded_bytes for one in told)


def test_what_cannot_go_back_is_not_sent_again(tmp_path: Path) -> None:
    class OneWay(ReadOnly):
        def fileno(self) -> int:
            return descriptor

    path = tmp_path / "a.png"
    path.write_bytes(PNG + bytes(3 * BLOCK_BYTES))
    with open_source(ReadOnly(path.read_bytes())) as spooled:
        assert MultipartBody(spooled, {}).can_be_sent_again
    with path.open("rb") as file:
        descriptor = file.fileno()
        with open_source(OneWay(path.read_bytes())) as source:
            assert not MultipartBody(source, {}).can_be_sent_again


def test_a_file_that_fails_to_go_back_is_a_picture_that_was_not_sent() -> None:
    file = io.BytesIO(PNG + bytes(BLOCK_BYTES))
    with open_source(file) as source:
        body = MultipartBody(source, {})
        file.close()
        with pytest.raises(NotSentError, match="cannot be read"):
            body.rewind()


@pytest.mark.parametrize(
    ("says", "log", "is_let_go"),
    [
        pytest.param([True], ["asked"], False, id="left before the hook"),
        pytest.param([False, True], ["asked", "hook", "asked"], True, id="left in the hook"),
        pytest.param([False, False], ["asked", "hook", "asked"], True, id="still there"),
    ],
)
def test_the_other_side_is_looked_at_on_both_sides_of_the_hook(
    says: list[bool], log: list[str], is_let_go: bool
) -> None:
    seen: list[str] = []
    answers = iter(says)

    def is_stopped() -> bool:
        seen.append("asked")
        return next(answers)

    with open_source(PNG + bytes(5000)) as source:
        body = MultipartBody(source, {}, on_last_byte=lambda: seen.append("hook"), is_stopped=is_stopped)
        list(body)
    assert seen == log
    assert body.is_let_go is is_let_go
    assert body.can_be_sent_again is not is_let_go
