"""One picture without the daemon: where it may go, how often it is tried, and nothing that was paid for lost."""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from rembg_watch.account.retry import MOST_TRIES
from rembg_watch.api.client import Client
from rembg_watch.api.errors import RembgError, ThrottledError
from rembg_watch.api.params import RemovalParams
from rembg_watch.cli.transfer import Lines
from rembg_watch.one_shot import NotSentHereError, OneShot, Options, Request, UndeliveredError, check_target
from rembg_watch.sandbox import Sandbox

HTTP_CALLS = "/rmbg"
KEY = "sandbox-key"


def removals(sandbox: Sandbox) -> list[Any]:
    return [one for one in sandbox.requests if one.path == HTTP_CALLS]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def desk(tmp_path: Path, spare: Path) -> Path:
    """The folder of the pictures."""
    place = tmp_path / "desk"
    place.mkdir()
    return place


@pytest.fixture
def picture(desk: Path) -> Path:
    path = desk / "a.jpg"
    Image.new("RGB", (60, 40), (190, 30, 40)).save(path)
    return path


# --- where it goes --------------------------------------------------------------------------------


def refusal(target: Path, source: Path | None, *, is_forced: bool = False) -> str:
    with pytest.raises(NotSentHereError) as caught:
        check_target(target, source, is_forced=is_forced)
    return str(caught.value)


def test_a_place_that_will_not_do_is_found_before_anything_is_sent(desk: Path, picture: Path) -> None:
    (desk / "there.webp").write_bytes(b"mine")
    (desk / "folder.webp").mkdir()
    (desk / "link.webp").symlink_to("there.webp")
    (desk / "itself.webp").symlink_to("a.jpg")
    os.link(picture, desk / "twin.webp")
    os.mkfifo(desk / "pipe.webp")
    assert "already exists and is left unchanged: --force" in refusal(desk / "there.webp", picture)
    assert "is a folder" in refusal(desk / "folder.webp", picture, is_forced=True)
    assert "not a regular file" in refusal(desk / "link.webp", picture, is_forced=True)
    assert "not a regular file" in refusal(desk / "pipe.webp", picture, is_forced=True)
    assert "not a regular file" in refusal(Path("/dev/null"), picture, is_forced=True)
    for itself in ("a.jpg", "itself.webp", "twin.webp"):
        assert "the picture itself" in refusal(desk / itself, picture, is_forced=True), itself
    assert "no such file" in refusal(desk / "missing" / "x.webp", picture)
    assert "not a directory" in refusal(picture / "x.webp", picture)
    assert "file name too long" in refusal(desk / ("x" * 300 + ".webp"), picture)
    check_target(desk / "there.webp", picture, is_forced=True)
    check_target(desk / "new.webp", None, is_forced=False)
    assert not [name for name in files(desk) if name.endswith(".part")], "the trial leaves nothing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_must_not_be_written_is_found_before(desk: Path, picture: Path) -> None:
    (desk / "locked").mkdir(mode=0o500)
    assert "permission denied" in refusal(desk / "locked" / "x.webp", picture)


# --- what was paid for ----------------------------------------------------------------------------


class Meddling(httpx.BaseTransport):
    """Lets the sandbox answer, and does something before the answer arrives."""

    def __init__(self, sandbox: Sandbox, meddle: Callable[[], object]) -> None:
        self._inner = sandbox.transport()
        self._meddle = meddle

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        self._meddle()
        return response


Send = Callable[..., Any]


@pytest.fixture
def send(desk: Path, tmp_path: Path) -> Send:
    """Send out one request in process; what is slept through is listed in ``send.slept``."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    slept: list[float] = []

    def act(
        request: Request,
        *,
        meddle: Callable[[], object] = lambda: None,
        sandbox: Sandbox | None = None,
        params: RemovalParams | None = None,
        **options: bool,
    ) -> Any:
        asked = sandbox or Sandbox(KEY, engine="flat")
        with Client(KEY, transport=Meddling(asked, meddle)) as client:
            one_shot = OneShot(
                client=client,
                params=params or RemovalParams(),
                options=Options(**options),
                scratch=scratch,
                display=Lines(),
                sleep=slept.append,
                chance=lambda: 0.0,
            )
            return one_shot.send(request)

    act.slept = slept  # type: ignore[attr-defined]
    return act


def kept_where(send: Send, request: Request, **how: Any) -> UndeliveredError:
    with pytest.raises(UndeliveredError) as caught:
        send(request, **how)
    assert f"was paid for and is kept in {caught.value.path}" in str(caught.value)
    return caught.value


def test_an_answer_whose_folder_vanished_is_kept_and_named(send: Send, desk: Path, picture: Path) -> None:
    (desk / "out").mkdir()
    kept = kept_where(send, Request(source=picture, target=desk / "out" / "a.webp"), meddle=(desk / "out").rmdir)
    assert opened(kept.path.read_bytes()).size == (60, 40)
    assert "no such file or directory" in str(kept)


def test_a_file_that_came_meanwhile_is_not_overwritten(send: Send, desk: Path, picture: Path) -> None:
    target = desk / "a.webp"
    kept = kept_where(send, Request(source=picture, target=target), meddle=lambda: target.write_bytes(b"mine"))
    assert target.read_bytes() == b"mine"
    assert opened(kept.path.read_bytes()).format == "WEBP"
    assert files(desk) == {"a.jpg", "a.webp"}, "no staging file is left"


def test_an_answer_that_is_not_what_was_asked_for_is_kept_and_not_delivered(
    send: Send, desk: Path, picture: Path
) -> None:
    sandbox = Sandbox(KEY, engine="flat", faults=["wrong_format"])
    kept_where(send, Request(source=picture, target=desk / "a.webp"), sandbox=sandbox)
    assert files(desk) == {"a.jpg"}


def test_a_forced_place_gets_the_new_cutout_whole(send: Send, desk: Path, picture: Path) -> None:
    (desk / "a.webp").write_bytes(b"older")
    send(Request(source=picture, target=desk / "a.webp"), is_forced=True)
    assert opened((desk / "a.webp").read_bytes()).size == (60, 40)


def test_a_forced_place_is_overwritten_as_it_is_in_that_moment(send: Send, desk: Path, picture: Path) -> None:
    (desk / "a.webp").write_bytes(b"older")
    send(
        Request(source=picture, target=desk / "a.webp"),
        is_forced=True,
        meddle=lambda: (desk / "a.webp").write_bytes(b"newer, and as forced as the older"),
    )
    assert opened((desk / "a.webp").read_bytes()).format == "WEBP"


def test_nothing_is_left_behind_by_a_delivery(send: Send, desk: Path, spare: Path, picture: Path) -> None:
    delivered = send(Request(source=picture, target=desk / "a.webp"))
    assert (delivered.verified.width, delivered.verified.height) == (60, 40)
    assert files(spare) == set()
    assert files(desk) == {"a.jpg", "a.webp"}
    assert (desk / "a.webp").stat().st_mode & 0o777 == 0o666 & ~_umask(), "as any program would write it"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_is_left_behind_by_a_failure(send: Send, desk: Path, spare: Path, picture: Path) -> None:
    with pytest.raises(RembgError):
        send(Request(source=picture, target=desk / "a.webp"), sandbox=Sandbox(KEY, faults=["status:status=500"]))
    assert files(spare) == set()
    assert files(desk) == {"a.jpg"}


def test_too_quick_is_waited_out_and_sent_again(send: Send, desk: Path, picture: Path) -> None:
    sandbox = Sandbox(KEY, engine="flat", faults=["too_quick:count=3"])
    send(Request(source=picture, target=desk / "a.webp"), sandbox=sandbox)
    assert send.slept == [2.0, 4.0, 8.0]  # type: ignore[attr-defined]
    assert sandbox.billed == 1


def test_too_quick_is_not_asked_for_ever(send: Send, desk: Path, picture: Path) -> None:
    sandbox = Sandbox(KEY, engine="flat", faults=["too_quick"])
    with pytest.raises(ThrottledError):
        send(Request(source=picture, target=desk / "a.webp"), sandbox=sandbox)
    assert len(removals(sandbox)) == MOST_TRIES


def test_an_answer_that_broke_off_is_not_asked_for_twice(send: Send, desk: Path, picture: Path) -> None:
    sandbox = Sandbox(KEY, engine="flat", faults=["truncated"])
    with pytest.raises(RembgError):
        send(Request(source=picture, target=desk / "a.webp"), sandbox=sandbox)
    assert len(removals(sandbox)) == 1


def test_an_interruption_after_sending_says_that_it_may_have_been_charged(
    send: Send, desk: Path, spare: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(Request(source=picture, target=desk / "a.webp"), meddle=interrupt)
    assert "interrupted after it was sent: it may have been charged" in capsys.readouterr().err
    assert files(spare) == set()


def test_an_answer_without_any_place_is_found_before_anything_is_sent(
    send: Send, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # it states no size, so there is room, and takes no file
    sandbox = Sandbox(KEY, engine="flat")
    with pytest.raises(NotSentHereError, match="no file for the answer can be created: no such file"):
        send(Request(source=picture, target=None), sandbox=sandbox)
    assert not sandbox.requests
