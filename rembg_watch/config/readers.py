"""
How values are read that many settings share: numbers, paths, addresses, patterns.
"""

import os
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rembg_watch.config.foreign import why_foreign


def _number(value: object) -> object:
    """Refuse true and false, which Python counts as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  # pydantic turns ValueError alone into a finding
    return value


def path_of(value: object) -> object:
    """Refuse what no path can be and make the rest absolute."""
    if not isinstance(value, str | Path):
        raise ValueError("must be a path in quotes")  # noqa: TRY004  # as above
    if not str(value).strip() or str(value) == ".":
        raise ValueError("must name a path, not nothing")
    if "\0" in str(value):
        raise ValueError("must not contain a NUL character")
    if (why := why_foreign(str(value))) is not None:
        raise ValueError(why)
    try:
        return Path(_on_disk(value)).expanduser().absolute()
    except RuntimeError as error:  # "~nobody"
        raise ValueError("begins with a home folder that is not known") from error


def _on_disk(value: str | Path) -> str:
    """Spell a path of the file as the disk does: in UTF-8, whatever the locale of this process says."""
    return os.fsdecode(str(value).encode("utf-8", "surrogateescape"))


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    return parts


def _url(value: str) -> str:
    """Refuse URLs that would carry the key in clear, or to nowhere."""
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with https:// and names a host")
    if "@" in parts.netloc:
        raise ValueError("must not carry a name or password: it would be written to the log")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("would send the API key unencrypted: use https:// (http:// is for this machine alone)")
    return value


def _pattern(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if value.startswith("/"):
        raise ValueError("must be relative to the input folder: leave out the / at its beginning")
    return value


def _folder_name(value: str) -> str:
    if not value.strip() or not value.isprintable() or value != value.strip():
        raise ValueError("must be a printable name without spaces around it")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Credits = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=1_000_000_000)]
FilePath = Annotated[Path, BeforeValidator(path_of)]
Url = Annotated[str, AfterValidator(_url)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class Section(BaseModel):
    """One table of the file: frozen, no unknown keys, no values in its error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
