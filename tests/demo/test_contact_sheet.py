from pathlib import Path

from PIL import Image

from rembg_watch.demo.contact_sheet import Row, draw


def pair(tmp_path: Path, number: int, alpha: int) -> Row:
    source, cutout = tmp_path / f"{number}.jpg", tmp_path / f"{number}.webp"
    Image.new("RGB", (300, 200), (200, 10, 10)).save(source)
    Image.new("RGBA", (300, 200), (10, 10, 200, alpha)).save(cutout, lossless=True)
    return Row(source, [cutout], source.name)


def test_a_transparent_cutout_shows_the_checkerboard_and_an_opaque_one_its_colour(tmp_path: Path) -> None:
    clear = draw([pair(tmp_path, 1, alpha=0)], title="t", subtitle="s")
    solid = draw([pair(tmp_path, 2, alpha=255)], title="t", subtitle="s")
    middle = (32 + 240 + 16 + 120, 72 + 120)
    assert clear.getpixel(middle) in {(255, 255, 255), (222, 222, 226)}
    assert solid.getpixel(middle) == (10, 10, 200)


def test_the_sheet_grows_with_the_number_of_pairs(tmp_path: Path) -> None:
    pairs = [pair(tmp_path, number, alpha=128) for number in range(5)]
    assert draw(pairs, title="t", subtitle="s").height > 2 * draw(pairs[:2], title="t", subtitle="s").height


def test_a_sideways_phone_picture_is_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    picture = Image.new("RGB", (300, 100), (0, 0, 0))
    picture.save(tmp_path / "p.jpg", exif=exif)
    sheet = draw([Row(tmp_path / "p.jpg", [tmp_path / "p.jpg"], "p")], title="t", subtitle="s")
    top_middle = (32 + 120, 72 + 4)
    assert max(sheet.getpixel(top_middle)) < 30  # type: ignore[arg-type]
