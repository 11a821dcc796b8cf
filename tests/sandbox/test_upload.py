"""Form bodies, whole, broken and in pieces of any size."""

import hashlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rembg_watch.sandbox.upload import MAX_FIELD_BYTES, UploadReader


def form(files: dict[str, tuple[str, bytes]], data: dict[str, str] | None = None) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://sandbox/rmbg", files=files, data=data or {})
    return request.headers["content-type"], request.read()


@given(st.binary(max_size=4000), st.integers(1, 700))
def test_the_picture_arrives_whole_whatever_the_pieces(body: bytes, step: int) -> None:
    kind, sent = form({"image": ("ü b.jpg", body)}, {"w": "5", "bg_color": "#fff"})
    reader = UploadReader(kind)
    for start in range(0, len(sent), step):
        reader.feed(sent[start : start + step])
    image = reader.image()
    assert image is not None
    assert (image.file.read(), image.size_bytes, image.filename) == (body, len(body), "ü b.jpg")
    assert image.sha256 == hashlib.sha256(body).hexdigest()
    assert reader.fields == {"w": "5", "bg_color": "#fff"}
    reader.close()


def test_the_name_is_known_before_the_picture_has_arrived() -> None:
    kind, sent = form({"image": ("early.jpg", b"x" * 1000)})
    reader = UploadReader(kind)
    reader.feed(sent[:200])
    assert reader.filename == "early.jpg"
    assert reader.image() is not None
    reader.close()


def test_beyond_the_limit_bytes_are_counted_and_not_kept() -> None:
    kind, sent = form({"image": ("a.jpg", b"")})
    head, tail = sent.split(b"\r\n\r\n")
    reader = UploadReader(kind)
    reader.feed(head + b"\r\n\r\n")
    for _ in range(60):
        reader.feed(bytes(1024 * 1024))
    reader.feed(tail)
    image = reader.image()
    assert image is not None
    assert image.size_bytes == 60 * 1024 * 1024
    assert image.file.seek(0, 2) <= 52 * 1024 * 1024
    reader.close()


def test_an_image_without_a_file_name_is_a_field() -> None:
    sent = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ndata\r\n--b--\r\n'
    reader = UploadReader("multipart/form-data; boundary=b")
    reader.feed(sent)
    assert reader.image() is None
    assert reader.fields == {"image": "data"}


def test_a_file_name_may_be_empty() -> None:
    sent = b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n--b--\r\n'
    reader = UploadReader("multipart/form-data; boundary=b")
    reader.feed(sent)
    image = reader.image()
    assert image is not None
    assert image.filename == ""
    reader.close()


def test_of_two_pictures_the_first_counts() -> None:
    sent = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="%d.png"\r\n\r\n%d\r\n' % (i, i) for i in (1, 2)
    )
    reader = UploadReader("multipart/form-data; boundary=b")
    reader.feed(sent + b"--b--\r\n")
    image = reader.image()
    assert image is not None
    assert (image.filename, image.file.read()) == ("1.png", b"1")
    reader.close()


def test_a_long_field_is_cut() -> None:
    kind, sent = form({"image": ("a", b"")}, {"w": "9" * 200_000})
    reader = UploadReader(kind)
    reader.feed(sent)
    assert len(reader.fields["w"]) == MAX_FIELD_BYTES
    reader.close()


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=b",
        f"multipart/form-data; boundary={'b' * 5000}",
    ],
)
def test_a_body_that_is_no_form_holds_nothing(kind: str | None) -> None:
    reader = UploadReader(kind)
    reader.feed(b"anything")
    assert (reader.image(), reader.fields) == (None, {})


@given(st.binary(max_size=600))
def test_no_bytes_make_it_stumble(noise: bytes) -> None:
    reader = UploadReader("multipart/form-data; boundary=b")
    reader.feed(b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n' + noise)
    reader.feed(b"--b\r\n" + noise)
    reader.close()
