"""What is accepted and every documented message, typed from the documentation and not from the code."""

import hashlib
import io
import math

import pytest

from rembg_watch.sandbox import rules
from rembg_watch.sandbox.exchange import Upload

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def png(width: int, height: int) -> bytes:
    return PNG + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"


def upload(body: bytes, filename: str = "a.png", *, size_bytes: int | None = None) -> Upload:
    size = len(body) if size_bytes is None else size_bytes
    return Upload(filename=filename, file=io.BytesIO(body), size_bytes=size, sha256=hashlib.sha256(body).hexdigest())


DOCUMENTED_PARAMETERS = [
    ({"w": "abc"}, "w", "'w' must be an integer, got: 'abc'"),
    ({"h": "abc"}, "h", "'h' must be an integer, got: 'abc'"),
    ({"w": "-5"}, "w", "'w' must be at least 1, got: -5"),
    ({"w": "15000"}, "w", "'w' must be at most 10000, got: 15000"),
    ({"h": "10001"}, "h", "'h' must be at most 10000, got: 10001"),
    ({"angle": "ninety"}, "angle", "'angle' must be a number, got: 'ninety'"),
    ({"angle": "500"}, "angle", "'angle' must be between -360 and 360 degrees, got: 500.0"),
    ({"format": "gif"}, "format", "Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP"),
    (
        {"bg_color": "#12345"},
        "bg_color",
        "Invalid color format '#12345'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA",
    ),
    (
        {"mask": "true", "bg_color": "#fff"},
        "mask",
        "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other.",
    ),
]


@pytest.mark.parametrize(
    ("fields", "field", "message"), DOCUMENTED_PARAMETERS, ids=[str(r[0]) for r in DOCUMENTED_PARAMETERS]
)
def test_each_bad_parameter_gets_its_documented_message(fields: dict[str, str], field: str, message: str) -> None:
    _, problems = rules.read_wish(fields)
    assert [(p.field, p.message) for p in problems] == [(field, message)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "No image file provided. Please include an 'image' field in your form data."),
        (upload(png(1, 1), ""), "No file selected. Please choose an image file to upload."),
        (
            upload(png(1, 1), "setup.exe"),
            "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
        ),
        (
            upload(png(1, 1), "SETUP.EXE"),
            "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
        ),
        (upload(b"text", "a.jpg"), "File does not appear to be a valid image (invalid file signature)"),
        (upload(b"GIF89a......", "a.png"), "File does not appear to be a valid image (invalid file signature)"),
        (upload(b"", "a.jpg"), "Uploaded file is empty (0 bytes)."),
        (
            upload(png(1, 1), size_bytes=57_881_395),
            "File size (55.2 MB) exceeds the maximum allowed size of 50 MB.",
        ),
        (upload(png(12000, 10)), "Image width (12000px) exceeds the maximum allowed width of 10000px."),
        (upload(png(10, 15000)), "Image height (15000px) exceeds the maximum allowed height of 10000px."),
    ],
)
def test_each_bad_picture_gets_its_documented_message(image: Upload | None, message: str) -> None:
    assert [(p.field, p.message) for p in rules.check_image(image)] == [("image", message)]


@pytest.mark.parametrize(
    "image",
    [
        upload(png(10000, 10000)),
        upload(png(1, 1), "noending"),
        upload(png(1, 1), "lies.jpg"),
        upload(png(1, 1), "UPPER.PNG"),
        upload(png(1, 1), size_bytes=50 * 1024 * 1024),
        upload(b"\xff\xd8\xff\xe0 broken beyond", "a.jpg"),
    ],
    ids=["exactly 10000", "no ending", "PNG named jpg", "capitals", "exactly 50 MB", "header ends too soon"],
)
def test_what_the_documentation_allows_passes(image: Upload) -> None:
    assert rules.check_image(image) == []


def test_width_and_height_are_told_together() -> None:
    assert len(rules.check_image(upload(png(12000, 15000)))) == 2


def test_all_findings_come_together_in_one_fixed_order() -> None:
    fields = {"angle": "x", "bg_color": "?", "h": "0.5", "w": "-1", "format": "tiff", "mask": "true"}
    _, problems = rules.read_wish(fields)
    assert [p.field for p in problems] == ["format", "w", "h", "bg_color", "mask", "angle"]


def test_one_finding_is_plain_and_several_have_details() -> None:
    one = rules.refusal([rules.Problem("w", "first")])
    assert (one.status, one.body) == (400, b'{"error": "first", "status": 400}')
    two = rules.refusal([rules.Problem("w", "first"), rules.Problem("h", "second")])
    assert two.body == (
        b'{"error": "Multiple validation errors", "details": [{"field": "w", "message": "first"}, '
        b'{"field": "h", "message": "second"}], "status": 400}'
    )


def test_what_the_vendors_client_sends_by_default_is_taken() -> None:
    sent = {"exact_resize": "false", "w": "0", "h": "0", "mask": "false", "return_base64": "false", "expand": "true"}
    assert rules.read_wish(sent) == (rules.Wish(), [])


@pytest.mark.parametrize("text", ["webp", "WEBP", "WebP", " webp ", ""])
def test_the_format_is_taken_in_any_case(text: str) -> None:
    assert rules.read_wish({"format": text}) == (rules.Wish(format="WEBP"), [])


@pytest.mark.parametrize("text", ["jpg", "tif", "none", "webp2", "WE BP"])
def test_no_other_word_is_a_format(text: str) -> None:
    assert (
        rules.read_wish({"format": text})[1][0].message
        == f"Invalid format '{text}'. Allowed formats: PNG, JPEG, WEBP, BMP"
    )


@pytest.mark.parametrize(
    ("text", "side"), [("1", 1), ("10000", 10000), (" 800 ", 800), ("+5", 5), ("0", None), ("", None)]
)
def test_sides_within_the_limits_are_taken(text: str, side: int | None) -> None:
    assert rules.read_wish({"w": text}) == (rules.Wish(width=side), [])


@pytest.mark.parametrize("text", ["800.0", "1e3", "1_000", "٣", "0x10", "--5", "NaN", "9" * 4001, "5 5"])
def test_what_is_no_integer_is_told_as_such(text: str) -> None:
    assert rules.read_wish({"w": text})[1][0].message == f"'w' must be an integer, got: '{text}'"


@pytest.mark.parametrize(
    ("text", "angle"), [("0", 0.0), ("-360", -360.0), ("360", 360.0), ("12.5", 12.5), ("1e2", 100.0), ("", 0.0)]
)
def test_angles_within_the_limits_are_taken(text: str, angle: float) -> None:
    assert rules.read_wish({"angle": text}) == (rules.Wish(angle=angle), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nan", "'angle' must be a number, got: 'nan'"),
        ("inf", "'angle' must be between -360 and 360 degrees, got: inf"),
        ("-360.5", "'angle' must be between -360 and 360 degrees, got: -360.5"),
        ("1e999", "'angle' must be between -360 and 360 degrees, got: inf"),
        ("90°", "'angle' must be a number, got: '90°'"),
    ],
)
def test_odd_angles_are_refused(text: str, message: str) -> None:
    assert rules.read_wish({"angle": text})[1][0].message == message
    assert math.isfinite(rules.read_wish({"angle": text})[0].angle)


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#f00", (255, 0, 0, 255)),
        ("#f008", (255, 0, 0, 136)),
        ("#00ff00", (0, 255, 0, 255)),
        ("#0000FF80", (0, 0, 255, 128)),
        ("red", (255, 0, 0, 255)),
        ("RebeccaPurple", (102, 51, 153, 255)),
        ("", None),
    ],
)
def test_hex_colours_and_css_names_are_taken(text: str, color: tuple[int, ...] | None) -> None:
    assert rules.read_wish({"bg_color": text}) == (rules.Wish(bg_color=color), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["fff", "#ggg", "#12345", "#1234567", "rgb(1,2,3)", "hsl(0,100%,50%)", "notacolor", "#"]
)
def test_every_other_colour_gets_the_documented_message(text: str) -> None:
    message = rules.read_wish({"bg_color": text})[1][0].message
    assert message == f"Invalid color format '{text}'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA"


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False), ("maybe", False), ("", False)],
)
def test_flags_are_read_and_anything_else_keeps_the_default(text: str, value: bool) -> None:
    assert rules.read_wish({"mask": text})[0].mask is value


def test_expand_stays_on_unless_it_is_switched_off() -> None:
    assert rules.read_wish({"expand": "perhaps"})[0].expand is True
    assert rules.read_wish({"expand": "false"})[0].expand is False


def test_mask_goes_with_an_empty_colour() -> None:
    assert rules.read_wish({"mask": "true", "bg_color": ""})[1] == []


def test_the_error_table_holds_every_documented_message() -> None:
    messages = {message for _, _, message in rules.ERROR_TABLE}
    assert {message for _, _, message in DOCUMENTED_PARAMETERS} - messages <= {
        "'h' must be an integer, got: 'abc'",
        "'h' must be at most 10000, got: 10001",
    }
