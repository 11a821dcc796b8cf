"""What a source says is in its cut-out; and whatever is written about a picture later costs nothing."""

import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.jobs import State
from rembg_watch.pictures.metadata import Keep
from rembg_watch.report import events
from tests.life import Crash, Studio
from tests.pictures.test_carrying import IPTC, PACKET, SRGB, exif_of, photoshop, segment

WORDS = PACKET.replace(b"tiff:Orientation", b"tiff:NoOrientation")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.make(tmp_path)


def drop(studio: Studio, name: str, *, says: str = "Stuhl", orientation: int = 1, colour: str = "red") -> None:
    picture = Image.new("RGB", (40, 30), colour)
    picture.paste("white", (3, 3, 30, 9))
    out = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rpartition(".")[2]]
    extra = {"xmp": WORDS.replace(b"Stuhl", says.encode())} if kind != "PNG" else {}
    picture.save(out, kind, exif=exif_of(orientation=orientation), dpi=(300, 300), icc_profile=SRGB, **extra)
    data = out.getvalue()
    if kind == "JPEG":
        data = data[:20] + segment(0xED, photoshop(IPTC.replace(b"Stuhl", says.encode()))) + data[20:]
    path = studio.root / "in" / name
    path.write_bytes(data.replace(b"Stuhl\0", says.encode()[:5].ljust(5) + b"\0"))


def said(studio: Studio, name: str = "a.webp") -> str:
    with Image.open(studio.root / "out" / name) as picture:
        return str(picture.getexif().get(0x010E)).strip()


@pytest.mark.parametrize("format_", [Format.WEBP, Format.PNG, Format.JPEG])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_cutout_says_what_its_source_says(tmp_path: Path, name: str, format_: Format) -> None:
    studio = Studio.make(tmp_path, params=RemovalParams(format=format_))
    drop(studio, name, orientation=6)
    with studio.live() as life:
        life.find()
        life.work()
        [job] = life.ledger.jobs()
    (cutout,) = studio.outputs()
    with Image.open(studio.root / "out" / cutout) as picture:
        exif = picture.getexif()
        assert (exif[0x010E], exif[0x8298], exif[0x0112]) == ("Stuhl", "(c) Anna", 1)
        assert not exif.get_ifd(0x8825), "where it was taken is nobody's business"
        assert picture.size == (30, 40)
        assert picture.info["icc_profile"] == SRGB
    data = studio.outputs()[cutout]
    assert job.standing == (sha256(data).hexdigest(), len(data))
    assert job.answer_digest != job.published_digest


def test_a_bmp_is_delivered_as_it_came(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, params=RemovalParams(format=Format.BMP))
    drop(studio, "a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
        [job] = life.ledger.jobs()
    assert job.standing == (job.answer_digest, job.answer_bytes)


@pytest.mark.parametrize("format_", [Format.WEBP, Format.PNG, Format.JPEG, Format.BMP])
@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
@pytest.mark.parametrize("keep", [Keep.ALL, Keep.NONE])
def test_a_new_caption_costs_nothing_and_comes_into_the_cutout(
    tmp_path: Path, name: str, format_: Format, keep: Keep
) -> None:
    studio = Studio.make(tmp_path, params=RemovalParams(format=format_), metadata=keep)
    drop(studio, name, orientation=8)
    with studio.live() as life:
        life.find()
        life.work()
    for says in ("Tisch", "Sofas", "Regal"):
        drop(studio, name, says=says, orientation=8)
        with studio.live() as life:
            life.find()
            life.work()
        (cutout,) = studio.outputs()
        if format_ is not Format.BMP:
            assert said(studio, cutout) == (says if keep is Keep.ALL else "None")
            assert b"Stuhl" not in studio.outputs()[cutout]
    assert studio.sandbox.billed == 1
    assert len(studio.reported(events.Reused)) == 3


def test_a_new_caption_comes_into_the_cutout_where_originals_are_moved(tmp_path: Path) -> None:
    studio = Studio.make(tmp_path, after="move", done=tmp_path / "done")
    for says in ("Stuhl", "Tisch", "Sofas"):
        drop(studio, "a.jpg", says=says)
        with studio.live() as life:
            life.find()
            life.work()
    assert said(studio) == "Sofas"
    assert studio.sandbox.billed == 1


@pytest.mark.parametrize("step", ["spooled", "staged", "published", "recorded", "directory synced"])
def test_a_crash_while_a_caption_is_renewed_leaves_one_cutout_and_costs_nothing(studio: Studio, step: str) -> None:
    drop(studio, "a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    drop(studio, "a.jpg", says="Tisch")
    studio.die_at = lambda name: name == step
    with studio.live() as life:
        life.find()
        try:
            life.work()
        except Crash:
            assert step != "spooled"
        else:
            assert step == "spooled", "nothing was called"
    studio.die_at = lambda _name: False
    with studio.live() as life:
        life.recover()
        life.find()
        life.work()
        assert set(life.states().values()) == {State.DONE}
    assert list(studio.outputs()) == ["a.webp"]
    assert said(studio) == "Tisch"
    assert studio.sandbox.billed == 1


def test_another_pixel_profile_or_orientation_is_another_picture(studio: Studio) -> None:
    for change in ({}, {"colour": "blue"}, {"orientation": 3}):
        drop(studio, "a.jpg", **change)  # type: ignore[arg-type]
        with studio.live() as life:
            life.find()
            life.work()
    assert studio.sandbox.billed == 3


def test_what_earlier_versions_paid_for_is_not_paid_for_again(studio: Studio) -> None:
    """They named a content by all bytes of the source, and put the answer into the output as it came."""
    drop(studio, "a.jpg")
    data = (studio.root / "in/a.jpg").read_bytes()
    older = sha256(f"{sha256(data).hexdigest()}\nas it is\n{studio.recipe.options}".encode()).hexdigest()
    with studio.live() as life:
        life.change(recipes={"f": replace(studio.recipe, metadata=Keep.NONE)})
        life.find()
        life.work()
        [job] = life.ledger.jobs()
        life.ledger._store.write(  # type: ignore[attr-defined]
            lambda connection: connection.exec_driver_sql(
                "UPDATE jobs SET content_key = ?, published_digest = NULL, published_bytes = NULL, answer_digest = ?, "
                "answer_bytes = ?",
                (older, *job.standing),
            )
        )
    (studio.root / "in/copy.jpg").write_bytes(data)
    with studio.live() as life:
        life.find()
        life.work()
    assert sorted(studio.outputs()) == ["a.webp", "copy.webp"]
    assert said(studio, "copy.webp") == "Stuhl"
    assert studio.sandbox.billed == 1


def test_an_answer_that_an_earlier_version_left_in_the_spool_serves_a_copy(studio: Studio) -> None:
    drop(studio, "a.jpg")
    data = (studio.root / "in/a.jpg").read_bytes()
    older = sha256(f"{sha256(data).hexdigest()}\nas it is\n{studio.recipe.options}".encode()).hexdigest()
    studio.die_at = lambda step: step == "verified"
    with studio.live() as life:
        life.find()
        with pytest.raises(Crash):
            life.work()
    studio.die_at = lambda _step: False
    with studio.live() as life:
        [job] = life.ledger.jobs()
        life.ledger._store.write(  # type: ignore[attr-defined]
            lambda connection: connection.exec_driver_sql("UPDATE jobs SET content_key = ?", (older,))
        )
        (studio.root / "spool" / str(job.content_key)).rename(studio.root / "spool" / older)
        life.recover()
        (studio.root / "in/copy.jpg").write_bytes(data)
        life.find()
        life.process(life.claim()[0])
        life.work()
        assert life.states() == {"a.jpg": State.DONE, "copy.jpg": State.DONE}
    assert studio.sandbox.billed == 1


def test_a_cutout_that_a_person_has_edited_stays_and_the_picture_is_paid_for_anew(studio: Studio) -> None:
    drop(studio, "a.jpg")
    with studio.live() as life:
        life.find()
        life.work()
    (studio.root / "out/a.webp").write_bytes(b"edited")
    drop(studio, "a.jpg", says="Tisch")
    with studio.live() as life:
        life.find()
        life.work()
    assert studio.outputs()["a.webp"] == b"edited"
    assert said(studio, "a.jpg.webp") == "Tisch"
    assert studio.sandbox.billed == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_comment_is_free_in_the_same_file_and_may_tell_two_files_apart(studio: Studio, kind: str) -> None:
    def put(name: str, comment: str) -> None:
        out = io.BytesIO()
        info = PngInfo()
        info.add_text("of its own", comment)
        extra = {"comment": comment} if kind == "JPEG" else {"pnginfo": info}
        Image.new("RGB", (40, 30), "red").save(out, kind, **extra)
        (studio.root / "in" / name).write_bytes(out.getvalue())

    for name, comment in [("a.jpg", "one"), ("a.jpg", "two"), ("a.jpg", "three")]:
        put(name, comment)
        with studio.live() as life:
            life.find()
            life.work()
    assert studio.sandbox.billed == 1
    put("b.jpg", "four")
    with studio.live() as life:
        life.find()
        life.work()
    assert studio.sandbox.billed == 2
