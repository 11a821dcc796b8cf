"""Where the URLs are, and that hardly anything of them is shown."""

from pathlib import Path

import pytest

from rembg_watch.notify.urls import LONGEST_BYTES, Line, address, place, read


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("json://user:s3cret@studio.test:8080/s3cret?x=s3cret", "json://studio.test:8080"),
        ("mailtos://user:s3cret@gmail.com?to=s3cret", "mailtos://gmail.com"),
        ("jsons://[::1]:99/s3cret", "jsons://[::1]:99"),
        ("discord://s3cret/s3cret", "discord://..."),
        ("slack://s3cret/s3cret/s3cret", "slack://..."),
        ("ntfy://s3cret", "ntfy://..."),
        ("tgram://123:s3cret/55", "tgram://..."),
        ("https://hc-ping.com/s3cret", "https://hc-ping.com"),
        ("json://host:s3cret/", "json://..."),
        ("s3cret", "?"),
        ("json://[s3cret", "json://..."),
        ("s3c\x1bret://x", "?"),
        ("", "?"),
    ],
)
def test_of_a_url_only_what_is_no_secret_is_shown(url: str, shown: str) -> None:
    assert address(url) == shown
    assert Line(7, url).shown == f"{shown} (line 7)"
    assert "s3cret" not in Line(7, url).digest


def test_the_urls_are_read_a_line_each_with_the_number_of_the_line(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_bytes(b"\xef\xbb\xbf# who\r\n\r\n  json://a  \r\n\t# not json://b\njson://c")
    assert read(path) == [Line(3, "json://a"), Line(5, "json://c")]


def test_a_file_that_is_far_too_long_is_none_of_urls(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_bytes(b"x" * (LONGEST_BYTES + 1))
    with pytest.raises(OSError, match="far too long"):
        read(path)


def test_the_credential_wins_over_the_file(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert place(None, environ) is None
    assert place(Path("/file"), environ) == Path("/file")
    (tmp_path / "notify_urls").touch()
    assert place(Path("/file"), environ) == place(None, environ) == tmp_path / "notify_urls"
    assert place(None, {}) is None
