"""
Settings of whatever tells people and machines how it goes: log, figures, notices, the page.
"""

import re
from datetime import time
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from rembg_watch.config.readers import FilePath, Real, Section, Whole, _split


def _textfile(value: object) -> object:
    if Path(str(value)).suffix != ".prom":
        raise ValueError('must end in ".prom": a textfile collector reads no other file')
    return value


class MetricsSettings(Section):
    """Figures for Prometheus, written every 15 s where the extra `metrics` is installed."""

    textfile: Annotated[FilePath | None, BeforeValidator(_textfile)] = Field(
        default=None,
        description=(
            "Where they are written, on a local disk. Left out: metrics.prom beside the ledger, and under systemd\n"
            "also in /run/rembg-watch, where every user may read it."
        ),
        examples=["/var/lib/prometheus/node-exporter/rembg-watch.prom"],
    )


def _or_none(value: object) -> object:
    """Take nothing between the quotes as nothing at all."""
    return None if value == "" else value


def _ping_url(value: object) -> object:
    """Refuse what cannot be asked for; the sentence never repeats it, since whoever knows it can ask in our place."""
    if isinstance(value, str) and value:
        parts = _split(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a URL that begins with https:// and names a host")
    elif value is not None and not isinstance(value, str | SecretStr):
        raise ValueError("must be a URL in quotes")
    return value or None


_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _time(value: str) -> time | None:
    found = _TIME.fullmatch(value)
    return time(int(found[1]), int(found[2])) if found else None


def _digest(value: str) -> str:
    if value and _time(value) is None:
        raise ValueError('must be a time such as "18:00", or "" for no digest')
    return value


def _quiet(value: str) -> str:
    begin, _, end = value.partition("-")
    if value and (_time(begin) is None or _time(end) is None):
        raise ValueError('must be two times such as "20:00-07:00", or "" for none')
    if value and begin == end:
        raise ValueError("must not end when it begins")
    return value


class NotifySettings(Section):
    """What people are told by message, where the extra `notify` is installed: nothing, until it is known how."""

    urls_file: Annotated[FilePath | None, BeforeValidator(_or_none)] = Field(
        default=None,
        description=(
            "A file with Apprise URLs, one a line (https://appriseit.com/services/): mailtos://..., slack://...\n"
            "They are secrets (chmod 600). The systemd credential `notify_urls` wins over it. Try it by\n"
            "`rembg-watch notify --test`."
        ),
        examples=["/etc/rembg-watch/notify_urls"],
    )
    group_s: Real = Field(
        default=60.0, ge=1, le=3600, description="What begins within so long after a notice is told together."
    )
    per_hour: Whole = Field(
        default=6, ge=1, le=1000, description='At most so many notices in an hour; the last one says "and 41 more".'
    )
    quiet: Annotated[str, AfterValidator(_quiet)] = Field(
        default="",
        description=(
            "When only what needs a person at once is told, by this machine's local time, as in\n"
            '"20:00-07:00"; "": never quiet.'
        ),
    )
    digest: Annotated[str, AfterValidator(_digest)] = Field(
        default="18:00",
        description='When the day is summed up, by local time; a day without pictures is not. "": never.',
    )
    ping_url: Annotated[SecretStr | None, BeforeValidator(_ping_url)] = Field(
        default=None,
        description=(
            "A dead man's switch, such as Healthchecks or Uptime Kuma: this URL is asked for every `ping_s` while\n"
            "the daemon lives and is not stuck, and whoever watches it tells you once that stops."
        ),
        examples=["https://hc-ping.com/your-uuid"],
    )
    ping_s: Real = Field(default=300.0, ge=5, le=86_400, description="How often.")

    def quiet_hours(self) -> tuple[time, time] | None:
        """Return when the quiet hours begin and end, by the clock of the wall."""
        begin, end = (_time(part) for part in (self.quiet or "-").split("-"))
        return None if begin is None or end is None else (begin, end)

    def digest_at(self) -> time | None:
        """Return when the day is summed up, by the clock of the wall."""
        return _time(self.digest)


class LogSettings(Section):
    """What is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug | info | warning | error"
    )
    format: Literal["auto", "human", "json", "journal"] = Field(
        default="auto", description="auto: journal under systemd, else human | human | json | journal"
    )


def _listen(value: str) -> str:
    if value.startswith("unix:"):
        if not value.removeprefix("unix:").startswith("/"):
            raise ValueError('must name the socket by its whole path, as "unix:/run/rembg-watch/web.sock" does')
        return value
    try:
        parts = urlsplit(f"//{value}")
        port = parts.port
    except ValueError:
        port = None
    if port is None or not parts.hostname or parts.netloc != value or "@" in value:
        raise ValueError('must be an address and a port, as "127.0.0.1:8787", or "unix:/run/rembg-watch/web.sock"')
    return value


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError('must be an address or a network, as "192.168.1.7" or "192.168.1.0/24"') from error
    return value


def _base_path(value: str) -> str:
    if value and (not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or ".." in value):
        raise ValueError('must begin with a slash and not end with one, as "/rembg"')
    return value


class WebSettings(Section):
    """The page of `rembg-watch web`, which runs beside the daemon, without the key."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:8787",
        description='Address and port, or "unix:/run/rembg-watch/web.sock". Other machines reach it only with `auth`.',
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="The names by which a browser may ask for it, besides localhost: those of a proxy before it, or\n"
        "of this machine.",
        examples=[["studio.example"]],
    )
    auth: Literal["none", "password", "header"] = Field(
        default="none", description="none: for this machine alone | password | header: a proxy says who it is."
    )
    password_file: FilePath | None = Field(
        default=None,
        description="A file that holds the password and nothing else; the credential `web_password` wins over it.",
        examples=["/etc/rembg-watch/web_password"],
    )
    user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = Field(
        default="X-Forwarded-User", description='Where `auth = "header"` finds who it is.'
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(),
        description="Whom that is believed, besides whoever may use the unix socket.",
        examples=[["127.0.0.1"]],
    )
    may: Literal["look", "act"] = Field(
        default="look",
        description="look | act: approve, reject, try again and make anew, too, which may cost credits; then it needs\n"
        "`auth`, or a unix socket.",
    )
    base_path: Annotated[str, AfterValidator(_base_path)] = Field(
        default="", description="Under which path a proxy shows it.", examples=["/rembg"]
    )
    thumbnails_mb: Whole = Field(
        default=2048,
        ge=16,
        le=1_000_000,
        description="How much of the cache folder small pictures may take. Where this table stands, the daemon keeps\n"
        "as much beside the ledger of originals that it deletes, so that there is something to show afterwards.",
    )
